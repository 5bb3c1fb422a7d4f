#include "compiler/report/waterfall.h"

#include <llvm/Support/FormatVariadic.h>

#include <algorithm>

namespace jllm::report {
namespace {

using llvm::formatv;
using Owner = Segment::Owner;

constexpr uint64_t kBarWidth = 40;  // characters

std::vector<Segment> plan_segments(const Footprint& footprint, const target::Target& target) {
  const Budget& b = footprint.budget;
  const model::ProgramOptions& o = footprint.options;
  const uint64_t bound = footprint.scratch_lower_bound;
  const std::string ratio =
      bound == 0 ? ""
                 : formatv("{0:F2} x the lower bound", double(b.scratch) / double(bound)).str();
  const std::string cache = formatv("{0} positions, K {1}, V {2}", o.context,
                                    weight_type_name(o.kv_type_k), weight_type_name(o.kv_type_v))
                                .str();
  const std::string kernels =
      formatv("{0}{1} kernels", footprint.code_is_compiled ? "" : "estimate for ",
              footprint.kernels)
          .str();
  std::vector<Segment> segments;
  if (!target.is_host) {
    segments.push_back({Owner::kPlan, "cuda_context", "CUDA context", b.context, "estimate"});
  }
  segments.push_back({Owner::kPlan, "weights", "weights", b.weights, ""});
  segments.push_back({Owner::kPlan, "kv", "KV cache", b.kv, cache});
  segments.push_back({Owner::kPlan, "scratch", "scratch", b.scratch, ratio});
  const std::string recent =
      footprint.recent_bytes == 0
          ? ""
          : formatv(", {0} of convolutions", format_bytes(footprint.recent_bytes)).str();
  segments.push_back({Owner::kPlan, "state", "state", b.state,
                      (o.embeds ? "tokens, the vector" : "tokens, logits, sampler") + recent});
  if (!target.is_host) segments.push_back({Owner::kPlan, "code", "code", b.code, kernels});
  if (!target.is_host) {
    const std::string launches = formatv("estimate for {0} launches", footprint.launches).str();
    segments.push_back({Owner::kPlan, "graphs", "CUDA graphs", b.graphs, launches});
  }
  segments.push_back({Owner::kPlan, "host", "host process", b.host, "estimate"});
  segments.push_back({Owner::kPlan, "pinned", "pinned host", b.pinned, "token ring"});
  if (b.reserve > 0) {
    segments.push_back({Owner::kReserve, "reserve", "reserve", b.reserve, "--reserve"});
  }
  return segments;
}

Tone tone_of(Owner owner) {
  switch (owner) {
    case Owner::kSystem:
      return Tone::kDim;
    case Owner::kPlan:
      return Tone::kAccent;
    case Owner::kReserve:
      return Tone::kWarning;
    case Owner::kFree:
      return Tone::kGood;
  }
  return Tone::kPlain;
}

const char* glyph_of(Owner owner, bool unicode) {
  switch (owner) {
    case Owner::kSystem:
      return unicode ? "\u2591" : "-";
    case Owner::kPlan:
      return unicode ? "\u2588" : "#";
    case Owner::kReserve:
      return unicode ? "\u2592" : "+";
    case Owner::kFree:
      return unicode ? "\u2500" : ".";
  }
  return " ";
}

// The part of the bar from `first` bytes on; something is seen of everything that takes bytes.
std::string bar(uint64_t first, const Segment& segment, uint64_t scale, const Style& style) {
  const auto column = [&](uint64_t bytes) {
    return uint64_t(double(bytes) / double(scale) * kBarWidth + 0.5);
  };
  if (segment.bytes == 0) return std::string(kBarWidth, ' ');
  const uint64_t begin = std::min(column(first), kBarWidth - 1);
  const uint64_t end = std::max(column(first + segment.bytes), begin + 1);
  std::string filled;
  for (uint64_t i = begin; i < end; ++i) filled += glyph_of(segment.owner, style.unicode);
  return std::string(begin, ' ') + paint(style, tone_of(segment.owner), filled) +
         std::string(kBarWidth - std::min(end, kBarWidth), ' ');
}

}  // namespace

Waterfall make_waterfall(const Footprint& footprint, const target::Target& target) {
  const Budget& b = footprint.budget;
  Waterfall w;
  w.plan = b.total();
  w.limit = b.limit;
  w.missing = b.missing();
  const uint64_t limit = b.limit != 0 ? b.limit : b.total();
  // A budget given by hand may be larger than what the device has; then nothing is known above it.
  const uint64_t visible = std::max(target.visible_bytes, limit);
  w.memory = std::max(target.ram_bytes, visible);
  if (w.memory > visible) {
    w.segments.push_back({Owner::kSystem, "firmware", "firmware", w.memory - visible,
                          "carve-outs: RAM that the system does not see"});
  }
  if (visible > limit) {
    w.segments.push_back(
        {Owner::kSystem, "system", "OS and system", visible - limit, "beyond the planning budget"});
  }
  for (Segment& segment : plan_segments(footprint, target)) w.segments.push_back(segment);
  if (b.fits() && b.limit != 0) {
    w.segments.push_back({Owner::kFree, "free", "free", limit - b.total(), ""});
  }
  return w;
}

void print(const Waterfall& waterfall, const Style& style, llvm::raw_ostream& os) {
  const uint64_t scale = std::max<uint64_t>(waterfall.memory + waterfall.missing, 1);
  os << formatv("  {0,-14} {1,12}\n", "memory", format_bytes(waterfall.memory));
  uint64_t first = 0;
  for (const Segment& segment : waterfall.segments) {
    const std::string line =
        formatv("  {0,-14} {1,12}  {2}  {3}", segment.name, format_bytes(segment.bytes),
                bar(first, segment, scale, style), segment.note)
            .str();
    os << llvm::StringRef(line).rtrim() << "\n";
    first += segment.bytes;
  }
  os << formatv("  the plan takes {0}", format_bytes(waterfall.plan));
  if (waterfall.limit != 0) os << formatv(" of a budget of {0}", format_bytes(waterfall.limit));
  if (waterfall.missing > 0) {
    const std::string text = formatv(", {0} too much", format_bytes(waterfall.missing)).str();
    os << paint(style, Tone::kBad, text);
  }
  os << "\n";
}

}  // namespace jllm::report

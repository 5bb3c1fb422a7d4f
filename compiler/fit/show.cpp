#include "compiler/fit/show.h"

#include <llvm/Support/FormatVariadic.h>

#include <algorithm>

#include "compiler/report/report.h"
#include "compiler/report/waterfall.h"

namespace jllm::fit {
namespace {

using llvm::formatv;
using report::Tone;

constexpr uint64_t kMiB = 1024 * 1024;

// Needs and shortages are rounded up, what is there is rounded down.
uint64_t mib_up(uint64_t bytes) { return (bytes + kMiB - 1) / kMiB; }
uint64_t mib_down(uint64_t bytes) { return bytes / kMiB; }

std::string pad(std::string text, size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

void print_model(const model::Model& model, llvm::raw_ostream& os) {
  os << formatv("{0}  ({1}, {2})", model.params.name, model.params.architecture,
                model::parameter_text(model.parameter_count, model.active_parameter_count));
}

std::string verdict_text(const Verdict& v) {
  const char* mark = v.compilable ? "" : " *";
  switch (v.answer) {
    case Answer::kFits:
      return std::string("fits") + mark;
    case Answer::kTight:
      return std::string("fits, tight") + mark;
    case Answer::kDoesNotFit:
      break;
  }
  if (!v.footprint) return "does not fit: a buffer too large";
  return formatv("does not fit by {0} MiB", mib_up(v.missing())).str();
}

Tone tone_of(Answer answer) {
  switch (answer) {
    case Answer::kFits:
      return Tone::kGood;
    case Answer::kTight:
      return Tone::kWarning;
    case Answer::kDoesNotFit:
      return Tone::kBad;
  }
  return Tone::kPlain;
}

std::string context_text(const LargestContext& largest) {
  if (!largest.context) return "n/a";
  return *largest.context == 0 ? "-" : std::to_string(*largest.context);
}

std::string rate_text(const Verdict& v) {
  const double rate = v.prediction.tokens_per_second;
  if (!v.fits() || rate == 0) return "-";
  return formatv(rate < 100 ? "{0:F1}" : "{0:F0}", rate).str();
}

std::string load_text(const Verdict& v) {
  return v.fits() ? formatv("{0:F1}", v.prediction.load_seconds).str() : "-";
}

// What the plans of all verdicts have in common; empty where they differ.
std::string cache_types(llvm::ArrayRef<Finding> findings) {
  std::string common;
  for (const Finding& finding : findings) {
    if (!finding.verdict.footprint) continue;
    const model::ProgramOptions& o = finding.verdict.footprint->options;
    const std::string types = formatv("context {0}, K {1}, V {2}", o.context,
                                      weight_type_name(o.kv_type_k), weight_type_name(o.kv_type_v))
                                  .str();
    if (!common.empty() && common != types) return "";
    common = types;
  }
  return common;
}

void print_formulas(llvm::raw_ostream& os) {
  os << formatv(
      "  Predictions: tok/s = planning bandwidth / (weights read per token + KV cache of a full "
      "context);\n"
      "  load = weights / {0:F1} GB/s of disk. Neither was measured on the device.\n",
      kStorageBytesPerSecond / 1e9);
}

void print_predictions(const Verdict& v, llvm::raw_ostream& os) {
  if (v.prediction.tokens_per_second > 0) {
    os << formatv(
        "  decode: {0} tok/s = {1:F1} GB/s ({2}) / {3} a token, context full; predicted\n",
        rate_text(v), v.target.bandwidth_gbps, v.target.bandwidth_basis,
        report::format_bytes(v.prediction.bytes_per_token));
  }
  os << formatv("  load: {0} s = {1} of weights / {2:F1} GB/s of disk; predicted\n", load_text(v),
                report::format_bytes(v.footprint->budget.weights), kStorageBytesPerSecond / 1e9);
}

}  // namespace

void print_one(const model::Model& model, const Finding& finding, const report::Style& style,
               llvm::raw_ostream& os) {
  const Verdict& v = finding.verdict;
  os << "\n";
  print_model(model, os);
  os << "  on  " << v.target.device_name;
  if (!v.target.mode.empty()) os << ", mode " << v.target.mode;
  os << "\n\n";
  if (v.footprint) report::print(report::make_waterfall(*v.footprint, v.target), style, os);
  os << "\n  " << report::paint(style, tone_of(v.answer), verdict_text(v));
  if (!v.refusal.empty()) os << ": " << v.refusal;
  os << "\n";
  os << "  largest context:";
  for (const LargestContext& largest : v.contexts) {
    os << formatv("  {0} {1}", weight_type_name(largest.type), context_text(largest));
  }
  os << "\n";
  if (v.fits()) {
    os << "  ";
    report::print_speculation(*v.footprint, os);
    os << "\n";
    print_predictions(v, os);
  }
  if (!v.compilable) {
    os << "  * planned only: there are no kernels for this compute capability yet\n";
  }
  for (const std::string& warning : v.target.warnings) os << "  " << warning << "\n";
  if (v.fits()) return;
  os << (finding.advice.empty() ? "\n  nothing that jllmc can plan would make it fit\n"
                                : "\n  what would make it fit:\n");
  for (size_t i = 0; i < finding.advice.size(); ++i) {
    const Advice& a = finding.advice[i];
    const std::string option = a.option.empty() ? "" : " (" + a.option + ")";
    os << formatv("    {0}. {1}{2}: leaves {3} free\n", i + 1, a.text, option,
                  report::format_bytes(a.free));
  }
}

void print_table(const model::Model& model, llvm::ArrayRef<Finding> findings,
                 const report::Style& style, llvm::raw_ostream& os) {
  os << "\n";
  print_model(model, os);
  const std::string common = cache_types(findings);
  if (!common.empty()) os << "  " << common;
  os << "\n\n";
  size_t name_width = 6;
  size_t verdict_width = 7;
  bool any_mark = false;
  for (const Finding& finding : findings) {
    name_width = std::max(name_width, finding.verdict.target.name.size());
    verdict_width = std::max(verdict_width, verdict_text(finding.verdict).size());
    any_mark |= !finding.verdict.compilable;
  }
  const auto row = [&](const std::string& name, const std::string& budget, const std::string& needs,
                       const std::string& verdict, const std::vector<std::string>& contexts,
                       const std::string& rate, const std::string& load) {
    os << "  " << pad(name, name_width) << formatv("  {0,7}  {1,7}  ", budget, needs) << verdict;
    for (const std::string& context : contexts) os << formatv(" {0,7}", context);
    os << formatv("  {0,7}  {1,6}\n", rate, load);
  };
  std::vector<std::string> types;
  for (const WeightType type : kv_types_shown()) types.push_back(weight_type_name(type));
  row("", "budget", "needs", pad("", verdict_width), {"", "largest", "context"}, "decode", "load");
  row("target", "MiB", "MiB", pad("verdict", verdict_width), types, "tok/s", "s");
  for (const Finding& finding : findings) {
    const Verdict& v = finding.verdict;
    const uint64_t limit = v.footprint ? v.footprint->budget.limit : v.target.budget_bytes;
    std::vector<std::string> contexts;
    for (const LargestContext& largest : v.contexts) contexts.push_back(context_text(largest));
    const std::string verdict =
        report::paint(style, tone_of(v.answer), pad(verdict_text(v), verdict_width));
    row(v.target.name, limit == 0 ? "-" : std::to_string(mib_down(limit)),
        v.footprint ? std::to_string(mib_up(v.footprint->budget.total())) : "-", verdict, contexts,
        rate_text(v), load_text(v));
  }
  os << "\n";
  print_formulas(os);
  if (any_mark) os << "  * planned only: there are no kernels for its compute capability yet.\n";
  const bool all_fit =
      std::all_of(findings.begin(), findings.end(), [](const auto& f) { return f.verdict.fits(); });
  if (!all_fit) {
    os << "  What would make it fit: jllmc fit MODEL --target NAME.\n";
  }
}

}  // namespace jllm::fit

// The one place that proves a plan consistent. Contract: after validate_plan() returned kOk, the
// executor indexes, adds and dereferences without checking again.
#include <cinttypes>
#include <cstdarg>

#include "schema/checked_math.h"
#include "schema/plan_view.h"
#include "schema/step_state.h"
#include "schema/weight_file.h"

namespace jllm {
namespace {

constexpr uint32_t kMaxArenas = 64;
constexpr uint32_t kMaxArgs = 32;  // of one launch
constexpr uint64_t kMaxArenaBytes = 1ull << 40;
constexpr uint32_t kMaxBlockThreads = 1024;
constexpr uint32_t kMaxGridX = 0x7fffffff;
constexpr uint32_t kMaxGridYz = 65535;
constexpr uint32_t kMaxFileName = 255;
constexpr uint64_t kSlotAlignment = 64;  // of every slot's arenas

class Validator {
 public:
  Validator(const fb::Plan& plan, const PlanPrefix& prefix, Message* message)
      : plan_(plan), prefix_(prefix), message_(message) {}

  bool run() {
    return check_slots() && check_arenas() && check_weight_file() && check_segments() &&
           check_buffers() && check_kernels() && check_bindings() && check_graphs() &&
           check_model() && check_caches();
  }

 private:
  __attribute__((format(printf, 2, 3))) bool fail(const char* format, ...) {
    va_list args;
    va_start(args, format);
    message_->format_list(format, args);
    va_end(args);
    return false;
  }

  bool inside_arena(uint32_t arena, uint64_t offset, uint64_t bytes) const {
    return arena < plan_.arenas()->size() &&
           range_inside(offset, bytes, plan_.arenas()->Get(arena)->size());
  }

  bool check_slots() {
    const uint32_t slots = plan_.slots();
    return (slots >= 1 && slots <= kMaxSlots) || fail("plan: %u slots", slots);
  }

  bool check_arenas() {
    if (plan_.arenas()->size() > kMaxArenas) return fail("plan: too many arenas");
    for (const fb::Arena* arena : *plan_.arenas()) {
      const uint64_t alignment = arena->alignment();
      if (arena->kind() > fb::ArenaKind::MAX) return fail("plan: unknown arena kind");
      if (arena->size() > kMaxArenaBytes / plan_.slots())
        return fail("plan: an arena is larger than 1 TiB");
      if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > kSegmentAlignment) {
        return fail("plan: arena alignment %" PRIu64 " is not a power of two up to 4096",
                    alignment);
      }
      if (plan_.slots() > 1 && is_per_slot(arena->kind()) && arena->size() % kSlotAlignment != 0) {
        return fail("plan: the arenas of a slot do not end at a multiple of 64");
      }
    }
    return true;
  }

  // One that leads to no other folder.
  static bool is_plain_name(const flatbuffers::String& name) {
    if (name.size() == 0 || name.size() > kMaxFileName || name.Get(0) == '.') return false;
    for (const char c : name) {
      if (c == '/' || c == '\0') return false;
    }
    return true;
  }

  bool check_weight_file() {
    const fb::WeightFile* file = plan_.weight_file();
    if (file == nullptr) return true;
    if (!is_plain_name(*file->name())) return fail("plan: the weight file has an odd name");
    if (file->size() < kWeightFileData || file->size() % kSegmentAlignment != 0 ||
        file->sha256()->size() != kSha256Bytes) {
      return fail("plan: the weight file has an odd size or no SHA-256");
    }
    return true;
  }

  bool check_segments() {
    uint64_t end = prefix_.segments_offset;
    uint64_t weights_end = kWeightFileData;
    for (const fb::Segment* segment : *plan_.segments()) {
      if (segment->kind() > fb::SegmentKind::MAX) return fail("plan: unknown segment kind");
      const bool outside = segment->in_weight_file();
      if (outside &&
          (plan_.weight_file() == nullptr || segment->kind() != fb::SegmentKind::Weights)) {
        return fail("plan: a segment lies in a weight file that is not named");
      }
      uint64_t& previous = outside ? weights_end : end;
      const uint64_t file_size = outside ? plan_.weight_file()->size() : segments_end(prefix_);
      if (segment->offset() % kSegmentAlignment != 0 || segment->offset() < previous ||
          !range_inside(segment->offset(), segment->size(), file_size)) {
        return fail("plan: a segment at %" PRIu64 " lies outside the file or over another",
                    segment->offset());
      }
      previous = segment->offset() + segment->size();
      if (segment->sha256()->size() != kSha256Bytes) return fail("plan: a segment has no SHA-256");
      if (segment->kind() != fb::SegmentKind::Weights) continue;
      if (!inside_arena(segment->dest_arena(), segment->dest_offset(), segment->size()) ||
          plan_.arenas()->Get(segment->dest_arena())->kind() != fb::ArenaKind::Weights) {
        return fail("plan: a weights segment does not fit its arena");
      }
    }
    return true;
  }

  bool check_buffers() {
    const auto graphs = static_cast<int64_t>(plan_.graphs()->size());
    for (const fb::Buffer* buffer : *plan_.buffers()) {
      if (!inside_arena(buffer->arena(), buffer->offset(), buffer->size())) {
        return fail("plan: buffer %.64s lies outside its arena", buffer->name()->c_str());
      }
      if (buffer->graph() < -1 || buffer->graph() >= graphs ||
          buffer->first_use() > buffer->last_use()) {
        return fail("plan: buffer %.64s has an impossible lifetime", buffer->name()->c_str());
      }
    }
    return true;
  }

  bool check_kernels() {
    const bool host = plan_.target()->backend() == fb::Backend::Host;
    if (plan_.target()->backend() > fb::Backend::MAX) return fail("plan: unknown backend");
    const auto segments = static_cast<int64_t>(plan_.segments()->size());
    for (const fb::Kernel* kernel : *plan_.kernels()) {
      const int64_t module = kernel->module_segment();
      const bool module_ok =
          host ? module == -1
               : module >= 0 && module < segments &&
                     plan_.segments()->Get(static_cast<uint32_t>(module))->kind() ==
                         fb::SegmentKind::Module;
      if (!module_ok) return fail("plan: kernel %.64s has no module", kernel->name()->c_str());
      const uint64_t x = kernel->block_x(), y = kernel->block_y(), z = kernel->block_z();
      const bool block_ok = x >= 1 && y >= 1 && z >= 1 && x <= kMaxBlockThreads &&
                            y <= kMaxBlockThreads && z <= 64 && x * y * z <= kMaxBlockThreads;
      if (!block_ok || kernel->shared_bytes() > 256u << 10 || kernel->arg_count() > kMaxArgs) {
        return fail("plan: kernel %.64s has impossible launch limits", kernel->name()->c_str());
      }
    }
    return true;
  }

  bool check_launch(const fb::Launch& launch) {
    const char* label = launch.label()->c_str();
    if (launch.kernel() >= plan_.kernels()->size()) {
      return fail("plan: launch %.64s names no kernel", label);
    }
    if (launch.args()->size() != plan_.kernels()->Get(launch.kernel())->arg_count()) {
      return fail("plan: launch %.64s has the wrong number of arguments", label);
    }
    if (launch.grid_x() < 1 || launch.grid_y() < 1 || launch.grid_z() < 1 ||
        launch.grid_x() > kMaxGridX || launch.grid_y() > kMaxGridYz ||
        launch.grid_z() > kMaxGridYz) {
      return fail("plan: launch %.64s has an impossible grid", label);
    }
    for (const fb::Arg* arg : *launch.args()) {
      if (arg->kind() > fb::ArgKind::MAX)
        return fail("plan: launch %.64s: unknown argument", label);
      if (arg->kind() == fb::ArgKind::Pointer &&
          (!inside_arena(arg->arena(), arg->value(), arg->bytes()) || arg->value() % 4 != 0)) {
        return fail("plan: launch %.64s points outside its arena", label);
      }
    }
    return true;
  }

  bool check_verify(const fb::Graph& graph) {
    const fb::Bindings& b = *plan_.bindings();
    const uint64_t logits = uint64_t{graph.rows()} * plan_.model()->vocab_size() * 4;
    const bool ok = graph.rows() >= 2 && graph.rows() <= kMaxVerifyRows &&
                    inside_arena(graph.logits_arena(), graph.logits(), logits) &&
                    graph.logits() % 16 == 0 &&
                    inside_arena(b.draft_arena(), b.draft(), sizeof(Draft)) &&
                    plan_.arenas()->Get(b.draft_arena())->kind() == fb::ArenaKind::HostPinned &&
                    b.draft() % 16 == 0;
    return ok || fail("plan: a verify graph has odd rows, or its logits or draft lie outside");
  }

  bool check_batch(const fb::Graph& graph) {
    const fb::Bindings& b = *plan_.bindings();
    const uint64_t logits = uint64_t{graph.rows()} * plan_.model()->vocab_size() * 4;
    const bool ok = graph.rows() >= 2 && graph.rows() <= plan_.slots() &&
                    inside_arena(graph.logits_arena(), graph.logits(), logits) &&
                    plan_.arenas()->Get(graph.logits_arena())->kind() == fb::ArenaKind::Scratch &&
                    graph.logits() % 16 == 0 &&
                    inside_arena(b.state_arena(), b.batch(), sizeof(Batch)) && b.batch() % 16 == 0;
    return ok || fail("plan: a batch graph has odd rows, or its logits or batch lie outside");
  }

  // A row of every position, and its scales, within an arena that each slot has.
  bool check_caches() {
    if (plan_.caches() == nullptr) return true;
    for (const fb::Cache* cache : *plan_.caches()) {
      const uint64_t groups = cache->groups(), positions = cache->positions();
      uint64_t rows = 0, bytes = 0, scales = 0;
      const bool sane = checked_mul(groups, positions, &rows) &&
                        checked_mul(rows, cache->row_bytes(), &bytes) &&
                        checked_mul(rows, cache->scale_bytes(), &scales) &&
                        checked_add(scales, cache->scales(), &scales);
      const uint64_t end = cache->scale_bytes() == 0 || bytes > scales ? bytes : scales;
      if (!sane || positions == 0 || positions > plan_.model()->context() ||
          !inside_arena(cache->arena(), cache->offset(), end) ||
          !is_per_slot(plan_.arenas()->Get(cache->arena())->kind())) {
        return fail("plan: a cache lies outside its arena");
      }
    }
    return true;
  }

  bool check_graphs() {
    constexpr uint32_t kDecode = 1u << static_cast<uint32_t>(fb::GraphKind::Decode);
    constexpr uint32_t kPrefill = 1u << static_cast<uint32_t>(fb::GraphKind::Prefill);
    constexpr uint32_t kHead = 1u << static_cast<uint32_t>(fb::GraphKind::Head);
    uint32_t kinds = 0;  // a bit each
    for (const fb::Graph* graph : *plan_.graphs()) {
      if (graph->kind() > fb::GraphKind::MAX || graph->rows() < 1) return fail("plan: odd graph");
      if (graph->kind() == fb::GraphKind::Verify && !check_verify(*graph)) return false;
      if (graph->kind() == fb::GraphKind::Batch && !check_batch(*graph)) return false;
      kinds |= 1u << static_cast<uint32_t>(graph->kind());
      for (const fb::Launch* launch : *graph->launches()) {
        if (!check_launch(*launch)) return false;
      }
    }
    // Text is made by decode graphs, a vector of prefill's work.
    const uint32_t made_by = makes_embeddings(plan_) ? kPrefill : kDecode;
    return (kinds & (made_by | kHead)) == (made_by | kHead) ||
           fail("plan: a needed graph is missing");
  }

  bool check_bindings() {
    const fb::Bindings& b = *plan_.bindings();
    const uint64_t context = plan_.model()->context();
    const uint64_t vocab = plan_.model()->vocab_size();
    const uint64_t made = makes_embeddings(plan_) ? b.embedding() : vocab;
    const bool ok = inside_arena(b.state_arena(), b.step_state(), sizeof(StepState)) &&
                    inside_arena(b.state_arena(), b.tokens(), context * 4) &&
                    inside_arena(b.logits_arena(), b.logits(), made * 4) &&
                    inside_arena(b.ring_arena(), b.ring(), kRingSlots * sizeof(RingSlot)) &&
                    plan_.arenas()->Get(b.state_arena())->kind() == fb::ArenaKind::State &&
                    plan_.arenas()->Get(b.ring_arena())->kind() == fb::ArenaKind::HostPinned &&
                    b.step_state() % 16 == 0 && b.tokens() % 16 == 0 && b.logits() % 16 == 0 &&
                    b.ring() % 16 == 0;
    const uint64_t mask = sizeof(TokenMask) + (vocab + 31) / 32 * 4;
    const bool mask_ok = b.mask() == UINT64_MAX ||
                         (inside_arena(b.state_arena(), b.mask(), mask) && b.mask() % 16 == 0);
    return (ok && mask_ok) || fail("plan: a binding lies outside its arena");
  }

  bool check_model() {
    const fb::Model& model = *plan_.model();
    if (model.context() < 1 || model.vocab_size() < 1)
      return fail("plan: empty context or vocabulary");
    if (plan_.end_tokens()->size() > kMaxEndTokens) return fail("plan: too many end tokens");
    for (const uint32_t token : *plan_.end_tokens()) {
      if (token >= model.vocab_size())
        return fail("plan: end token %u is not in the vocabulary", token);
    }
    return true;
  }

  const fb::Plan& plan_;
  const PlanPrefix& prefix_;
  Message* message_;
};

}  // namespace

Error validate_plan(const fb::Plan& plan, const PlanPrefix& prefix, Message* message) {
  return Validator(plan, prefix, message).run() ? Error::kOk : Error::kPlanInvalid;
}

}  // namespace jllm

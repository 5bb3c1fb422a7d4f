#include "executor/src/host/launch_proof.h"

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string_view>

#include "executor/src/host/host_op.h"
#include "schema/checked_math.h"
#include "schema/host_ops.h"
#include "schema/kv_layout.h"
#include "schema/panel_layout.h"

namespace jllm::host {
namespace {

constexpr uint64_t kMaxDimension = 1ull << 31;
constexpr uint64_t kMaxElements = 1ull << 50;  // any layout of so many has a size below 2^64

// The product, or the largest number when it does not fit.
uint64_t product(std::initializer_list<uint64_t> factors) {
  uint64_t all = 1;
  for (const uint64_t factor : factors) {
    if (!checked_mul(all, factor, &all)) return UINT64_MAX;
  }
  return all;
}

uint64_t floats(std::initializer_list<uint64_t> dims) { return product({product(dims), 4}); }

// How an operation uses one of its pointers, the leading arguments of its struct.
struct Use {
  enum Role { kState, kStateOrNull, kTokens, kRing, kDraft, kRead, kReadOrNull, kWrite } role;
  uint64_t bytes = 0;
};
constexpr Use kState = {Use::kState, sizeof(StepState)};
constexpr Use kStateOrNull = {Use::kStateOrNull, sizeof(StepState)};
constexpr Use kRing = {Use::kRing, kRingSlots * sizeof(RingSlot)};
constexpr Use kDraft = {Use::kDraft, sizeof(Draft)};
Use reads(uint64_t bytes) { return {Use::kRead, bytes}; }
Use reads_or_null(uint64_t bytes) { return {Use::kReadOrNull, bytes}; }
Use writes(uint64_t bytes) { return {Use::kWrite, bytes}; }

struct Place {
  uint32_t arena;
  uint64_t offset, bytes;

  bool overlaps(const Place& other) const {
    return arena == other.arena && offset < other.offset + other.bytes &&
           other.offset < offset + bytes;
  }
  bool starts_at(const Place& other) const {
    return arena == other.arena && offset == other.offset;
  }
};

// One launch, and what is asked of it.
class Proof {
 public:
  Proof(const fb::Plan& plan, const fb::Launch& launch) : plan_(plan), args_(*launch.args()) {}

  // The launch's numbers in the operation's struct; pointers read as null.
  template <typename Args>
  Args numbers() const {
    uint64_t slots[sizeof(Args) / sizeof(uint64_t)] = {};
    for (uint32_t i = 0; i < args_.size(); ++i) {
      const fb::Arg& arg = *args_.Get(i);
      if (arg.kind() == fb::ArgKind::Immediate) slots[i] = arg.value();
    }
    Args args;
    memcpy(&args, slots, sizeof args);
    return args;
  }

  uint64_t context() const { return plan_.model()->context(); }
  uint64_t vocab() const { return plan_.model()->vocab_size(); }
  Use tokens() const { return {Use::kTokens, context() * 4}; }

  // The leading arguments are pointers that are used so, the others are numbers. What is written
  // overlaps nothing else, but may be where something is read; the executor's own buffers are
  // written by the operations alone that keep them.
  bool holds(std::initializer_list<Use> uses) const {
    Place places[kMaxPointers] = {};
    uint32_t i = 0;
    for (const Use& use : uses) {
      if (!is_placed(use, *args_.Get(i), &places[i])) return false;
      ++i;
    }
    for (; i < args_.size(); ++i) {
      if (args_.Get(i)->kind() != fb::ArgKind::Immediate) return false;
    }
    return are_apart(uses, places);
  }

 private:
  static constexpr uint32_t kMaxPointers = 8;

  Place state_place() const {
    const fb::Bindings& b = *plan_.bindings();
    return {b.state_arena(), b.step_state(), sizeof(StepState)};
  }
  Place tokens_place() const {
    const fb::Bindings& b = *plan_.bindings();
    return {b.state_arena(), b.tokens(), context() * 4};
  }
  Place ring_place() const {
    const fb::Bindings& b = *plan_.bindings();
    return {b.ring_arena(), b.ring(), kRingSlots * sizeof(RingSlot)};
  }
  Place draft_place() const {
    const fb::Bindings& b = *plan_.bindings();
    return {b.draft_arena(), b.draft(), sizeof(Draft)};
  }
  bool has_draft() const {
    for (const fb::Graph* graph : *plan_.graphs()) {
      if (graph->kind() == fb::GraphKind::Verify) return true;
    }
    return false;
  }

  bool is_placed(const Use& use, const fb::Arg& arg, Place* place) const {
    if (arg.kind() == fb::ArgKind::Immediate) {
      const bool may_be_null = use.role == Use::kStateOrNull || use.role == Use::kReadOrNull;
      return may_be_null && arg.value() == 0;
    }
    *place = {arg.arena(), arg.value(), use.bytes};
    if (use.bytes > arg.bytes()) return false;
    switch (use.role) {
      case Use::kState:
      case Use::kStateOrNull:
        return place->starts_at(state_place());
      case Use::kTokens:
        return place->starts_at(tokens_place());
      case Use::kRing:
        return place->starts_at(ring_place());
      case Use::kDraft:
        return has_draft() && place->starts_at(draft_place());
      default:
        return true;
    }
  }

  bool are_apart(const std::initializer_list<Use>& uses, const Place* places) const {
    const Use* use = uses.begin();
    for (uint32_t i = 0; i < uses.size(); ++i) {
      if (use[i].role != Use::kWrite) continue;
      const Place& written = places[i];
      if (written.overlaps(state_place()) || written.overlaps(tokens_place()) ||
          written.overlaps(ring_place()) || (has_draft() && written.overlaps(draft_place()))) {
        return false;
      }
      for (uint32_t j = 0; j < uses.size(); ++j) {
        if (j == i || places[j].bytes == 0 || !written.overlaps(places[j])) continue;
        if (use[j].role == Use::kWrite || !written.starts_at(places[j])) return false;
      }
    }
    return true;
  }

  const fb::Plan& plan_;
  const flatbuffers::Vector<const fb::Arg*>& args_;
};

bool are_dimensions(std::initializer_list<uint64_t> dims) {
  for (const uint64_t dim : dims) {
    if (dim < 1 || dim > kMaxDimension) return false;
  }
  return product(dims) <= kMaxElements;
}

// --- Weights, images and caches ---

// Bytes of n rows of k weights; the largest number when there is no such matrix.
uint64_t weight_bytes(uint64_t id, uint64_t n, uint64_t k, bool is_panels) {
  const auto type = static_cast<WeightType>(id);
  const BlockShape shape = id <= UINT32_MAX ? block_shape(type) : BlockShape{0, 0};
  if (shape.bytes == 0 || type == WeightType::kTQ1_0 || k % shape.elements != 0) return UINT64_MAX;
  if (!is_panels) return product({n, k / shape.elements, shape.bytes});
  return has_panels(type) ? product({panel_count(n), panel_bytes(type, k)}) : UINT64_MAX;
}

bool is_image(uint64_t k, uint64_t planes) {
  return k % kPanelGroup == 0 && (planes == 1 || planes == 2);
}

// Bytes of a cache for the plan's context; the largest number when there is no such cache.
uint64_t cache_bytes(uint64_t id, uint64_t heads, uint64_t context, uint64_t head_dim) {
  if (id > UINT32_MAX || !are_dimensions({heads, context, head_dim})) return UINT64_MAX;
  const auto type = static_cast<unsigned>(id);
  const KvLayout layout = kv_layout(type, heads * context, head_dim);
  return layout.row == 0 ? UINT64_MAX : layout.bytes;
}

bool is_rotation(uint64_t rotation, uint64_t head_dim) {
  return rotation == 0 || (rotation >= kKvGroup && rotation <= kMaxKvRotation &&
                           (rotation & (rotation - 1)) == 0 && head_dim % rotation == 0);
}

// --- The operations, in the order of host_ops.h ---

bool embed(const Proof& p) {
  const auto a = p.numbers<EmbedArgs>();
  return are_dimensions({a.rows, a.dim}) && are_dimensions({a.dim, a.vocab}) &&
         a.vocab >= p.vocab() &&
         p.holds({kState, p.tokens(), reads(weight_bytes(a.type, a.vocab, a.dim, a.panels != 0)),
                  writes(floats({a.rows, a.dim}))});
}

bool rms_norm(const Proof& p) {
  const auto a = p.numbers<RmsNormArgs>();
  const uint64_t bytes = floats({a.rows, a.groups, a.dim});
  return are_dimensions({a.rows, a.dim, a.groups}) &&
         p.holds({kStateOrNull, reads(bytes), reads(floats({a.dim})), writes(bytes)});
}

bool layer_norm(const Proof& p) {
  const auto a = p.numbers<LayerNormArgs>();
  const uint64_t bytes = floats({a.rows, a.dim});
  return are_dimensions({a.rows, a.dim}) &&
         p.holds({kStateOrNull, reads(bytes), reads(floats({a.dim})),
                  reads_or_null(floats({a.dim})), writes(bytes)});
}

bool matmul(const Proof& p) {
  const auto a = p.numbers<MatmulArgs>();
  return are_dimensions({a.rows, a.n}) && are_dimensions({a.rows, a.k}) &&
         are_dimensions({a.n, a.k}) &&
         p.holds({kStateOrNull, reads(floats({a.rows, a.k})),
                  reads(weight_bytes(a.type, a.n, a.k, false)), writes(floats({a.rows, a.n}))});
}

bool quantise(const Proof& p) {
  const auto a = p.numbers<QuantiseArgs>();
  return are_dimensions({a.rows, a.k}) && is_image(a.k, a.planes) &&
         p.holds({kStateOrNull, reads(floats({a.rows, a.k})), writes(image_bytes(a.rows, a.k))});
}

bool quantise_rows(const Proof& p) {
  const auto a = p.numbers<QuantiseArgs>();
  return are_dimensions({a.rows, a.k}) && is_image(a.k, a.planes) &&
         p.holds({kStateOrNull, reads(floats({a.rows, a.k})),
                  writes(product({a.rows, image_bytes(1, a.k)}))});
}

bool multiply(const Proof& p) {
  const auto a = p.numbers<ProductArgs>();
  return are_dimensions({a.rows, a.n}) && are_dimensions({a.rows, a.k}) &&
         are_dimensions({a.n, a.k}) && is_image(a.k, a.planes) &&
         p.holds({kStateOrNull, reads(image_bytes(a.rows, a.k)),
                  reads(weight_bytes(a.type, a.n, a.k, true)), writes(floats({a.rows, a.n}))});
}

bool add_bias(const Proof& p) {
  const auto a = p.numbers<AddBiasArgs>();
  const uint64_t bytes = floats({a.rows, a.n});
  return are_dimensions({a.rows, a.n}) &&
         p.holds({kStateOrNull, reads(bytes), reads(floats({a.n})), writes(bytes)});
}

bool rope(const Proof& p) {
  const auto a = p.numbers<RopeArgs>();
  const uint64_t bytes = floats({a.rows, a.heads, a.head_dim});
  return are_dimensions({a.rows, a.heads, a.head_dim}) && a.pairs <= a.head_dim / 2 &&
         p.holds({kState, reads(bytes), reads(floats({a.pairs})), writes(bytes)});
}

bool kv_append(const Proof& p) {
  const auto a = p.numbers<KvAppendArgs>();
  return are_dimensions({a.rows, a.heads, a.head_dim}) && a.context >= p.context() &&
         is_rotation(a.rotation, a.head_dim) &&
         p.holds({kState, reads(floats({a.rows, a.heads, a.head_dim})),
                  writes(cache_bytes(a.type, a.heads, a.context, a.head_dim))});
}

bool attention(const Proof& p) {
  const auto a = p.numbers<AttentionArgs>();
  const uint64_t bytes = floats({a.rows, a.heads, a.head_dim});
  return are_dimensions({a.rows, a.heads, a.head_dim}) && are_dimensions({a.heads, a.context}) &&
         a.context >= p.context() && a.kv_heads > 0 && a.heads % a.kv_heads == 0 &&
         is_rotation(a.rotation, a.head_dim) &&
         p.holds({kState, reads(bytes),
                  reads(cache_bytes(a.k_type, a.kv_heads, a.context, a.head_dim)),
                  reads(cache_bytes(a.v_type, a.kv_heads, a.context, a.head_dim)), writes(bytes),
                  writes(floats({a.heads, a.context}))});
}

bool short_conv(const Proof& p) {
  const auto a = p.numbers<ShortConvArgs>();
  return are_dimensions({a.rows, a.n}) && are_dimensions({a.n, a.taps}) &&
         are_dimensions({a.n, a.recent_rows}) && a.recent_rows >= a.taps &&
         p.holds({kState, reads(floats({a.rows, 3, a.n})), reads(floats({a.n, a.taps})),
                  writes(floats({a.recent_rows, a.n})), writes(floats({a.rows, a.n}))});
}

bool glu(const Proof& p) {
  const auto a = p.numbers<GluArgs>();
  const uint64_t bytes = floats({a.rows, a.n});
  return are_dimensions({a.rows, a.n}) && a.activation <= kGelu &&
         p.holds({kStateOrNull, reads(bytes), reads(bytes), writes(bytes)});
}

bool unary(const Proof& p) {
  const auto a = p.numbers<UnaryArgs>();
  const uint64_t bytes = floats({a.rows, a.n});
  return are_dimensions({a.rows, a.n}) && a.function <= kReluSquared &&
         p.holds({kStateOrNull, reads(bytes), writes(bytes)});
}

bool add(const Proof& p) {
  const auto a = p.numbers<AddArgs>();
  const uint64_t bytes = floats({a.rows, a.n});
  return are_dimensions({a.rows, a.n}) &&
         p.holds({kStateOrNull, reads(bytes), reads(bytes), writes(bytes)});
}

bool route(const Proof& p) {
  const auto a = p.numbers<RouteArgs>();
  const uint64_t bytes = floats({a.rows, a.slots});
  return are_dimensions({a.rows, a.experts, a.slots}) && a.slots <= a.experts &&
         p.holds({kStateOrNull, reads(floats({a.rows, a.experts})), writes(bytes), writes(bytes)});
}

bool expert_matmul(const Proof& p) {
  const auto a = p.numbers<ExpertMatmulArgs>();
  const uint64_t vectors = product({a.rows, a.shared != 0 ? 1 : a.slots});
  return are_dimensions({a.rows, a.slots, a.n}) && are_dimensions({a.rows, a.slots, a.k}) &&
         are_dimensions({a.experts, a.n, a.k}) &&
         p.holds({kStateOrNull, reads(floats({vectors, a.k})), reads(floats({a.rows, a.slots})),
                  reads(product({a.experts, weight_bytes(a.type, a.n, a.k, false)})),
                  writes(floats({a.rows, a.slots, a.n}))});
}

bool expert_product(const Proof& p) {
  const auto a = p.numbers<ExpertProductArgs>();
  const uint64_t vectors = product({a.rows, a.shared != 0 ? 1 : a.slots});
  return are_dimensions({a.rows, a.slots, a.n}) && are_dimensions({a.rows, a.slots, a.k}) &&
         are_dimensions({a.experts, a.n, a.k}) && is_image(a.k, a.planes) &&
         p.holds({kStateOrNull, reads(product({vectors, image_bytes(1, a.k)})),
                  reads(floats({a.rows, a.slots})),
                  reads(product({a.experts, weight_bytes(a.type, a.n, a.k, true)})),
                  writes(floats({a.rows, a.slots, a.n}))});
}

bool expert_sum(const Proof& p) {
  const auto a = p.numbers<ExpertSumArgs>();
  return are_dimensions({a.rows, a.slots, a.n}) &&
         p.holds({kStateOrNull, reads(floats({a.rows, a.slots, a.n})),
                  reads(floats({a.rows, a.slots})), writes(floats({a.rows, a.n}))});
}

bool finish_chunk(const Proof& p) {
  const auto a = p.numbers<FinishChunkArgs>();
  return are_dimensions({a.rows, a.dim}) &&
         p.holds({kState, reads(floats({a.rows, a.dim})), writes(floats({a.dim}))});
}

bool sample(const Proof& p) {
  const auto a = p.numbers<SampleArgs>();
  return are_dimensions({a.vocab}) && a.vocab <= p.vocab() &&
         p.holds({kState, p.tokens(), reads(floats({a.vocab})), writes(floats({a.vocab})), kRing});
}

bool sample_masked(const Proof& p) {
  const auto a = p.numbers<SampleMaskedArgs>();
  const uint64_t mask = sizeof(TokenMask) + (p.vocab() + 31) / 32 * 4;
  return are_dimensions({a.vocab}) && a.vocab <= p.vocab() &&
         p.holds({kState, p.tokens(), reads(floats({a.vocab})), writes(floats({a.vocab})), kRing,
                  reads(mask)});
}

bool draft(const Proof& p) { return p.holds({kState, p.tokens(), kDraft}); }

bool accept(const Proof& p) {
  const auto a = p.numbers<AcceptArgs>();
  return are_dimensions({a.rows, a.vocab}) && a.rows <= kMaxVerifyRows && a.vocab <= p.vocab() &&
         p.holds({kState, p.tokens(), reads(floats({a.rows, a.vocab})), writes(floats({a.vocab})),
                  kRing, kDraft});
}

struct Rule {
  std::string_view name;
  bool (*holds)(const Proof&);
};

constexpr Rule kRules[] = {
    {"embed", embed},
    {"rms_norm", rms_norm},
    {"layer_norm", layer_norm},
    {"matmul", matmul},
    {"quantise", quantise},
    {"quantise_rows", quantise_rows},
    {"product", multiply},
    {"add_bias", add_bias},
    {"rope", rope},
    {"kv_append", kv_append},
    {"attention", attention},
    {"short_conv", short_conv},
    {"glu", glu},
    {"unary", unary},
    {"add", add},
    {"route", route},
    {"expert_matmul", expert_matmul},
    {"expert_product", expert_product},
    {"expert_sum", expert_sum},
    {"finish_chunk", finish_chunk},
    {"sample", sample},
    {"sample_masked", sample_masked},
    {"draft", draft},
    {"accept", accept},
};

bool stays_inside(std::string_view operation, const Proof& proof) {
  for (const Rule& rule : kRules) {
    if (rule.name == operation) return rule.holds(proof);
  }
  return false;
}

}  // namespace

Error prove_launches(const fb::Plan& plan, Message* message) {
  for (const fb::Graph* graph : *plan.graphs()) {
    for (const fb::Launch* launch : *graph->launches()) {
      const char* name = plan.kernels()->Get(launch->kernel())->name()->c_str();
      const HostOp* op = find_host_op(name);
      if (op == nullptr || !op->takes(launch->args()->size())) continue;
      if (stays_inside(name, Proof(plan, *launch))) continue;
      message->format("plan: launch %.64s: operation '%.64s' would reach outside its buffers",
                      launch->label()->c_str(), name);
      return Error::kPlanInvalid;
    }
  }
  return Error::kOk;
}

}  // namespace jllm::host

// The operations of a mixture of experts: who is chosen, and the products with the chosen.
#include <cmath>

#include "executor/src/host/kernels.h"
#include "executor/src/host/ops.h"
#include "executor/src/host/products.h"
#include "schema/panel_layout.h"

namespace jllm::host {
namespace {

// The best of `logits` that is not among the `taken` first of `chosen`. Whatever the logits are,
// the experts of a token differ.
uint32_t best_expert(const float* logits, uint64_t experts, const uint32_t* chosen,
                     uint64_t taken) {
  uint64_t best = experts;
  for (uint64_t e = 0; e < experts; ++e) {
    if (best != experts && !(logits[e] > logits[best])) continue;
    bool is_taken = false;
    for (uint64_t i = 0; i < taken; ++i) is_taken |= chosen[i] == e;
    if (!is_taken) best = e;
  }
  return static_cast<uint32_t>(best);
}

void route(const RouteArgs& args, uint64_t row) {
  const float* logits = args.logits + row * args.experts;
  uint32_t* chosen = args.chosen + row * args.slots;
  float* weights = args.weights + row * args.slots;
  for (uint64_t i = 0; i < args.slots; ++i) {
    chosen[i] = best_expert(logits, args.experts, chosen, i);
  }
  const float largest = logits[chosen[0]];
  float total = 0;
  for (uint64_t i = 0; i < args.slots; ++i) {
    weights[i] = std::exp(logits[chosen[i]] - largest);
    total += weights[i];
  }
  if (args.renormalise == 0) {
    total = 0;
    for (uint64_t e = 0; e < args.experts; ++e) total += std::exp(logits[e] - largest);
  }
  for (uint64_t i = 0; i < args.slots; ++i) weights[i] /= total;
}

// The slots of all tokens, expert by expert: its weights are read once, and then again from cache.
template <typename Multiply>
void for_each_slot(const uint32_t* chosen, uint64_t count, uint64_t experts,
                   const Multiply& multiply) {
  for (uint64_t expert = 0; expert < experts; ++expert) {
    for (uint64_t slot = 0; slot < count; ++slot) {
      if (chosen[slot] == expert) multiply(expert, slot);
    }
  }
}

}  // namespace

void run_route(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<RouteArgs>(slots);
  const Range rows = share_of(valid_rows(args.state, args.rows), worker);
  for (uint64_t row = rows.begin; row < rows.end; ++row) route(args, row);
}

void run_expert_matmul(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<ExpertMatmulArgs>(slots);
  const Range columns = share_of(args.n, worker);
  const auto type = static_cast<WeightType>(args.type);
  const uint64_t row_bytes = args.k / block_shape(type).elements * block_shape(type).bytes;
  const uint64_t count = valid_rows(args.state, args.rows) * args.slots;
  for_each_slot(args.chosen, count, args.experts, [&](uint64_t expert, uint64_t slot) {
    MatmulPart part = {};
    part.in = args.in + (args.shared != 0 ? slot / args.slots : slot) * args.k;
    part.weight = static_cast<const uint8_t*>(args.weight) + expert * args.n * row_bytes;
    part.out = args.out + slot * args.n;
    part.rows = 1;
    part.n = args.n;
    part.k = args.k;
    part.begin = columns.begin;
    part.end = columns.end;
    part.type = type;
    kernels().matmul(part);
  });
}

void run_expert_product(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<ExpertProductArgs>(slots);
  const Range panels = share_of(panel_count(args.n), worker);
  const auto type = static_cast<WeightType>(args.type);
  const uint64_t expert_bytes = panel_count(args.n) * panel_bytes(type, args.k);
  const uint64_t count = valid_rows(args.state, args.rows) * args.slots;
  for_each_slot(args.chosen, count, args.experts, [&](uint64_t expert, uint64_t slot) {
    const uint64_t vector = args.shared != 0 ? slot / args.slots : slot;
    ProductPart part = {};
    part.image = args.image + vector * (args.k / kPanelGroup);
    part.weight = static_cast<const uint8_t*>(args.weight) + expert * expert_bytes;
    part.out = args.out + slot * args.n;
    part.rows = part.image_rows = 1;
    part.n = args.n;
    part.k = args.k;
    part.planes = args.planes;
    part.begin = panels.begin;
    part.end = panels.end;
    part.type = type;
    products().multiply(part);
  });
}

void run_expert_sum(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<ExpertSumArgs>(slots);
  const Range all = share_of(valid_rows(args.state, args.rows) * args.n, worker);
  for (uint64_t i = all.begin; i < all.end; ++i) {
    const uint64_t row = i / args.n, column = i % args.n;
    const float* in = args.in + row * args.slots * args.n + column;
    const float* weights = args.weights + row * args.slots;
    float sum = 0;
    for (uint64_t slot = 0; slot < args.slots; ++slot) sum += in[slot * args.n] * weights[slot];
    args.out[i] = sum;
  }
}

}  // namespace jllm::host

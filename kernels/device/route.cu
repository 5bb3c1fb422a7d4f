// The experts of each token: the SLOTS largest of its router's logits, of equal ones the first, and
// their softmax over all logits or, with RENORMALISE, over the chosen. Grid T, a warp each.
#include "kernels/device/ranks.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kHeld = (EXPERTS + kWarp - 1) / kWarp;  // logits of a lane
static_assert(SLOTS <= kWarp && SLOTS <= EXPERTS, "a lane per slot");

extern "C" __global__ __launch_bounds__(kWarp) void JLLM_KERNEL(
    const StepState* state,
    const float* logits,  // [T][EXPERTS]
    unsigned* chosen,     // [T][SLOTS]
    float* weights        // [T][SLOTS]
) {
  const unsigned row = blockIdx.x, lane = threadIdx.x;
  release_successor();
  wait_for_inputs();
  if (row >= compute_rows(state, gridDim.x)) return;
  float held[kHeld];
  U64 ranks[kHeld];  // 0: taken, or none
#pragma unroll
  for (unsigned i = 0; i < kHeld; ++i) {
    const unsigned expert = i * kWarp + lane;
    ranks[i] = 0;
    if (expert >= EXPERTS) continue;
    held[i] = load_shared_across_blocks(logits + row * EXPERTS + expert);
    // No number outranks every number, and keeps its id: the experts of a token differ.
    const U64 id = 0xffffffffu - expert;
    ranks[i] = held[i] != held[i] ? 0xffffffffull << 32 | id : rank_of(held[i], expert);
  }
  U64 mine = 0;  // the rank of slot `lane`
  float largest = 0.0f;
  for (unsigned slot = 0; slot < SLOTS; ++slot) {
    U64 best = 0;
#pragma unroll
    for (unsigned i = 0; i < kHeld; ++i) best = ranks[i] > best ? ranks[i] : best;
    best = warp_max(best);
#pragma unroll
    for (unsigned i = 0; i < kHeld; ++i) {
      if (ranks[i] == best) ranks[i] = 0;
    }
    if (lane == slot) mine = best;
    if (slot == 0) largest = logit_of(best);
  }
  const float own = lane < SLOTS ? expf(logit_of(mine) - largest) : 0.0f;
  float total = own;
  if (!RENORMALISE) {
    total = 0.0f;
#pragma unroll
    for (unsigned i = 0; i < kHeld; ++i) {
      if (i * kWarp + lane < EXPERTS) total += expf(held[i] - largest);
    }
  }
  total = warp_sum(total);
  if (lane < SLOTS) {
    chosen[row * SLOTS + lane] = id_of(mine);
    weights[row * SLOTS + lane] = own / total;
  }
}

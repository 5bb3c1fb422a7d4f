// Draws the next token from the logits, appends it and tells the host. One block; with BATCH, one
// for each row, of a sequence of its own.
#include "kernels/device/sampler.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ __launch_bounds__(kThreads) void JLLM_KERNEL(
#if BATCH
    StepState* states, const Batch* batch, unsigned long long state_stride,
#else
    StepState* state,
#endif
    unsigned* tokens,      // [context]
    const float* logits,   // [T][VOCAB]
    float* work,           // scratch [T][VOCAB]
    RingSlot* ring,        // [kRingSlots]
    const TokenMask* mask  // and its words
#if BATCH
    ,
    unsigned long long ring_stride
#endif
#if TOPS
    ,
    const U64* tops  // [T][TOPS]
#endif
) {
  __shared__ Shared shared;
  release_successor();
  wait_for_inputs();
#if !TOPS
  const U64* tops = nullptr;
#endif
#if BATCH
  const unsigned row = blockIdx.x;
  const Sequences sequences = JLLM_SEQUENCES_HERE;
  if (!sequences.has_token(row, gridDim.x)) return;
  StepState* const state = sequences.own(states, row);
  tokens = sequences.own(tokens, row);
  mask = sequences.own(mask, row);
  ring = sequences.behind(ring, row, ring_stride);
  logits += (unsigned long long)row * VOCAB;
  work += (unsigned long long)row * VOCAB;
  if (TOPS) tops += row * TOPS;
#endif
  if (state->done != kRunning) return;
  const Sampled sampled = sample_row(state, tokens, logits, work, tops, mask, &shared);
  if (threadIdx.x != 0) return;
  append<ADVANCE>(state, tokens, sampled);
  const Step step = {sampled.token, state->done};
  publish(state, ring, &step, 1);
}

// Draws behind each row of a verify replay in turn, as decode replays one after another would: as
// long as the token drawn is the one drafted for its place, the next row counts too. One block.
#include "kernels/device/sampler.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ __launch_bounds__(kThreads) void JLLM_KERNEL(
    StepState* state,
    unsigned* tokens,     // [context]
    const float* logits,  // [ROWS][VOCAB]
    float* work,          // scratch [VOCAB]
    RingSlot* ring,       // [kRingSlots]
    Draft* draft          // gets the number of tokens drawn
#if TOPS
    ,
    const U64* tops  // [ROWS][TOPS]
#endif
) {
  __shared__ Shared shared;
  __shared__ Step drawn[ROWS];
  __shared__ bool more;
  release_successor();
  wait_for_inputs();
  if (state->done != kRunning) return;
  const unsigned rows = compute_rows(state, ROWS);
  __syncthreads();
  // Drafted tokens are guesses until they are drawn.
  if (threadIdx.x == 0) state->count = state->position + 1;
  __syncthreads();
#if !TOPS
  const U64* const tops = nullptr;
#endif
  unsigned count = 0;
  do {
    const float* row = logits + (unsigned long long)count * VOCAB;
    const Sampled sampled =
        sample_row(state, tokens, row, work, TOPS ? tops + count * TOPS : tops, nullptr, &shared);
    const bool guessed = ++count < rows;
    if (threadIdx.x == 0) {
      const unsigned guess = guessed ? tokens[state->count] : VOCAB;
      append<true>(state, tokens, sampled);
      drawn[count - 1] = {sampled.token, state->done};
      more = guessed && state->done == kRunning && sampled.token == guess;
    }
    __syncthreads();
  } while (more);
  if (threadIdx.x != 0) return;
  draft->sampled = count;  // before the slots, whose release publishes it
  publish(state, ring, drawn, count);
}

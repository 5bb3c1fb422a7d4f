// Draws the next token from the logits, appends it and tells the host. One block.
#include "kernels/device/sampler.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ __launch_bounds__(kThreads) void JLLM_KERNEL(StepState* state,
                                                                   unsigned* tokens,  // [context]
                                                                   const float* logits,  // [VOCAB]
                                                                   float* work,  // scratch [VOCAB]
                                                                   RingSlot* ring  // [kRingSlots]
#if TOPS
                                                                   ,
                                                                   const U64* tops  // [TOPS]
#endif
) {
  __shared__ Shared shared;
  release_successor();
  wait_for_inputs();
  if (state->done != kRunning) return;
#if !TOPS
  const U64* const tops = nullptr;
#endif
  const Sampled sampled = sample_row(state, tokens, logits, work, tops, &shared);
  if (threadIdx.x != 0) return;
  append<ADVANCE>(state, tokens, sampled);
  const Step step = {sampled.token, state->done};
  publish(state, ring, &step, 1);
}

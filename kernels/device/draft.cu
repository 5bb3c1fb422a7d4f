// Appends the tokens that the host has drafted, for the replay to verify. One warp.
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ void JLLM_KERNEL(StepState* state,
                                       unsigned* tokens,            // [context]
                                       const volatile Draft* draft  // in the host's memory
) {
  if (state->done != kRunning) return;
  const unsigned known = state->count;
  const unsigned room = state->context > known ? state->context - known : 0;
  const unsigned count = min(min(draft->count, ROWS - 1u), room);
  if (threadIdx.x < count) tokens[known + threadIdx.x] = draft->tokens[threadIdx.x];
  __syncwarp();
  if (threadIdx.x == 0) state->count = known + count;
}

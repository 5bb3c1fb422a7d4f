// Ends a prefill replay: out = the last row that carried a token, then position moves past the
// rows. One block.
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ void JLLM_KERNEL(StepState* state,
                                       const float* in,  // [ROWS][DIM]
                                       float* out        // [DIM]
) {
  const unsigned valid = token_rows(state, ROWS);
  if (valid == 0) return;
  for (unsigned i = threadIdx.x; i < DIM; i += blockDim.x) {
    out[i] = in[(unsigned long long)(valid - 1) * DIM + i];
  }
  __syncthreads();  // every thread has read the old position
  if (threadIdx.x == 0) state->position += valid;
}

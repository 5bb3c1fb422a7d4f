// out = a + b. Grid (blocks over N, T).
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ void JLLM_KERNEL(const StepState* state,
                                       const float* a,  // [T][N]
                                       const float* b,  // [T][N]
                                       float* out       // [T][N]; may be a or b
) {
  const unsigned row = blockIdx.y;
  if (row >= compute_rows(state, gridDim.y)) return;
  const unsigned long long base = (unsigned long long)row * N;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < N; i += gridDim.x * blockDim.x) {
    out[base + i] = a[base + i] + b[base + i];
  }
}

// out = activation(gate) * up. Grid (blocks over N, T).
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ void JLLM_KERNEL(const StepState* state,
                                       const float* gate,  // [T][N]
                                       const float* up,    // [T][N]
                                       float* out          // [T][N]; may be gate or up
) {
  const unsigned row = blockIdx.y;
  if (row >= compute_rows(state, gridDim.y)) return;
  const unsigned long long base = (unsigned long long)row * N;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < N; i += gridDim.x * blockDim.x) {
    out[base + i] = activate<ACTIVATION>(gate[base + i]) * up[base + i];
  }
}

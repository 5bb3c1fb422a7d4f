// out = in / sqrt(mean(in^2) + epsilon) * weight, per row and group. Block (x, y) handles group y
// of row x.
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ void JLLM_KERNEL(const StepState* state,
                                       const float* in,      // [T][groups][DIM]
                                       const float* weight,  // [DIM]
                                       float* out            // [T][groups][DIM]
) {
  __shared__ float scratch[kWarp];
  const unsigned row = blockIdx.x;
  if (row >= compute_rows(state, gridDim.x)) return;
  const unsigned long long base = ((unsigned long long)row * gridDim.y + blockIdx.y) * DIM;
  const float* from = in + base;
  float squares = 0.0f;
  for (unsigned i = threadIdx.x; i < DIM; i += blockDim.x) squares += from[i] * from[i];
  const float factor = rms_factor(block_sum(squares, scratch), DIM, EPSILON_BITS);
  float* to = out + base;
  for (unsigned i = threadIdx.x; i < DIM; i += blockDim.x) to[i] = from[i] * factor * weight[i];
}

// out = in / sqrt(mean(in^2) + epsilon) * weight. Block x handles row x.
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ void JLLM_KERNEL(const StepState* state,
                                       const float* in,      // [T][DIM]
                                       const float* weight,  // [DIM]
                                       float* out            // [T][DIM]
) {
  __shared__ float scratch[kWarp];
  const unsigned row = blockIdx.x;
  if (row >= compute_rows(state, gridDim.x)) return;
  const float* from = in + (unsigned long long)row * DIM;
  float squares = 0.0f;
  for (unsigned i = threadIdx.x; i < DIM; i += blockDim.x) squares += from[i] * from[i];
  const float factor = rms_factor(block_sum(squares, scratch), DIM, EPSILON_BITS);
  float* to = out + (unsigned long long)row * DIM;
  for (unsigned i = threadIdx.x; i < DIM; i += blockDim.x) to[i] = from[i] * factor * weight[i];
}

// out = (in - mean) / sqrt(variance + epsilon) * weight (+ bias). Block x handles row x. The
// variance is taken around the mean, so that a large mean costs no digits.
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ void JLLM_KERNEL(const StepState* state,
                                       const float* in,      // [T][DIM]
                                       const float* weight,  // [DIM]
#if HAS_BIAS
                                       const float* bias,  // [DIM]
#endif
                                       float* out  // [T][DIM]
) {
  __shared__ float sums[kWarp], squares[kWarp];
  const unsigned row = blockIdx.x;
  if (row >= compute_rows(state, gridDim.x)) return;
  const float* from = in + (unsigned long long)row * DIM;
  float sum = 0.0f;
  for (unsigned i = threadIdx.x; i < DIM; i += blockDim.x) sum += from[i];
  const float mean = block_sum(sum, sums) / (float)DIM;
  float square = 0.0f;
  for (unsigned i = threadIdx.x; i < DIM; i += blockDim.x) {
    square += (from[i] - mean) * (from[i] - mean);
  }
  const float factor = rms_factor(block_sum(square, squares), DIM, EPSILON_BITS);
  float* to = out + (unsigned long long)row * DIM;
  for (unsigned i = threadIdx.x; i < DIM; i += blockDim.x) {
    float value = (from[i] - mean) * factor * weight[i];
#if HAS_BIAS
    value += bias[i];
#endif
    to[i] = value;
  }
}

// out = function(in), one of schema/functions.h. Grid (blocks over N, T).
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

static_assert(FUNCTION == kScale || FUNCTION == kSoftcap || FUNCTION == kReluSquared);

JLLM_DEVICE float apply(float x) {
  const float parameter = bits_to_float(PARAMETER_BITS);
  return FUNCTION == kScale     ? x * parameter
         : FUNCTION == kSoftcap ? softcap(x, parameter)
                                : (x > 0.0f ? x * x : 0.0f);
}

extern "C" __global__ void JLLM_KERNEL(const StepState* state,
                                       const float* in,  // [T][N]
                                       float* out        // [T][N]; may be in
) {
  const unsigned row = blockIdx.y;
  if (row >= compute_rows(state, gridDim.y)) return;
  const unsigned long long base = (unsigned long long)row * N;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < N; i += gridDim.x * blockDim.x) {
    out[base + i] = apply(in[base + i]);
  }
}

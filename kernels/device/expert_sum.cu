// out = sum over the slots of weight * in (+ residual). Grid (blocks over N, T).
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ void JLLM_KERNEL(const StepState* state,
                                       const float* in,       // [T][SLOTS][N]
                                       const float* weights,  // [T][SLOTS]
#if RESIDUAL
                                       const float* residual,  // [T][N]
#endif
                                       float* out  // [T][N]; may be residual
) {
  const unsigned row = blockIdx.y;
  release_successor();
  wait_for_inputs();
  if (row >= compute_rows(state, gridDim.y)) return;
  float weight[SLOTS];
#pragma unroll
  for (unsigned s = 0; s < SLOTS; ++s) {
    weight[s] = load_shared_across_blocks(weights + row * SLOTS + s);
  }
  in += (unsigned long long)row * SLOTS * N;
  const unsigned long long base = (unsigned long long)row * N;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < N; i += gridDim.x * blockDim.x) {
    float values[SLOTS];
#pragma unroll
    for (unsigned s = 0; s < SLOTS; ++s) values[s] = load_shared_across_blocks(in + s * N + i);
    float sum = 0.0f;
#if RESIDUAL
    sum = load_shared_across_blocks(residual + base + i);
#endif
#pragma unroll
    for (unsigned s = 0; s < SLOTS; ++s) sum = __fmaf_rn(values[s], weight[s], sum);
    out[base + i] = sum;
  }
}

// Several tokens, f32 weights: out = in W^T (+ residual). Grid (blocks over rows of W, blocks over
// tokens).
#include "kernels/device/gemm_f32.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ __launch_bounds__(kFloatThreads) void JLLM_KERNEL(
    const StepState* state,
    const float* in,      // [T][k]
    const Bytes* weight,  // [n] rows of k
#if RESIDUAL
    const float* residual,  // [T][n]
#endif
    float* out,  // [T][n]; may be residual
    unsigned rows, unsigned n, unsigned k) {
#if !RESIDUAL
  const float* residual = nullptr;
#endif
  __shared__ FloatTiles tiles;
  gemm_f32(in, weight, residual, out, compute_rows(state, rows), n, k, &tiles);
}

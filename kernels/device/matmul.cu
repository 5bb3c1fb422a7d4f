// Several tokens: out = in W^T (+ residual). Grid (blocks over 64 rows of W, blocks over 64
// tokens).
#include "kernels/device/gemm_f32.cuh"
#include "kernels/device/gemm_mma.cuh"

using namespace jllm;
using namespace jllm::device;

extern "C" __global__ __launch_bounds__(kGemmThreads) void JLLM_KERNEL(
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
  rows = compute_rows(state, rows);
  if constexpr (TYPE == kRowF32) {
    __shared__ FloatTiles tiles;
    gemm_f32(in, weight, residual, out, rows, n, k, &tiles);
  } else {
    __shared__ typename Gemm<TYPE>::Shared shared;
    Gemm<TYPE>::run(in, weight, residual, out, rows, n, k, &shared);
  }
}

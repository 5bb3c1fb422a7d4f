// Several tokens: out = in W^T (+ residual). Grid (blocks over rows of W, blocks over tokens).
#include "kernels/device/gemm_f32.cuh"
#include "kernels/device/gemm_mma.cuh"

using namespace jllm;
using namespace jllm::device;

// Rows of W and tokens per tile: 64 for few tokens, 128 where the rows of the graph allow it.
#ifndef TILE
#define TILE 64
#endif

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
    constexpr unsigned kM = TILE / 64;
    using Product = Gemm<TYPE, kM, 4 * kM>;
    __shared__ typename Product::Shared shared;
    Product::run(in, weight, residual, out, rows, n, k, &shared);
  }
}

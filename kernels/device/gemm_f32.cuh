// Matmul of T rows with f32 weights in plain f32 arithmetic, so that small f32 models stay exact to
// rounding. Tiles of TILE weight rows x TILE tokens; a thread owns 4 x 4 results of 64, one of 16.
// The tile changes no result.
#pragma once

#include "kernels/device/weights.cuh"

namespace jllm::device {

constexpr unsigned kFloatThreads = 256;
#ifndef TILE
#define TILE 64
#endif
constexpr unsigned kFloatTile = TILE;
constexpr unsigned kFloatDepth = 2048 / kFloatTile;  // along k
constexpr unsigned kFloatOwn = kFloatTile / 16;
static_assert(kFloatOwn == 1 || kFloatOwn == 4);

struct FloatTiles {
  // Transposed, padded by one 16-byte column: rows of results are read as Float4.
  alignas(16) float weights[kFloatDepth][kFloatTile + 4];
  alignas(16) float tokens[kFloatDepth][kFloatTile + 4];
};

// Columns first_k .. of `count` rows of a row-major matrix, transposed into `tile`; zeros outside.
JLLM_DEVICE void load_transposed(const float* matrix, unsigned long long stride, unsigned first_row,
                                 unsigned count, unsigned first_k, unsigned k,
                                 float (&tile)[kFloatDepth][kFloatTile + 4]) {
  for (unsigned i = threadIdx.x; i < kFloatTile * kFloatDepth / 4; i += kFloatThreads) {
    const unsigned row = i / (kFloatDepth / 4), column = i % (kFloatDepth / 4) * 4;
    Float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
    if (first_row + row < count && first_k + column < k) {
      v = *(const Float4*)(matrix + (first_row + row) * stride + first_k + column);
    }
    tile[column][row] = v.x;
    tile[column + 1][row] = v.y;
    tile[column + 2][row] = v.z;
    tile[column + 3][row] = v.w;
  }
}

JLLM_DEVICE void load_own(const float* at, float (&values)[kFloatOwn]) {
  if constexpr (kFloatOwn == 4) {
    const Float4 v = *(const Float4*)at;
    values[0] = v.x, values[1] = v.y, values[2] = v.z, values[3] = v.w;
  } else {
    values[0] = *at;
  }
}

JLLM_DEVICE void gemm_f32(const float* in, const Bytes* weight, const float* residual, float* out,
                          unsigned rows, unsigned n, unsigned k, FloatTiles* tiles) {
  const unsigned long long stride = row_layout(kRowF32, k).stride / sizeof(float);
  const unsigned row = threadIdx.x % 16 * kFloatOwn, token = threadIdx.x / 16 * kFloatOwn;
  for (unsigned first_token = blockIdx.y * kFloatTile; first_token < rows;
       first_token += gridDim.y * kFloatTile) {
    for (unsigned first_row = blockIdx.x * kFloatTile; first_row < n;
         first_row += gridDim.x * kFloatTile) {
      float acc[kFloatOwn][kFloatOwn] = {};
      for (unsigned first_k = 0; first_k < k; first_k += kFloatDepth) {
        __syncthreads();
        load_transposed((const float*)weight, stride, first_row, n, first_k, k, tiles->weights);
        load_transposed(in, k, first_token, rows, first_k, k, tiles->tokens);
        __syncthreads();
#pragma unroll 8
        for (unsigned i = 0; i < kFloatDepth; ++i) {
          float w[kFloatOwn], a[kFloatOwn];
          load_own(&tiles->weights[i][row], w);
          load_own(&tiles->tokens[i][token], a);
#pragma unroll
          for (unsigned x = 0; x < kFloatOwn; ++x) {
#pragma unroll
            for (unsigned y = 0; y < kFloatOwn; ++y) acc[x][y] = __fmaf_rn(a[x], w[y], acc[x][y]);
          }
        }
      }
#pragma unroll
      for (unsigned x = 0; x < kFloatOwn; ++x) {
#pragma unroll
        for (unsigned y = 0; y < kFloatOwn; ++y) {
          if (first_token + token + x >= rows || first_row + row + y >= n) continue;
          const unsigned long long at =
              (unsigned long long)(first_token + token + x) * n + first_row + row + y;
          out[at] = residual != nullptr ? residual[at] + acc[x][y] : acc[x][y];
        }
      }
    }
  }
}

}  // namespace jllm::device

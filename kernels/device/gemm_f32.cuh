// Matmul of T rows with f32 weights in plain f32 arithmetic, so that small f32 models stay exact to
// rounding. Tiles of 64 weight rows x 64 tokens x 32 along k; a thread owns 4 x 4 results.
#pragma once

#include "kernels/device/weights.cuh"

namespace jllm::device {

constexpr unsigned kFloatThreads = 256;
constexpr unsigned kFloatTile = 64;
constexpr unsigned kFloatDepth = 32;

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

JLLM_DEVICE void gemm_f32(const float* in, const Bytes* weight, const float* residual, float* out,
                          unsigned rows, unsigned n, unsigned k, FloatTiles* tiles) {
  const unsigned long long stride = row_layout(kRowF32, k).stride / sizeof(float);
  const unsigned row = threadIdx.x % 16 * 4, token = threadIdx.x / 16 * 4;
  for (unsigned first_token = blockIdx.y * kFloatTile; first_token < rows;
       first_token += gridDim.y * kFloatTile) {
    for (unsigned first_row = blockIdx.x * kFloatTile; first_row < n;
         first_row += gridDim.x * kFloatTile) {
      float acc[4][4] = {};
      for (unsigned first_k = 0; first_k < k; first_k += kFloatDepth) {
        __syncthreads();
        load_transposed((const float*)weight, stride, first_row, n, first_k, k, tiles->weights);
        load_transposed(in, k, first_token, rows, first_k, k, tiles->tokens);
        __syncthreads();
#pragma unroll 8
        for (unsigned i = 0; i < kFloatDepth; ++i) {
          const Float4 w = *(const Float4*)&tiles->weights[i][row];
          const Float4 a = *(const Float4*)&tiles->tokens[i][token];
          const float wv[4] = {w.x, w.y, w.z, w.w}, av[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
          for (unsigned x = 0; x < 4; ++x) {
#pragma unroll
            for (unsigned y = 0; y < 4; ++y) acc[x][y] += av[x] * wv[y];
          }
        }
      }
#pragma unroll
      for (unsigned x = 0; x < 4; ++x) {
#pragma unroll
        for (unsigned y = 0; y < 4; ++y) {
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

// Tensor-core matmul of T rows, tiled over weight rows and tokens, in sub-blocks of 32 along k.
// Weights enter the product as the integers that they are stored as (exact in f16); their scales
// are applied in f32 to each sub-block's sum. Activations are rounded to f16 after a division by a
// power of two per token and sub-block, so they neither overflow nor vanish. BF16 weights take bf16
// products with each activation split in two (16 bits of mantissa), because their range exceeds
// that of f16.
#pragma once

#include "kernels/device/mma.cuh"
#include "kernels/device/weights.cuh"

namespace jllm::device {

constexpr unsigned kGemmThreads = 256;

// A warp computes kM * 16 weight rows x kN * 8 tokens; the block's warps stand 4 (rows) x 2
// (tokens), so that a tile has as many rows as tokens: 64 * kM = 16 * kN.
template <unsigned kType, unsigned kM, unsigned kN>
struct Gemm {
  using W = Weight<kType>;
  static constexpr bool kSplit = kType == kRowBF16;
  static constexpr unsigned kTile = 64 * kM;  // weight rows, and tokens
  static_assert(kTile == 16 * kN, "a thread stages one sub-block of each side");
  // Sub-blocks along k per turn: one per thread; fewer where the split doubles the room.
  static constexpr unsigned kSubs = kGemmThreads / kTile / (kSplit ? 2 : 1);
  static constexpr unsigned kStride = 32 * kSubs + 8;  // padded: conflict-free fragment loads
  static constexpr unsigned kUnits = 32 / W::kUnit;    // units per sub-block
  static constexpr unsigned kScales = W::kTwoScales ? 2 : 1;

  struct Shared {
    alignas(16) unsigned short weights[kTile][kStride];
    alignas(16) unsigned short tokens[kTile][kStride];
    alignas(16) unsigned short rest[kSplit ? kTile : 1][kStride];  // what bf16 rounding left
    float scale[kSubs][kScales][kTile];
    float minimum[W::kHasMinimum ? kSubs : 1][kTile];
    alignas(8) float factor[kSubs][kTile];                    // of a token's sub-block
    alignas(8) float sum[W::kHasMinimum ? kSubs : 1][kTile];  // before the factor
  };

  // What a thread carries from global to shared memory: one sub-block of each side.
  struct Registers {
    typename W::Raw weights[kUnits];
    Float4 tokens[8];
  };

  // Sub-block `sub` (along k) of weight row `row` and of token `token`; zeros outside of the
  // matrices.
  static JLLM_DEVICE void fetch(const Bytes* weight, const float* in, unsigned row, unsigned n,
                                unsigned token, unsigned rows, unsigned sub, unsigned k,
                                unsigned long long stride, Registers* to) {
#pragma unroll
    for (unsigned u = 0; u < kUnits; ++u) {
      const unsigned unit = sub * kUnits + u;
      const bool inside = row < n && unit * W::kUnit < k;
      to->weights[u] = inside ? W::load(weight + row * stride, unit, k) : typename W::Raw{};
    }
    const float* from = in + (unsigned long long)token * k + sub * 32;
#pragma unroll
    for (unsigned i = 0; i < 8; ++i) {
      const bool inside = token < rows && sub * 32 + i * 4 < k;
      to->tokens[i] = inside ? *(const Float4*)(from + 4 * i) : Float4{0.0f, 0.0f, 0.0f, 0.0f};
    }
  }

  static JLLM_DEVICE unsigned pack(float low, float high) {
    return kSplit ? floats_to_bfloat2(low, high) : floats_to_half2(low, high);
  }

  static JLLM_DEVICE void store_weights(const Registers& from, Shared* shared, unsigned row,
                                        unsigned sub) {
    unsigned packed[16];
#pragma unroll
    for (unsigned u = 0; u < kUnits; ++u) {
      for_chunks<W::kUnit / 8>([&](auto chunk) {
        constexpr unsigned kChunk = decltype(chunk)::value;
        float v[8];
        W::template values<kChunk>(from.weights[u], v);
        unsigned* low = packed + (u * W::kUnit + W::first(kChunk)) / 2;
        unsigned* high = packed + (u * W::kUnit + W::second(kChunk)) / 2;
        low[0] = pack(v[0], v[1]), low[1] = pack(v[2], v[3]);
        high[0] = pack(v[4], v[5]), high[1] = pack(v[6], v[7]);
      });
    }
    Uint4* to = (Uint4*)&shared->weights[row][sub * 32];
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      to[i] = {packed[4 * i], packed[4 * i + 1], packed[4 * i + 2], packed[4 * i + 3]};
    }
#pragma unroll
    for (unsigned i = 0; i < kScales; ++i) {
      shared->scale[sub][i][row] = W::scale(from.weights[0], i);
    }
    if constexpr (W::kHasMinimum) shared->minimum[sub][row] = W::minimum(from.weights[0]);
  }

  static JLLM_DEVICE unsigned left(float low, float high, unsigned rounded) {
    return floats_to_bfloat2(low - low_bfloat(rounded), high - high_bfloat(rounded));
  }

  static JLLM_DEVICE void store_tokens(const Registers& from, Shared* shared, unsigned token,
                                       unsigned sub) {
    float largest = 0.0f;
#pragma unroll
    for (unsigned i = 0; i < 8; ++i) {
      const Float4& v = from.tokens[i];
      largest = fmaxf(largest, fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))));
    }
    // A power of two that brings the largest magnitude to 2^14 .. 2^15, so that what is 2^28 times
    // smaller still has all bits; clamped to where its inverse is a number too.
    unsigned exponent = float_to_bits(largest) & 0x7f800000u;
    if (exponent < 0x13800000u) exponent = 0x13800000u;
    if (exponent > 0x72000000u) exponent = 0x72000000u;
    exponent -= 14u << 23;
    const float inverse = kSplit ? 1.0f : bits_to_float(0x7f000000u - exponent);
    shared->factor[sub][token] = kSplit ? 1.0f : bits_to_float(exponent);

    Uint4* to = (Uint4*)&shared->tokens[token][sub * 32];
    float sum = 0.0f;  // of the rounded values: minima must cancel what the products contain
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      const Float4 &v = from.tokens[2 * i], &w = from.tokens[2 * i + 1];
      const unsigned packed[4] = {
          pack(v.x * inverse, v.y * inverse), pack(v.z * inverse, v.w * inverse),
          pack(w.x * inverse, w.y * inverse), pack(w.z * inverse, w.w * inverse)};
      to[i] = {packed[0], packed[1], packed[2], packed[3]};
      if constexpr (W::kHasMinimum) {
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) sum += low_half(packed[j]) + high_half(packed[j]);
      }
      if constexpr (kSplit) {
        ((Uint4*)&shared->rest[token][sub * 32])[i] = {
            left(v.x, v.y, packed[0]), left(v.z, v.w, packed[1]), left(w.x, w.y, packed[2]),
            left(w.z, w.w, packed[3])};
      }
    }
    if constexpr (W::kHasMinimum) shared->sum[sub][token] = sum;
  }

  // Adds the products of sub-block `sub` to a warp's tile; `pairs` of its token tiles hold tokens.
  static JLLM_DEVICE void multiply(const Shared& shared, unsigned sub, unsigned first_row,
                                   unsigned first_token, unsigned pairs, float (&acc)[kM][kN][4]) {
    const unsigned g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
    unsigned a[kM][2][4];
    float scale[kScales][kM][2], minimum[kM][2];
#pragma unroll
    for (unsigned m = 0; m < kM; ++m) {
      const unsigned row = first_row + 16 * m;
      load_a(&shared.weights[row][sub * 32], kStride, a[m][0]);
      load_a(&shared.weights[row][sub * 32 + 16], kStride, a[m][1]);
#pragma unroll
      for (unsigned half = 0; half < 2; ++half) {
#pragma unroll
        for (unsigned i = 0; i < kScales; ++i) {
          scale[i][m][half] = shared.scale[sub][i][row + g + 8 * half];
        }
        minimum[m][half] = W::kHasMinimum ? shared.minimum[sub][row + g + 8 * half] : 0.0f;
      }
    }
#pragma unroll
    for (unsigned pair = 0; pair < kN / 2; ++pair) {
      if (pair >= pairs) break;
      const unsigned token = first_token + 16 * pair;
      unsigned b[2][4], rest[2][4];
#pragma unroll
      for (unsigned half = 0; half < 2; ++half) {
        load_b_pair(&shared.tokens[token][sub * 32 + 16 * half], kStride, b[half]);
        if constexpr (kSplit) {
          load_b_pair(&shared.rest[token][sub * 32 + 16 * half], kStride, rest[half]);
        }
      }
#pragma unroll
      for (unsigned n = 0; n < 2; ++n) {
        const unsigned column = token + 8 * n + 2 * t;
        const float factor[2] = {shared.factor[sub][column], shared.factor[sub][column + 1]};
        float sum[2] = {0.0f, 0.0f};
        if constexpr (W::kHasMinimum) {
          sum[0] = shared.sum[sub][column];
          sum[1] = shared.sum[sub][column + 1];
        }
#pragma unroll
        for (unsigned m = 0; m < kM; ++m) {
          float part[4] = {}, other[4] = {};
          if constexpr (kSplit) {
            mma_bf16(a[m][0], b[0][2 * n], b[0][2 * n + 1], part);
            mma_bf16(a[m][0], rest[0][2 * n], rest[0][2 * n + 1], part);
            mma_bf16(a[m][1], b[1][2 * n], b[1][2 * n + 1], part);
            mma_bf16(a[m][1], rest[1][2 * n], rest[1][2 * n + 1], part);
          } else {
            mma_f16(a[m][0], b[0][2 * n], b[0][2 * n + 1], part);
            mma_f16(a[m][1], b[1][2 * n], b[1][2 * n + 1], W::kTwoScales ? other : part);
          }
#pragma unroll
          for (unsigned i = 0; i < 4; ++i) {
            float value = part[i] * scale[0][m][i / 2];
            if constexpr (W::kTwoScales) value += other[i] * scale[kScales - 1][m][i / 2];
            if constexpr (W::kHasMinimum) value -= minimum[m][i / 2] * sum[i % 2];
            acc[m][2 * pair + n][i] += value * factor[i % 2];
          }
        }
      }
    }
  }

  // out[rows][n] = in[rows][k] W[n][k]^T (+ residual). Tiles are dealt to the blocks of the grid.
  static JLLM_DEVICE void run(const float* in, const Bytes* weight, const float* residual,
                              float* out, unsigned rows, unsigned n, unsigned k, Shared* shared) {
    const unsigned long long stride = row_layout(kType, k).stride;
    const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    const unsigned warp_row = warp % 4 * (16 * kM), warp_token = warp / 4 * (8 * kN);
    const unsigned item = threadIdx.x % kTile, item_sub = threadIdx.x / kTile;
    const bool has_item = item_sub < kSubs;
    const unsigned turns = (k + 32 * kSubs - 1) / (32 * kSubs);
    for (unsigned first_token = blockIdx.y * kTile; first_token < rows;
         first_token += gridDim.y * kTile) {
      const unsigned begin = first_token + warp_token;
      const unsigned pairs = begin < rows ? (rows - begin + 15) / 16 : 0;
      for (unsigned first_row = blockIdx.x * kTile; first_row < n; first_row += gridDim.x * kTile) {
        float acc[kM][kN][4] = {};
        Registers held;
        if (has_item) {
          fetch(weight, in, first_row + item, n, first_token + item, rows, item_sub, k, stride,
                &held);
        }
        for (unsigned turn = 0; turn < turns; ++turn) {
          __syncthreads();  // the last turn's products are done
          if (has_item) {
            store_weights(held, shared, item, item_sub);
            store_tokens(held, shared, item, item_sub);
          }
          __syncthreads();
          if (has_item && turn + 1 < turns) {
            fetch(weight, in, first_row + item, n, first_token + item, rows,
                  (turn + 1) * kSubs + item_sub, k, stride, &held);
          }
#pragma unroll 1
          for (unsigned sub = 0; sub < kSubs; ++sub) {
            multiply(*shared, sub, warp_row, warp_token, pairs, acc);
          }
        }
#pragma unroll
        for (unsigned m = 0; m < kM; ++m) {
#pragma unroll
          for (unsigned tile = 0; tile < kN; ++tile) {
#pragma unroll
            for (unsigned i = 0; i < 4; ++i) {
              const unsigned row = first_row + warp_row + 16 * m + lane / 4 + i / 2 * 8;
              const unsigned token = begin + 8 * tile + lane % 4 * 2 + i % 2;
              if (row >= n || token >= rows) continue;
              const unsigned long long at = (unsigned long long)token * n + row;
              out[at] = residual != nullptr ? residual[at] + acc[m][tile][i] : acc[m][tile][i];
            }
          }
        }
      }
    }
  }
};

}  // namespace jllm::device

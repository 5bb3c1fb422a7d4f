// Tensor-core matmul of T rows: tiles of 64 weight rows x 64 tokens, sub-blocks of 32 along k.
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
constexpr unsigned kGemmRows = 64;    // weight rows per tile
constexpr unsigned kGemmTokens = 64;  // activation rows per tile

template <unsigned kType>
struct Gemm {
  using W = Weight<kType>;
  static constexpr bool kSplit = kType == kRowBF16;
  static constexpr unsigned kSubs =
      kSplit ? 2 : 4;  // sub-blocks per turn; the split doubles the room
  static constexpr unsigned kStride = 32 * kSubs + 8;  // padded: conflict-free fragment loads
  static constexpr unsigned kUnits = 32 / W::kUnit;    // units per sub-block

  struct Shared {
    alignas(16) unsigned short weights[kGemmRows][kStride];
    alignas(16) unsigned short tokens[kGemmTokens][kStride];
    alignas(16) unsigned short rest[kSplit ? kGemmTokens : 1][kStride];  // what bf16 rounding left
    float scale[kSubs][W::kTwoScales ? 2 : 1][kGemmRows];
    float minimum[W::kHasMinimum ? kSubs : 1][kGemmRows];
    float factor[kSubs][kGemmTokens];
    float sum[W::kHasMinimum ? kSubs : 1][kGemmTokens];
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
    shared->scale[sub][0][row] = W::scale(from.weights[0], 0);
    if constexpr (W::kTwoScales) shared->scale[sub][1][row] = W::scale(from.weights[0], 1);
    if constexpr (W::kHasMinimum) shared->minimum[sub][row] = W::minimum(from.weights[0]);
  }

  static JLLM_DEVICE void store_tokens(const Registers& from, Shared* shared, unsigned token,
                                       unsigned sub) {
    float largest = 0.0f, sum = 0.0f;
#pragma unroll
    for (unsigned i = 0; i < 8; ++i) {
      const Float4& v = from.tokens[i];
      largest = fmaxf(largest, fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))));
      sum += v.x + v.y + v.z + v.w;
    }
    // A power of two that brings the largest magnitude to 2^14 .. 2^15, so that what is 2^28 times
    // smaller still has all bits; clamped to where its inverse is a number too.
    unsigned exponent = float_to_bits(largest) & 0x7f800000u;
    if (exponent < 0x13800000u) exponent = 0x13800000u;
    if (exponent > 0x72000000u) exponent = 0x72000000u;
    exponent -= 14u << 23;
    const float factor = kSplit ? 1.0f : bits_to_float(exponent);
    const float inverse = kSplit ? 1.0f : bits_to_float(0x7f000000u - exponent);
    Uint4* to = (Uint4*)&shared->tokens[token][sub * 32];
    Uint4* rest = (Uint4*)&shared->rest[kSplit ? token : 0][sub * 32];
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      const Float4 &v = from.tokens[2 * i], &w = from.tokens[2 * i + 1];
      to[i] = {pack(v.x * inverse, v.y * inverse), pack(v.z * inverse, v.w * inverse),
               pack(w.x * inverse, w.y * inverse), pack(w.z * inverse, w.w * inverse)};
      if constexpr (kSplit) {
        rest[i] = {left(v.x, v.y, to[i].x), left(v.z, v.w, to[i].y), left(w.x, w.y, to[i].z),
                   left(w.z, w.w, to[i].w)};
      }
    }
    shared->factor[sub][token] = factor;
    if constexpr (W::kHasMinimum) shared->sum[sub][token] = sum;
  }

  static JLLM_DEVICE unsigned left(float low, float high, unsigned rounded) {
    return floats_to_bfloat2(low - low_bfloat(rounded), high - high_bfloat(rounded));
  }

  // Adds the products of sub-block `sub` to a warp's 16 rows x 32 tokens.
  static JLLM_DEVICE void multiply(const Shared& shared, unsigned sub, unsigned first_row,
                                   unsigned first_token, float (&acc)[4][4]) {
    const unsigned lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;
    float part[4][4] = {};
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      const unsigned column = sub * 32 + half * 16;
      unsigned a[4];
      load_a(&shared.weights[first_row][column], kStride, a);
#pragma unroll
      for (unsigned pair = 0; pair < 2; ++pair) {
        unsigned b[4];
        load_b_pair(&shared.tokens[first_token + 16 * pair][column], kStride, b);
        if constexpr (kSplit) {
          mma_bf16(a, b[0], b[1], part[2 * pair]);
          mma_bf16(a, b[2], b[3], part[2 * pair + 1]);
          load_b_pair(&shared.rest[first_token + 16 * pair][column], kStride, b);
          mma_bf16(a, b[0], b[1], part[2 * pair]);
          mma_bf16(a, b[2], b[3], part[2 * pair + 1]);
        } else {
          mma_f16(a, b[0], b[1], part[2 * pair]);
          mma_f16(a, b[2], b[3], part[2 * pair + 1]);
        }
      }
      if (!W::kTwoScales && half == 0) continue;
      const unsigned which = W::kTwoScales ? half : 0;
      const float scale[2] = {shared.scale[sub][which][first_row + g],
                              shared.scale[sub][which][first_row + g + 8]};
#pragma unroll
      for (unsigned tile = 0; tile < 4; ++tile) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
          const unsigned token = first_token + 8 * tile + 2 * t + i % 2;
          acc[tile][i] += part[tile][i] * (scale[i / 2] * shared.factor[sub][token]);
          if (W::kHasMinimum) {
            acc[tile][i] -= shared.minimum[sub][first_row + g + i / 2 * 8] * shared.sum[sub][token];
          }
          part[tile][i] = 0.0f;
        }
      }
    }
  }

  // out[rows][n] = in[rows][k] W[n][k]^T (+ residual). Tiles are dealt to the blocks of the grid.
  static JLLM_DEVICE void run(const float* in, const Bytes* weight, const float* residual,
                              float* out, unsigned rows, unsigned n, unsigned k, Shared* shared) {
    const unsigned long long stride = row_layout(kType, k).stride;
    const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    const unsigned warp_row = warp % 4 * 16, warp_token = warp / 4 * 32;
    const unsigned item_row = threadIdx.x % 64, item_sub = threadIdx.x / 64;
    const bool has_item = item_sub < kSubs;
    const unsigned turns = (k + 32 * kSubs - 1) / (32 * kSubs);
    for (unsigned first_token = blockIdx.y * kGemmTokens; first_token < rows;
         first_token += gridDim.y * kGemmTokens) {
      for (unsigned first_row = blockIdx.x * kGemmRows; first_row < n;
           first_row += gridDim.x * kGemmRows) {
        float acc[4][4] = {};
        Registers item;
        if (has_item) {
          fetch(weight, in, first_row + item_row, n, first_token + item_row, rows, item_sub, k,
                stride, &item);
        }
        for (unsigned turn = 0; turn < turns; ++turn) {
          __syncthreads();  // the last turn's products are done
          if (has_item) {
            store_weights(item, shared, item_row, item_sub);
            store_tokens(item, shared, item_row, item_sub);
          }
          __syncthreads();
          if (has_item && turn + 1 < turns) {
            fetch(weight, in, first_row + item_row, n, first_token + item_row, rows,
                  (turn + 1) * kSubs + item_sub, k, stride, &item);
          }
          if (first_token + warp_token >= rows) continue;
#pragma unroll
          for (unsigned sub = 0; sub < kSubs; ++sub) {
            multiply(*shared, sub, warp_row, warp_token, acc);
          }
        }
#pragma unroll
        for (unsigned tile = 0; tile < 4; ++tile) {
#pragma unroll
          for (unsigned i = 0; i < 4; ++i) {
            const unsigned row = first_row + warp_row + lane / 4 + i / 2 * 8;
            const unsigned token = first_token + warp_token + 8 * tile + lane % 4 * 2 + i % 2;
            if (row >= n || token >= rows) continue;
            const unsigned long long at = (unsigned long long)token * n + row;
            out[at] = residual != nullptr ? residual[at] + acc[tile][i] : acc[tile][i];
          }
        }
      }
    }
  }
};

}  // namespace jllm::device

// The operands of attention_decode.cu: queries, 16 keys, 16 values and the weighted sums, as
// fragments of a warp.
#pragma once

#include "kernels/device/kv_fragments.cuh"
#include "kernels/device/scores.cuh"

// 1: heads of q and of the appended k still have to go through a norm and rope.
#ifndef HEAD_NORM
#define HEAD_NORM 0
#endif

namespace jllm::device {

using KCache = KvCache<KV_K_TYPE, (unsigned long long)KV_HEADS * CONTEXT, HEAD_DIM>;
using VCache = KvCache<KV_V_TYPE, (unsigned long long)KV_HEADS * CONTEXT, HEAD_DIM>;

// Lane 4g + t of a fragment: row or column g, t of four in the other direction (mma.cuh).
struct Lane {
  unsigned g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
};

// Positions from .. to - 1.
struct Range {
  unsigned from, to;
  JLLM_DEVICE bool has(unsigned position) const { return position >= from && position < to; }
};

// The scales of the four positions whose scores a lane holds, by groups of 32 elements.
template <typename Cache>
struct Scales {
  static constexpr unsigned kGroups = Cache::kQuantised ? HEAD_DIM / kKvGroup : 1;
  unsigned short bits[2][2][kGroups];

  JLLM_DEVICE void load(const Bytes* cache, unsigned long long first_row, unsigned base,
                        const Range& range) {
    if constexpr (Cache::kQuantised) {
      const Bytes* const at = cache + Cache::kLayout.scales + first_row * Cache::kLayout.scale_row;
#pragma unroll
      for (unsigned n = 0; n < 2; ++n) {
#pragma unroll
        for (unsigned i = 0; i < 2; ++i) {
          const unsigned position = base + n * 8 + 2 * Lane().t + i;
          if (!range.has(position)) continue;
          const auto* row = (const unsigned short*)(at + position * Cache::kLayout.scale_row);
#pragma unroll
          for (unsigned group = 0; group < kGroups; ++group) {
            bits[n][i][group] = load_shared_across_blocks(row + group);
          }
        }
      }
    }
  }
  JLLM_DEVICE void clear() {
#pragma unroll
    for (unsigned i = 0; i < 4 * kGroups; ++i) (&bits[0][0][0])[i] = 0;
  }
  JLLM_DEVICE float at(unsigned n, unsigned i, unsigned group) const {
    return half_to_float(bits[n][i][group]);
  }
};

// Whether queries pass through shared memory before they become fragments.
constexpr bool kPreparesQueries = ROTATION != 0 || HEAD_NORM != 0;

// The queries as A fragments, in shared memory, where all warps of a block find them. The inner
// dimension is permuted so that a lane's elements lie together: of 32 elements 8t .. 8t + 7 belong
// to lane t, as in Keys.
struct Queries {
  static constexpr unsigned kChunks = (HEAD_DIM + 31) / 32;
  Uint4 fragments[kChunks][2][kWarp];

  // Chunks first, first + step ..; `row` is this lane's query row g, of HEAD_DIM elements; null:
  // zeros. A whole warp calls it.
  JLLM_DEVICE void fill(const float* row, unsigned first, unsigned step) {
    for (unsigned c = first; c < kChunks; c += step) {
      const unsigned element = c * 32 + Lane().t * 8;
#pragma unroll
      for (unsigned half = 0; half < 2; ++half) {
        Float4 v = {};
        if (row != nullptr && element < HEAD_DIM) v = read(row + element + 4 * half);
        const float factor = query_factor();
        const TwoHalves left = split_halves(v.x * factor, v.y * factor);
        const TwoHalves right = split_halves(v.z * factor, v.w * factor);
        fragments[c][half][threadIdx.x % kWarp] = {left.high, left.low, right.high, right.low};
      }
    }
  }
  JLLM_DEVICE void fragment(unsigned c, unsigned half, unsigned (&a)[4]) const {
    const Uint4 v = fragments[c][half][threadIdx.x % kWarp];
    a[0] = v.x, a[1] = v.y, a[2] = v.z, a[3] = v.w;
  }

 private:
  static JLLM_DEVICE Float4 read(const float* at) {
    if constexpr (!kPreparesQueries) return load_shared_across_blocks((const Float4*)at);
    return {at[0], at[1], at[2], at[3]};  // in a Partial, which is not aligned for more
  }
};

// 16 keys: lane (g, t) has elements 32c + 8t .. + 7 of positions g and 8 + g.
struct Keys {
  using Piece = KvPiece<KV_K_TYPE, 8>;
  static constexpr unsigned kChunks = Queries::kChunks;
  Piece pieces[2][kChunks];
  Scales<KCache> scales;

  JLLM_DEVICE void clear() {
#pragma unroll
    for (unsigned i = 0; i < 2 * kChunks; ++i) (&pieces[0][0])[i].clear();
    scales.clear();
  }
  JLLM_DEVICE void load(const Bytes* cache, unsigned long long first_row, unsigned base,
                        const Range& range) {
#pragma unroll
    for (unsigned n = 0; n < 2; ++n) {
      const unsigned position = base + n * 8 + Lane().g;
      if (!range.has(position)) continue;
      const Bytes* const row = cache + (first_row + position) * KCache::kLayout.row;
#pragma unroll
      for (unsigned c = 0; c < kChunks; ++c) {
        const unsigned element = c * 32 + Lane().t * 8;
        if (element < HEAD_DIM) pieces[n][c].load(row + element / 8 * Piece::kBytes);
      }
    }
    scales.load(cache, first_row, base, range);
  }
  // Dot products of query row g with positions 8n + 2t and 8n + 2t + 1.
  JLLM_DEVICE void scores(const Queries& queries, unsigned n, float (&out)[2]) const {
    float sum[4] = {};
    out[0] = out[1] = 0.0f;
#pragma unroll
    for (unsigned c = 0; c < kChunks; ++c) {
#pragma unroll
      for (unsigned half = 0; half < 2; ++half) {
        unsigned a[4];
        queries.fragment(c, half, a);
        const Piece& piece = pieces[n][c];
        mma_f16(a, piece.pair<0>(2 * half), piece.pair<0>(2 * half + 1), sum);
        if constexpr (Piece::kParts == 2) {
          mma_f16(a, piece.pair<1>(2 * half), piece.pair<1>(2 * half + 1), sum);
        }
      }
      if constexpr (KCache::kQuantised) {
#pragma unroll
        for (unsigned i = 0; i < 2; ++i) {
          out[i] += (sum[i] + sum[2 + i]) * scales.at(n, i, c);
          sum[i] = sum[2 + i] = 0.0f;
        }
      }
    }
    if constexpr (!KCache::kQuantised) {
      out[0] = sum[0] + sum[2];
      out[1] = sum[1] + sum[3];
    }
  }
};

// 16 values: lane (g, t) has kSpan elements of each group of 8 kSpan, of the positions whose scores
// it holds. Column g of product j is element g * kSpan + j of the group.
struct Values {
  static constexpr unsigned kSpan = VCache::kQuantised ? 4 : 8;  // a group has a single scale
  static constexpr unsigned kGroups = (HEAD_DIM + 8 * kSpan - 1) / (8 * kSpan);
  using Piece = KvPiece<KV_V_TYPE, kSpan>;
  Piece pieces[2][2][kGroups];
  Scales<VCache> scales;

  JLLM_DEVICE void clear() {
#pragma unroll
    for (unsigned i = 0; i < 4 * kGroups; ++i) (&pieces[0][0][0])[i].clear();
    scales.clear();
  }
  JLLM_DEVICE void load(const Bytes* cache, unsigned long long first_row, unsigned base,
                        const Range& range) {
#pragma unroll
    for (unsigned n = 0; n < 2; ++n) {
#pragma unroll
      for (unsigned i = 0; i < 2; ++i) {
        const unsigned position = base + n * 8 + 2 * Lane().t + i;
        if (!range.has(position)) continue;
        const Bytes* const row = cache + (first_row + position) * VCache::kLayout.row;
#pragma unroll
        for (unsigned group = 0; group < kGroups; ++group) {
          const unsigned element = (group * 8 + Lane().g) * kSpan;
          if (element < HEAD_DIM) pieces[n][i][group].load(row + element / kSpan * Piece::kBytes);
        }
      }
    }
    scales.load(cache, first_row, base, range);
  }
};

// The weighted values: of query rows 2t and 2t + 1, this lane's elements in Values.
struct Sums {
  static constexpr unsigned kSpan = Values::kSpan, kGroups = Values::kGroups;
  // Scaled weights are small: this keeps what rounding takes away from them in the range of f16.
  static constexpr float kBoost = VCache::kQuantised ? 16.0f : 1.0f;
  float parts[kGroups][kSpan / 2][4];  // [][][element % 2 * 2 + query row % 2]

  // `factor` is that of query row g.
  JLLM_DEVICE void scale(float factor) {
    const float even = __shfl_sync(kAllLanes, factor, 8 * Lane().t);
    const float odd = __shfl_sync(kAllLanes, factor, 8 * Lane().t + 4);
#pragma unroll
    for (unsigned i = 0; i < kGroups * kSpan * 2; i += 2) {
      (&parts[0][0][0])[i] *= even;
      (&parts[0][0][0])[i + 1] *= odd;
    }
  }
  // weights[n][i] is that of query row g for position 8n + 2t + i.
  JLLM_DEVICE void add(const float (&weights)[2][2], const Values& values) {
    TwoHalves b[2];
    if constexpr (!VCache::kQuantised) fragment(weights, b);
#pragma unroll
    for (unsigned group = 0; group < kGroups; ++group) {
      if constexpr (VCache::kQuantised) {
        float scaled[2][2];
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
          scaled[i / 2][i % 2] = weights[i / 2][i % 2] * values.scales.at(i / 2, i % 2, group);
        }
        fragment(scaled, b);
      }
#pragma unroll
      for (unsigned j = 0; j < kSpan / 2; ++j) {
        add_part<0>(values, group, j, b);
        if constexpr (Values::Piece::kParts == 2) add_part<1>(values, group, j, b);
      }
    }
  }
  JLLM_DEVICE float result(unsigned group, unsigned element, unsigned row) const {
    return parts[group][element / 2][element % 2 * 2 + row] * (1.0f / kBoost);
  }

 private:
  static JLLM_DEVICE void fragment(const float (&weights)[2][2], TwoHalves (&b)[2]) {
#pragma unroll
    for (unsigned n = 0; n < 2; ++n) {
      b[n] = split_halves(weights[n][0] * kBoost, weights[n][1] * kBoost);
    }
  }
  template <unsigned kPart>
  JLLM_DEVICE void add_part(const Values& values, unsigned group, unsigned j,
                            const TwoHalves (&b)[2]) {
    unsigned a[4];
#pragma unroll
    for (unsigned n = 0; n < 2; ++n) {
      const unsigned first = values.pieces[n][0][group].template pair<kPart>(j);
      const unsigned second = values.pieces[n][1][group].template pair<kPart>(j);
      a[2 * n] = __byte_perm(first, second, 0x5410);
      a[2 * n + 1] = __byte_perm(first, second, 0x7632);
    }
    mma_f16(a, b[0].high, b[1].high, parts[group][j]);
    mma_f16(a, b[0].low, b[1].low, parts[group][j]);
  }
};

}  // namespace jllm::device

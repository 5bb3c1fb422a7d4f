// Attention of one token, or of TOKENS that follow each other, on tensor cores. A block handles up
// to eight query rows of one KV head (query heads and tokens) and one split of the cached
// positions; the last block of a row group to finish combines the splits, in order. A warp takes
// 16 positions of a tile: keys and values go straight from the cache into fragments, in flight
// before the inputs are awaited, but for the rows that the kernels before have just written.
//
// Products are exact to f32: queries and the weights of the softmax enter as the sum of two f16; of
// the queries rows 0..7 of a fragment hold one and rows 8..15 the other. Tiles are counted from
// position 0 and belong to splits in turn: a row's result does not depend on the other rows of the
// launch.
//
// With APPEND a block whose tiles hold the tokens' positions appends their k and v first; blocks of
// the same KV head write the same bytes.
#include "kernels/device/activations.cuh"
#include "kernels/device/kv_fragments.cuh"
#include "kernels/device/mma.cuh"
#include "kernels/device/scores.cuh"

#ifndef TOKENS
#define TOKENS 1
#endif

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kGroup = HEADS / KV_HEADS;  // query heads per KV head
constexpr unsigned kQueries = kGroup * TOKENS;
constexpr unsigned kRows = kQueries < 8 ? kQueries : 8;  // query rows of a block
constexpr unsigned kRowGroups = (kQueries + 7) / 8;
constexpr unsigned kWarps = HEAD_DIM <= 128 ? 8 : 4;  // attention_decode_shape() has these
constexpr unsigned kThreads = kWarps * kWarp;
constexpr unsigned kWarpPositions = 16;
constexpr unsigned kTile = kWarps * kWarpPositions;
// Two blocks per multiprocessor, where registers allow it.
constexpr bool kWide = HEAD_DIM > 128 || KV_K_TYPE == kKvF32 || KV_V_TYPE == kKvF32;
constexpr float kLowest = -1e30f;  // finite: differences of two never become NaN
static_assert(SPLITS <= kWarp, "a lane combines a split");

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

// The queries as A fragments. The inner dimension is permuted so that a lane's elements lie
// together: of 32 elements 8t .. 8t + 7 belong to lane t, as in Keys.
struct Queries {
  static constexpr unsigned kChunks = (HEAD_DIM + 31) / 32;
  TwoHalves pairs[kChunks][4];

  // `row` holds HEAD_DIM elements; null: zeros.
  JLLM_DEVICE void load(const float* row) {
#pragma unroll
    for (unsigned c = 0; c < kChunks; ++c) {
      const unsigned element = c * 32 + Lane().t * 8;
      Float4 v[2] = {};
      if (row != nullptr && element < HEAD_DIM) {
        v[0] = read((const Float4*)(row + element));
        v[1] = read((const Float4*)(row + element) + 1);
      }
      const float factor = query_factor();
#pragma unroll
      for (unsigned i = 0; i < 2; ++i) {
        pairs[c][2 * i] = split_halves(v[i].x * factor, v[i].y * factor);
        pairs[c][2 * i + 1] = split_halves(v[i].z * factor, v[i].w * factor);
      }
    }
  }
  JLLM_DEVICE void fragment(unsigned c, unsigned half, unsigned (&a)[4]) const {
    const TwoHalves &first = pairs[c][2 * half], &second = pairs[c][2 * half + 1];
    a[0] = first.high, a[1] = first.low, a[2] = second.high, a[3] = second.low;
  }

 private:
  static JLLM_DEVICE Float4 read(const Float4* at) {
    if constexpr (ROTATION == 0) return load_shared_across_blocks(at);
    const float* const v = (const float*)at;  // in a Partial, which is not aligned for more
    return {v[0], v[1], v[2], v[3]};
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

// The result of a warp for a query row, then of a block: sum of exp2(score - max) * v, the largest
// score, sum of exp2.
struct Partial {
  float sum[HEAD_DIM];
  float max, total;
};

// Hands element `i` of a token's result on. Warps call it with 32 consecutive elements.
JLLM_DEVICE void store_result(unsigned token, unsigned i, float value, float* out) {
#if OUT_IMAGE
  constexpr unsigned kImageBytes = ByteImage<OUT_IMAGE, HEADS * HEAD_DIM>::kBytes;
  publish_block<OUT_IMAGE, HEADS * HEAD_DIM>(value, i / kWarp, (Bytes*)out + token * kImageBytes);
#else
  out[token * (HEADS * HEAD_DIM) + i] = value;
#endif
}

// Which of the SPLITS splits have a tile.
struct Tiles {
  unsigned first, count;

  // Tiles from split's first on to the end, SPLITS apart; beyond the end when it has none.
  JLLM_DEVICE unsigned first_of(unsigned split) const {
    return first + (split + SPLITS - first % SPLITS) % SPLITS;
  }
  JLLM_DEVICE bool used(unsigned split) const { return first_of(split) < first + count; }
  JLLM_DEVICE unsigned splits() const { return count < SPLITS ? count : SPLITS; }
};

// Folds the splits' partials, [SPLITS][kRows], of this row group: calls store(row, element, value)
// with what is left. The whole block calls it.
template <typename Store>
JLLM_DEVICE void combine(const Tiles& tiles, unsigned rows, const Partial* partials,
                         const Store& store) {
  constexpr unsigned kBatch = SPLITS < 16 ? SPLITS : 16;  // loads in flight
  __shared__ float factors[kRows][SPLITS], totals[kRows];
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  float held[kBatch];
  const auto fetch = [&](unsigned i, unsigned split) {
#pragma unroll
    for (unsigned b = 0; b < kBatch; ++b) {
      held[b] = 0.0f;
      if (i < rows * HEAD_DIM && split + b < SPLITS && tiles.used(split + b)) {
        const Partial& from = partials[(split + b) * kRows + i / HEAD_DIM];
        held[b] = load_shared_across_blocks(&from.sum[i % HEAD_DIM]);
      }
    }
  };
  fetch(threadIdx.x, 0);  // under way while the factors are computed
  for (unsigned row = warp; row < rows; row += kWarps) {
    const bool used = lane < SPLITS && tiles.used(lane);
    const Partial& from = partials[lane * kRows + row];
    const float max = used ? load_shared_across_blocks(&from.max) : kLowest;
    const float total = used ? load_shared_across_blocks(&from.total) : 0.0f;
    const float largest = warp_max(max);
    const float factor = used ? exp2_approx(max - largest) : 0.0f;
    const float sum = warp_sum(total * factor);
    if (lane < SPLITS) factors[row][lane] = factor;
    if (lane == 0) totals[row] = sum;
  }
  __syncthreads();
  for (unsigned i = threadIdx.x; i < rows * HEAD_DIM; i += kThreads) {
    const unsigned row = i / HEAD_DIM;
    float sum = 0.0f;
#pragma unroll 1
    for (unsigned split = 0; split < SPLITS; split += kBatch) {
      if (i != threadIdx.x || split != 0) fetch(i, split);
#pragma unroll
      for (unsigned b = 0; b < kBatch; ++b) {
        if (split + b < SPLITS) sum += held[b] * factors[row][split + b];
      }
    }
    store(row, i % HEAD_DIM, sum / totals[row]);
  }
}

extern "C" __global__ __launch_bounds__(kThreads, kWide ? 1 : 2) void JLLM_KERNEL(
    const StepState* state,
    const float* q,  // [TOKENS][HEADS * HEAD_DIM]
#if APPEND
    const float* new_k,  // [TOKENS][KV_HEADS * HEAD_DIM], behind rope
    const float* new_v,  // [TOKENS][KV_HEADS * HEAD_DIM]
#endif
    Bytes* k_cache,    // [KV_HEADS][CONTEXT][HEAD_DIM]
    Bytes* v_cache,    // [KV_HEADS][CONTEXT][HEAD_DIM]
    float* out,        // [TOKENS][HEADS * HEAD_DIM], or with OUT_IMAGE (a mode) byte images
    Partial* partial,  // scratch [KV_HEADS * kRowGroups][SPLITS][kRows]
    unsigned* tickets  // [KV_HEADS * kRowGroups], zero between launches
) {
  __shared__ Partial results[kWarps][kRows];
  __shared__ bool last;
  release_successor();
  // The position does not change before the end of a graph: what follows from it need not wait,
  // and neither need the rows that are settled.
  const unsigned settled = state->position < CONTEXT ? state->position : CONTEXT;
  const unsigned length = min(state->position + TOKENS, CONTEXT);
  const unsigned kv_head = blockIdx.x / kRowGroups, row_group = blockIdx.x % kRowGroups;
  const unsigned split = blockIdx.y, warp = threadIdx.x / kWarp;
  const unsigned rows = min(kRows, kQueries - row_group * 8);
  Tiles tiles;
  tiles.first = first_visible(settled < length ? settled + 1 : length) / kTile;
  tiles.count = (length - 1) / kTile + 1 - tiles.first;
  const unsigned long long first_row = (unsigned long long)kv_head * CONTEXT;
  unsigned tile = tiles.first_of(split);
  unsigned base = tile * kTile + warp * kWarpPositions;

  Keys keys;
  Values values;
  keys.clear();
  values.clear();
  keys.load(k_cache, first_row, base, {0, settled});
  values.load(v_cache, first_row, base, {0, settled});
  wait_for_inputs();
  if (!tiles.used(split)) return;

#if APPEND
  for (unsigned token = 0; token < TOKENS; ++token) {
    const unsigned position = state->position + token;
    if (position >= CONTEXT || position / kTile % SPLITS != split) continue;
    const unsigned from = (token * KV_HEADS + kv_head) * HEAD_DIM;
    if (warp == 0) KCache::store_row<ROTATION>(k_cache, first_row + position, new_k + from);
    if (warp == 1) VCache::store_row<0>(v_cache, first_row + position, new_v + from);
  }
  __syncthreads();
#endif
  // This lane's query row.
  const unsigned query = row_group * 8 + Lane().g, token = query / kGroup;
  const bool active = Lane().g < rows;
  Range visible;
  visible.to = active ? min(state->position + token + 1, CONTEXT) : 0;
  visible.from = first_visible(visible.to);
  const auto q_row = [&](unsigned which) {
    return q + ((which / kGroup) * HEADS + kv_head * kGroup + which % kGroup) * HEAD_DIM;
  };
  Queries queries;
  if (ROTATION != 0) {  // the queries, as the keys in the cache are
    for (unsigned row = warp; row < rows; row += kWarps) {
      rotate_row<HEAD_DIM, ROTATION>(q_row(row_group * 8 + row), results[0][row].sum);
    }
    __syncthreads();
    queries.load(active ? results[0][Lane().g].sum : nullptr);
    __syncthreads();  // nobody reads them from `results` any more
  } else {
    queries.load(active ? q_row(query) : nullptr);
  }

  float top = kLowest, total = 0.0f;
  Sums sums = {};
  const auto attend = [&](bool first, const auto& load_values) {
    float weights[2][2], largest = top;
#pragma unroll
    for (unsigned n = 0; n < 2; ++n) {
      keys.scores(queries, n, weights[n]);
#pragma unroll
      for (unsigned i = 0; i < 2; ++i) {
        weights[n][i] = score_of(weights[n][i]);
        const bool inside = visible.has(base + n * 8 + 2 * Lane().t + i);
        if (inside) largest = fmaxf(largest, weights[n][i]);
      }
    }
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
    const float keep = exp2_approx(top - largest);
    top = largest;
    if (!first) {
      total *= keep;
      sums.scale(keep);
    }
#pragma unroll
    for (unsigned n = 0; n < 2; ++n) {
#pragma unroll
      for (unsigned i = 0; i < 2; ++i) {
        const bool inside = visible.has(base + n * 8 + 2 * Lane().t + i);
        weights[n][i] = inside ? exp2_approx(weights[n][i] - top) : 0.0f;
        total += weights[n][i];
      }
    }
    load_values();
    sums.add(weights, values);
  };
  if (base < length) {
    if (base + kWarpPositions > settled) {  // what the kernels before have written
      keys.load(k_cache, first_row, base, {settled, length});
      values.load(v_cache, first_row, base, {settled, length});
    }
    attend(true, [] {});
  }
#pragma unroll 1
  for (tile += SPLITS; tile < tiles.first + tiles.count; tile += SPLITS) {
    base = tile * kTile + warp * kWarpPositions;
    if (base >= length) break;
    keys.clear();
    keys.load(k_cache, first_row, base, {0, length});
    attend(false, [&] {  // all at once takes too many registers
      values.clear();
      values.load(v_cache, first_row, base, {0, length});
    });
  }

  total += __shfl_xor_sync(kAllLanes, total, 1);
  total += __shfl_xor_sync(kAllLanes, total, 2);
  if (active && Lane().t == 0) {
    results[warp][Lane().g].max = top;
    results[warp][Lane().g].total = total;
  }
#pragma unroll
  for (unsigned i = 0; i < 2; ++i) {
    if (2 * Lane().t + i >= rows) continue;
    float* const to = results[warp][2 * Lane().t + i].sum;
#pragma unroll
    for (unsigned group = 0; group < Sums::kGroups; ++group) {
      const unsigned element = (group * 8 + Lane().g) * Sums::kSpan;
      if (element >= HEAD_DIM) continue;
#pragma unroll
      for (unsigned j = 0; j < Sums::kSpan; ++j) to[element + j] = sums.result(group, j, i);
    }
  }
  __syncthreads();

  const auto store = [&](unsigned row, unsigned element, float value) {
    const unsigned which = row_group * 8 + row;
    const unsigned head = kv_head * kGroup + which % kGroup;
    store_result(which / kGroup, head * HEAD_DIM + element, value, out);
  };
  // The block's warps into one result per row: the output itself when there is only one split.
  const bool whole = tiles.splits() == 1;
  Partial* const own = partial + (unsigned long long)blockIdx.x * SPLITS * kRows;
  for (unsigned i = threadIdx.x; i < rows * HEAD_DIM; i += kThreads) {
    const unsigned row = i / HEAD_DIM, element = i % HEAD_DIM;
    float max = kLowest, sum = 0.0f, all = 0.0f;
#pragma unroll
    for (unsigned w = 0; w < kWarps; ++w) max = fmaxf(max, results[w][row].max);
#pragma unroll
    for (unsigned w = 0; w < kWarps; ++w) {
      const float factor = exp2_approx(results[w][row].max - max);
      sum += results[w][row].sum[element] * factor;
      all += results[w][row].total * factor;
    }
    if (whole) {
      store(row, element, sum / all);
    } else {
      Partial& to = own[split * kRows + row];
      to.sum[element] = sum;
      if (element == 0) to.max = max, to.total = all;
    }
  }
  if (whole) return;

  // Results first, then the ticket; the ticket wraps to 0 with the last block, ready for the next
  // launch.
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicInc(&tickets[blockIdx.x], tiles.splits() - 1) == tiles.splits() - 1;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  combine(tiles, rows, own, store);
}

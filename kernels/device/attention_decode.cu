// Attention of one token, or of TOKENS that follow each other, on tensor cores; with BATCH, of one
// token of each of several sequences, each as if it were alone: grid z.
// A block handles up
// to eight query rows of one KV head (query heads and tokens) and one split of the cached
// positions; the last block of a row group to finish combines the splits, in order. A
// warp takes 16 positions of a tile: keys and values go straight from the cache into fragments, in
// flight before the inputs are awaited, but for the rows that the kernels before have just written.
//
// Products are exact to f32: queries and the weights of the softmax enter as the sum of two f16; of
// the queries rows 0..7 of a fragment hold one and rows 8..15 the other. Tiles are counted from
// position 0 and belong to splits in turn: a row's result does not depend on the other rows of the
// launch.
//
// With APPEND a block whose tiles hold the tokens' positions appends their k and v first; blocks of
// the same KV head write the same bytes.
#include "kernels/device/activations.cuh"
#include "kernels/device/decode_fragments.cuh"

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

// The result of a warp for a query row, then of a block: sum of exp2(score - max) * v, the largest
// score, sum of exp2.
struct Partial {
  float sum[HEAD_DIM];
  float max, total;
};

// Where a token's result lies.
JLLM_DEVICE float* result_of(unsigned token, float* out) {
#if OUT_IMAGE
  return (float*)((Bytes*)out + token * ByteImage<OUT_IMAGE, HEADS * HEAD_DIM>::kBytes);
#else
  return out + token * (HEADS * HEAD_DIM);
#endif
}

// Hands element `i` of a token's result on. Warps call it with 32 consecutive elements.
JLLM_DEVICE void store_result(unsigned token, unsigned i, float value, float* out) {
#if OUT_IMAGE
  publish_block<OUT_IMAGE, HEADS * HEAD_DIM>(value, i / kWarp, (Bytes*)result_of(token, out));
#else
  result_of(token, out)[i] = value;
#endif
}

// The tiles that hold what the tokens see.
struct Tiles {
  unsigned first, count;

  // First tile of a split, the next SPLITS on; beyond the last when it has none.
  JLLM_DEVICE unsigned first_of(unsigned split) const {
    return first + (split + SPLITS - first % SPLITS) % SPLITS;
  }
  JLLM_DEVICE bool used(unsigned split) const { return first_of(split) < first + count; }
  JLLM_DEVICE unsigned splits() const { return count < SPLITS ? count : SPLITS; }
  // Bit s is used(s).
  JLLM_DEVICE unsigned mask() const {
    constexpr unsigned kAll = 0xffffffffu >> (kWarp - SPLITS);
    if (count >= SPLITS) return kAll;
    const unsigned bits = (1u << count) - 1, turn = first % SPLITS;
    return turn == 0 ? bits : (bits << turn | bits >> (SPLITS - turn)) & kAll;
  }
};

// Folds the splits' partials, [SPLITS][kRows], of this row group; store(row, element, value) takes
// what comes out. The whole block calls it.
template <typename Store>
JLLM_DEVICE void combine(unsigned mask, unsigned rows, const Partial* partials,
                         const Store& store) {
  constexpr unsigned kBatch = 8;  // splits
  // Elements of a lane, 32 apart: more where warps would have to take turns.
  constexpr bool kMany = kRows * HEAD_DIM > kThreads && HEAD_DIM % (2 * kWarp) == 0;
  constexpr unsigned kColumns = kMany ? 2 : 1;
  constexpr unsigned kPieces = (HEAD_DIM + kColumns * kWarp - 1) / (kColumns * kWarp);  // of a row
  const unsigned lane = threadIdx.x % kWarp;
  for (unsigned piece = threadIdx.x / kWarp; piece < rows * kPieces; piece += kWarps) {
    const unsigned row = piece / kPieces, element = piece % kPieces * kColumns * kWarp + lane;
    const auto load = [&](unsigned split, unsigned at) {
      return load_shared_across_blocks((const float*)&partials[split * kRows + row] + at);
    };
    // All loads first; only those of splits that have stored something.
    float sums[SPLITS][kColumns];
#pragma unroll
    for (unsigned split = 0; split < SPLITS; ++split) {
      const bool batch_used = mask >> (split / kBatch * kBatch) & ((1u << kBatch) - 1);
#pragma unroll
      for (unsigned c = 0; c < kColumns; ++c) {
        const bool wanted = batch_used && (mask >> split & 1) && element + c * kWarp < HEAD_DIM;
        sums[split][c] = wanted ? load(split, element + c * kWarp) : 0.0f;
      }
    }
    const bool used = mask >> lane & 1;
    const float max = used ? load(lane, HEAD_DIM) : kLowest;
    const float total = used ? load(lane, HEAD_DIM + 1) : 0.0f;
    const float largest = warp_max(max);
    const float factor = used ? exp2_approx(max - largest) : 0.0f;
    const float all = warp_sum(total * factor);
    float result[kColumns] = {};
#pragma unroll
    for (unsigned first = 0; first < SPLITS; first += kBatch) {
      if (!(mask >> first & ((1u << kBatch) - 1))) continue;
#pragma unroll
      for (unsigned split = first; split < first + kBatch && split < SPLITS; ++split) {
        const float weight = __shfl_sync(kAllLanes, factor, split);
#pragma unroll
        for (unsigned c = 0; c < kColumns; ++c) result[c] += sums[split][c] * weight;
      }
    }
#pragma unroll
    for (unsigned c = 0; c < kColumns; ++c) {
      if (element + c * kWarp < HEAD_DIM) store(row, element + c * kWarp, result[c] / all);
    }
  }
}

#if HEAD_NORM
// A head's row of q or k behind its norm and rope. A whole warp calls it; out is in shared memory.
JLLM_DEVICE void finish_row(const float* in, const float* norm, const float* frequencies,
                            unsigned position, float* out) {
  constexpr unsigned kEach = (HEAD_DIM + kWarp - 1) / kWarp;
  const unsigned lane = threadIdx.x % kWarp;
  float values[kEach], squares = 0.0f;
#pragma unroll
  for (unsigned j = 0; j < kEach; ++j) {
    const unsigned i = lane + j * kWarp;
    values[j] = i < HEAD_DIM ? load_shared_across_blocks(in + i) : 0.0f;
    squares += values[j] * values[j];
  }
  const float factor = rms_factor(warp_sum(squares), HEAD_DIM, EPSILON_BITS);
#pragma unroll
  for (unsigned j = 0; j < kEach; ++j) {
    const unsigned i = lane + j * kWarp;
    if (i < HEAD_DIM) out[i] = values[j] * factor * norm[i];
  }
  __syncwarp();
  for (unsigned pair = lane; pair < PAIRS; pair += kWarp) {
    unsigned first, second;
    pair_elements(pair, PAIRS, NEOX, &first, &second);
    rotate(&out[first], &out[second], position, frequencies[pair], bits_to_float(MAGNITUDE_BITS));
  }
  __syncwarp();
}
#endif

extern "C" __global__ __launch_bounds__(kThreads, kWide ? 1 : 2) void JLLM_KERNEL(
    JLLM_SEQUENCES,
    const float* q,  // [TOKENS][HEADS * HEAD_DIM]
#if APPEND
    const float* new_k,  // [TOKENS][KV_HEADS * HEAD_DIM], behind rope
    const float* new_v,  // [TOKENS][KV_HEADS * HEAD_DIM]
#endif
#if HEAD_NORM
    const float* q_norm,       // [HEAD_DIM]
    const float* k_norm,       // [HEAD_DIM]
    const float* frequencies,  // [PAIRS]
#endif
    Bytes* k_cache,    // [KV_HEADS][CONTEXT][HEAD_DIM]
    Bytes* v_cache,    // [KV_HEADS][CONTEXT][HEAD_DIM]
    float* out,        // [TOKENS][HEADS * HEAD_DIM], or with OUT_IMAGE (a mode) byte images
    Partial* partial,  // scratch [KV_HEADS * kRowGroups][SPLITS][kRows]
    unsigned* tickets  // [KV_HEADS * kRowGroups], zero between launches
#if BATCH
    ,
    unsigned long long k_stride, unsigned long long v_stride
#endif
) {
  __shared__ Partial results[kWarps][kRows];
  __shared__ Queries queries;
  __shared__ bool last;
  release_successor();
#if BATCH
  const unsigned batch_row = blockIdx.z;
  const Sequences sequences = JLLM_SEQUENCES_HERE;
  if (!sequences.has_token(batch_row, gridDim.z)) return;
  const StepState* const state = sequences.own(states, batch_row);
  k_cache = sequences.behind(k_cache, batch_row, k_stride);
  v_cache = sequences.behind(v_cache, batch_row, v_stride);
  q += batch_row * (HEADS * HEAD_DIM);
#if APPEND
  new_k += batch_row * (KV_HEADS * HEAD_DIM);
  new_v += batch_row * (KV_HEADS * HEAD_DIM);
#endif
  out = result_of(batch_row, out);
  partial += batch_row * (KV_HEADS * kRowGroups * SPLITS * kRows);
  tickets += batch_row * (KV_HEADS * kRowGroups);
#endif
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

  // Blocks without work make room for the next kernel's. That kernel still waits for all before
  // this one, because the blocks with work do.
  if (!tiles.used(split)) return;

  Keys keys;
  Values values;
  keys.clear();
  values.clear();
  keys.load(k_cache, first_row, base, {0, settled});
  values.load(v_cache, first_row, base, {0, settled});
  wait_for_inputs();

  // Rows without tokens may hold anything, so they are not appended; and what lies behind the last
  // token is not read, where a NaN would outweigh its weight of 0.
  const unsigned token_count = TOKENS == 1 ? 1 : compute_rows(state, TOKENS);
  const unsigned filled = TOKENS == 1 ? length : min(state->position + token_count, CONTEXT);
#if APPEND
  for (unsigned token = 0; token < token_count; ++token) {
    const unsigned position = state->position + token;
    if (position >= CONTEXT || position / kTile % SPLITS != split) continue;
    const unsigned from = (token * KV_HEADS + kv_head) * HEAD_DIM;
    const float* k_row = new_k + from;
    if (warp == 0) {
#if HEAD_NORM
      finish_row(k_row, k_norm, frequencies, position, results[1][0].sum);
      k_row = results[1][0].sum;
#endif
      KCache::store_row<ROTATION>(k_cache, first_row + position, k_row);
    }
    if (warp == 1) VCache::store_row<0>(v_cache, first_row + position, new_v + from);
  }
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
  if (kPreparesQueries) {
    for (unsigned row = (warp + kWarps - 2) % kWarps; row < rows; row += kWarps) {
      const float* from = q_row(row_group * 8 + row);
      float* const to = results[0][row].sum;
#if HEAD_NORM
      const unsigned position = state->position + (row_group * 8 + row) / kGroup;
      finish_row(from, q_norm, frequencies, position, to);
      from = to;
#endif
      rotate_row<HEAD_DIM, ROTATION>(from, to);  // as the keys in the cache are
    }
    __syncthreads();
    queries.fill(active ? results[0][Lane().g].sum : nullptr, warp, kWarps);
  } else {
    queries.fill(active ? q_row(query) : nullptr, warp, kWarps);
  }
  __syncthreads();  // also behind what this block has appended

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
      keys.load(k_cache, first_row, base, {settled, filled});
      values.load(v_cache, first_row, base, {settled, filled});
    }
    attend(true, [] {});
  }
#pragma unroll 1
  for (tile += SPLITS; tile < tiles.first + tiles.count; tile += SPLITS) {
    base = tile * kTile + warp * kWarpPositions;
    if (base >= length) break;
    keys.clear();
    keys.load(k_cache, first_row, base, {0, filled});
    attend(false, [&] {  // all at once takes too many registers
      values.clear();
      values.load(v_cache, first_row, base, {0, filled});
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
  const unsigned first_partial = blockIdx.x * SPLITS;
  Partial* const own = partial + (first_partial + split) * kRows;
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
      Partial& to = own[row];
      to.sum[element] = sum;
      if (element == 0) to.max = max, to.total = all;
    }
  }
  if (whole) return;

  // Results first, then the ticket; the ticket wraps to 0 with the last block, ready for the next
  // launch.
  __syncthreads();
  if (threadIdx.x == 0) last = take_ticket(&tickets[blockIdx.x], tiles.splits());
  __syncthreads();
  if (!last) return;
  combine(tiles.mask(), rows, partial + first_partial * kRows, store);
}

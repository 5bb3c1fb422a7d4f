// One token, or TOKENS that follow each other or, with BATCH, belong to a sequence each: RMS norm,
// then the rows of q, k and v. A team of warps owns the two rows of a rotary pair, rotates them,
// and stores q for the attention kernel, k and v in the cache at the token's position, or, without
// APPEND, as rows for whoever appends them.
#include "kernels/device/gemv.cuh"
#include "kernels/device/kv_cache.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kHalf = HEAD_DIM / 2;
constexpr unsigned kPositions = APPEND ? CONTEXT : kTokens;  // of the destinations of k and v
using KCache = KvCache<KV_K_TYPE, (unsigned long long)KV_HEADS * kPositions, HEAD_DIM>;
using VCache = KvCache<KV_V_TYPE, (unsigned long long)KV_HEADS * kPositions, HEAD_DIM>;

// Where the rows of a pair belong.
struct Pair {
  bool is_q, is_k, rotated;
  unsigned local;          // head within q, k or v
  unsigned index;          // pair within the head
  unsigned first, second;  // elements of the head

  JLLM_DEVICE explicit Pair(unsigned group) {
    const unsigned head = group / kHalf;
    index = group % kHalf;
    is_q = head < HEADS;
    is_k = !is_q && head < HEADS + KV_HEADS;
    local = is_q ? head : is_k ? head - HEADS : head - HEADS - KV_HEADS;
    rotated = (is_q || is_k) && index < PAIRS;
    pair_elements(index, PAIRS, rotated && NEOX, &first, &second);
  }
  template <unsigned kType>
  JLLM_DEVICE Rows rows(const Bytes* weight) const {
    constexpr unsigned long long kStride = row_layout(kType, K).stride;
    static_assert(kStride * HEAD_DIM < 0xffffffffull, "a step has 32 bits");
    return {weight + (local * HEAD_DIM + first) * kStride, (unsigned)((second - first) * kStride)};
  }
};

struct Results {
  const float *bq, *bk, *bv;  // null: none
  const float* frequencies;
  float* q;
  Bytes *k_out, *v_out;
#if BATCH && APPEND
  Sequences sequences;
  unsigned long long k_stride, v_stride;
#endif

  // Takes the raw sums of a pair's rows for a token, whose position that is. One lane.
  JLLM_DEVICE void store(const Pair& pair, float first, float second, unsigned token,
                         unsigned position) const {
    const unsigned a = pair.local * HEAD_DIM + pair.first, b = pair.local * HEAD_DIM + pair.second;
#if HAS_BIAS
    const float* bias = pair.is_q ? bq : pair.is_k ? bk : bv;
    first += bias[a], second += bias[b];
#endif
    if (pair.rotated) {
      rotate(&first, &second, position, frequencies[pair.index], bits_to_float(MAGNITUDE_BITS));
    }
    if (pair.is_q) {
      float* own = q + token * (HEADS * HEAD_DIM);
      own[a] = first, own[b] = second;
      return;
    }
    if (APPEND && position >= CONTEXT) return;  // a replay past the end of the sequence
#if BATCH && APPEND
    Bytes *const k = sequences.behind(k_out, token, k_stride), *const v = sequences.behind(
                                                                   v_out, token, v_stride);
#else
    Bytes *const k = k_out, *const v = v_out;
#endif
    const unsigned long long row = APPEND ? (unsigned long long)pair.local * kPositions + position
                                          : token * KV_HEADS + pair.local;
    if (pair.is_k) {
      KCache::store(k, row, pair.first, first);
      KCache::store(k, row, pair.second, second);
    } else {
      VCache::store(v, row, pair.first, first);
      VCache::store(v, row, pair.second, second);
    }
  }
};

// Where a token of the launch stands; of a batch's rows without one, beyond all places.
JLLM_DEVICE unsigned position_of(const Sequences& sequences, unsigned token) {
#if BATCH
  if (!sequences.has_token(token, kTokens)) return CONTEXT;
#endif
  return sequences.position(token);
}

constexpr unsigned kQPairs = HEADS * kHalf, kKPairs = KV_HEADS * kHalf;
using Place = Team<1, SPLIT>;  // a "row" of a tile is a pair

// Pairs kFirst .. kEnd - 1, all of weight type kType; tiles go round the blocks from `block` on.
// prepare() makes the image and runs while the first loads are under way.
template <unsigned kType, unsigned kFirst, unsigned kEnd, typename Weights, typename Prepare,
          typename Store>
JLLM_DEVICE void multiply_pairs(unsigned block, const Bytes* image, const Weights& weights,
                                const Prepare& prepare, const Store& store) {
  constexpr unsigned kTiles = Place::tiles(kEnd - kFirst);
  __shared__ TeamSums<2, SPLIT> team_sums;
  const Place place;
  const auto pair_of = [&](unsigned tile) {
    const unsigned pair = kFirst + place.first_row(tile);
    return Pair(pair < kEnd ? pair : kEnd - 1);
  };
  const auto rows_of = [&](unsigned tile) {
    const Pair pair = pair_of(tile);
    return pair.rows<kType>(weights(pair));
  };
  Dot<ACTIVATIONS, kType, K, 2, SPLIT> dot(place.part);
  unsigned tile = block;
  Rows rows = rows_of(tile);
  dot.begin(rows);
  prepare();
  for (unsigned turn = 0; tile < kTiles; ++turn) {
    float sum = dot.finish(rows, image);
    const unsigned done = tile;
    tile += gridDim.x;
    if (tile < kTiles) {
      rows = rows_of(tile);
      dot.begin(rows);
    }
    sum = team_sums.add(turn, sum);
    const float second = __shfl_down_sync(kAllLanes, sum, Sums<2>::kLanes);
    if (place.part != 0 || !Sums<2>::lane_speaks() || Sums<2>::row() != 0) continue;
    if (kFirst + place.first_row(done) < kEnd) store(pair_of(done), sum, second);
  }
}

extern "C" __global__ __launch_bounds__(kGemvThreads, BLOCKS) void JLLM_KERNEL(
    JLLM_SEQUENCES,
    const float* x,     // [TOKENS][K]
    const float* norm,  // [K]
    const Bytes* wq,    // [HEADS * HEAD_DIM] rows of K
    const Bytes* wk,    // [KV_HEADS * HEAD_DIM] rows of K
    const Bytes* wv,    // [KV_HEADS * HEAD_DIM] rows of K
#if HAS_BIAS
    const float* bq, const float* bk, const float* bv,
#endif
    const float* frequencies,  // [PAIRS]
    float* q_out,              // [TOKENS][HEADS * HEAD_DIM]
    Bytes* k_out,              // [KV_HEADS][CONTEXT][HEAD_DIM], without APPEND
                               // [TOKENS][KV_HEADS][HEAD_DIM]
    Bytes* v_out               // as k_out
#if BATCH && APPEND
    ,
    unsigned long long k_stride, unsigned long long v_stride
#endif
) {
  JLLM_DYNAMIC_SHARED(Float4, shared);
  __shared__ float squares[kTokens * (round_up(K, 32) / 32)];
  Bytes* image = (Bytes*)shared;
  x += kFirstToken * K;
  release_successor();
  Norm<K> part;
  part.load(norm);
  const Sequences sequences = JLLM_SEQUENCES_HERE;
#if !HAS_BIAS
  const float *const bq = nullptr, *const bk = nullptr, *const bv = nullptr;
#endif
  const Results results = {
    bq,
    bk,
    bv,
    frequencies,
    q_out,
    k_out,
    v_out
#if BATCH && APPEND
    ,
    sequences,
    k_stride,
    v_stride
#endif
  };
  const unsigned token = Sums<2>::token();  // whose sums the lane holds
  unsigned position;
  float factor;
  const auto prepare = [&] {
    wait_for_inputs();
    position = position_of(sequences, kFirstToken + token);
    const float squared =
        stage<ACTIVATIONS, kGemvThreads, K, true>(x, norm, part, image, squares, token);
    factor = rms_factor(squared, K, EPSILON_BITS);
  };
  const auto ready = [] {};
  const auto store = [&](const Pair& pair, float first, float second) {
    results.store(pair, first * factor, second * factor, kFirstToken + token, position);
  };
  const auto weights = [&](const Pair& pair) { return pair.is_q ? wq : pair.is_k ? wk : wv; };
  // Neighbours of one type are one run; runs follow each other round the blocks.
  constexpr unsigned kAll = kQPairs + 2 * kKPairs, kQAndK = kQPairs + kKPairs;
  const auto block_behind = [](unsigned tiles) {
    return (blockIdx.x + gridDim.x - tiles % gridDim.x) % gridDim.x;
  };
  if constexpr (K_TYPE == Q_TYPE && V_TYPE == Q_TYPE) {
    multiply_pairs<Q_TYPE, 0, kAll>(blockIdx.x, image, weights, prepare, store);
  } else if constexpr (K_TYPE == Q_TYPE) {
    multiply_pairs<Q_TYPE, 0, kQAndK>(blockIdx.x, image, weights, prepare, store);
    multiply_pairs<V_TYPE, kQAndK, kAll>(block_behind(Place::tiles(kQAndK)), image, weights, ready,
                                         store);
  } else {
    constexpr unsigned kQTiles = Place::tiles(kQPairs), kKTiles = Place::tiles(kKPairs);
    multiply_pairs<Q_TYPE, 0, kQPairs>(blockIdx.x, image, weights, prepare, store);
    multiply_pairs<K_TYPE, kQPairs, kQAndK>(block_behind(kQTiles), image, weights, ready, store);
    multiply_pairs<V_TYPE, kQAndK, kAll>(block_behind(kQTiles + kKTiles), image, weights, ready,
                                         store);
  }
}

// Causal attention of T query rows on tensor cores. A block handles some query vectors of one KV
// head: all its query heads of one token, then of the next, so that they share each tile of TILE
// positions. Of its WARPS warps SPLIT share 16 * FRAGMENTS vectors, each with its part of every
// tile. A warp keeps its vectors, their scores and their sums in registers; the softmax is taken on
// the way, tile by tile. Blocks that see the most positions come first.
//
// Queries, weights and what quants stand for are rounded to f16; sums are f32. Beside a cache of
// f32 everything enters as the sum of two f16 instead.
#include "kernels/device/kv_tiles.cuh"
#include "kernels/device/scores.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kGroup = HEADS / KV_HEADS;  // query heads per KV head
constexpr unsigned kWarpVectors = 16 * FRAGMENTS;
constexpr unsigned kVectors = WARPS / SPLIT * kWarpVectors;  // query vectors per block
constexpr unsigned kPositions = TILE / SPLIT;                // of a tile, per warp
static_assert(WARPS % SPLIT == 0 && kPositions % 16 == 0, "warps take fragments");
constexpr unsigned kSteps = kTileDim / 16;
constexpr unsigned kColumns = HEAD_DIM / 8;  // fragments of a row of sums
// Terms of a query and of a weight.
constexpr unsigned kTerms = KV_K_TYPE == kKvF32 || KV_V_TYPE == kKvF32 ? 2 : 1;
constexpr bool kQueriesInRegisters = FRAGMENTS * kTerms * kTileDim <= 256;
// The largest weight is 2^15, so that f16 holds small ones too.
constexpr float kBoost = 15.0f;

using KTile = KvTile<KV_K_TYPE>;
using VTile = KvTile<KV_V_TYPE>;

// Lane 4g + t of a fragment (mma.cuh).
struct Lane {
  unsigned g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
};

// The queries of a warp as A fragments.
class Queries {
 public:
  JLLM_DEVICE explicit Queries(Bytes* memory)
      : shared_((Uint4*)memory + threadIdx.x / kWarp * kCount * kWarp + threadIdx.x % kWarp) {}

  // Takes the vectors g and g + 8 of fragment `m` from q (null: zeros). Sets units[] to the powers
  // of two that they were divided by, so that f16 can hold them: scores are to be multiplied.
  JLLM_DEVICE void load(unsigned m, const float* const (&vectors)[2], float (&units)[2]) {
    float values[2][4 * kSteps];  // elements 16s + 8h + 2t + b at 4s + 2h + b
#pragma unroll
    for (unsigned row = 0; row < 2; ++row) {
#pragma unroll
      for (unsigned i = 0; i < 2 * kSteps; ++i) {
        Uint2 pair = {0, 0};
        if (i < kColumns && vectors[row] != nullptr) {
          pair = load_shared_across_blocks((const Uint2*)(vectors[row] + 8 * i + 2 * Lane().t));
        }
        values[row][2 * i] = bits_to_float(pair.x) * query_factor();
        values[row][2 * i + 1] = bits_to_float(pair.y) * query_factor();
      }
    }
#pragma unroll
    for (unsigned row = 0; row < 2; ++row) {
      if constexpr (ROTATION != 0) rotate_vector(values[row]);  // as the keys in the cache are
      units[row] = normalise(values[row]);
    }
#pragma unroll
    for (unsigned step = 0; step < kSteps; ++step) {
      TwoHalves pairs[4];
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        const float* const from = values[i % 2] + 4 * step + i / 2 * 2;
        pairs[i] = split_halves(from[0], from[1]);
      }
      put(step, 0, m, {pairs[0].high, pairs[1].high, pairs[2].high, pairs[3].high});
      if constexpr (kTerms == 2) {
        put(step, 1, m, {pairs[0].low, pairs[1].low, pairs[2].low, pairs[3].low});
      }
    }
  }

  JLLM_DEVICE void fragment(unsigned step, unsigned part, unsigned m, unsigned (&a)[4]) const {
    const unsigned at = index(step, part, m);
    const Uint4 v = kQueriesInRegisters ? registers_[at] : shared_[at * kWarp];
    a[0] = v.x, a[1] = v.y, a[2] = v.z, a[3] = v.w;
  }

 private:
  static constexpr unsigned kCount = kSteps * kTerms * FRAGMENTS;
  static JLLM_DEVICE unsigned index(unsigned step, unsigned part, unsigned m) {
    return (step * kTerms + part) * FRAGMENTS + m;
  }
  JLLM_DEVICE void put(unsigned step, unsigned part, unsigned m, const Uint4& fragment) {
    if constexpr (kQueriesInRegisters) {
      registers_[index(step, part, m)] = fragment;
    } else {
      shared_[index(step, part, m) * kWarp] = fragment;
    }
  }

  // The rotation of schema/kv_layout.h on a vector that the four lanes of a group hold.
  static JLLM_DEVICE void rotate_vector(float (&values)[4 * kSteps]) {
#pragma unroll
    for (unsigned step = 1; step != ROTATION / 4; step *= 2) {  // bits 0, 3, 4 .. of an element
#pragma unroll
      for (unsigned i = 0; i < 4 * kSteps; ++i) {
        if (i & step) continue;
        const float a = values[i], b = values[i + step];
        values[i] = a + b;
        values[i + step] = a - b;
      }
    }
#pragma unroll
    for (unsigned step = 1; step <= 2; step *= 2) {  // bits 1 and 2
#pragma unroll
      for (unsigned i = 0; i < 4 * kSteps; ++i) {
        const float other = __shfl_xor_sync(kAllLanes, values[i], step);
        values[i] = Lane().t & step ? other - values[i] : values[i] + other;
      }
    }
    const float factor = 1.0f / sqrtf((float)ROTATION);
#pragma unroll
    for (unsigned i = 0; i < 4 * kSteps; ++i) values[i] *= factor;
  }

  // Divides a vector with elements that f16 cannot hold by a power of two, which is returned.
  static JLLM_DEVICE float normalise(float (&values)[4 * kSteps]) {
    float largest = 0.0f;
#pragma unroll
    for (unsigned i = 0; i < 4 * kSteps; ++i) largest = fmaxf(largest, fabsf(values[i]));
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
    if (largest < 0x1p15f) return 1.0f;
    constexpr unsigned kOne = 0x3f800000u, kExponent = 0x7f800000u;
    const unsigned above = (float_to_bits(largest) & kExponent) - (kOne + (14u << 23));
    const float inverse = bits_to_float(kOne - above);
#pragma unroll
    for (unsigned i = 0; i < 4 * kSteps; ++i) values[i] *= inverse;
    return bits_to_float(kOne + above);
  }

  Uint4 registers_[kQueriesInRegisters ? kCount : 1];
  Uint4* shared_;
};

// What a warp has found for a vector, in shared memory.
struct alignas(16) Result {
  float sums[HEAD_DIM];
  float top, total;
  float padding[6];  // eight vectors lie in different banks
};

constexpr unsigned kQueryBytes =
    kQueriesInRegisters ? 0 : WARPS * kWarpVectors * kTileDim * 2 * kTerms;
constexpr unsigned kResultBytes = SPLIT == 1 ? 0 : WARPS * kWarpVectors * sizeof(Result);
static_assert(KTile::kBytes + VTile::kBytes + kQueryBytes <= SHARED && kResultBytes <= SHARED,
              "attention_shapes.cpp repeats these sizes");

// to[] = the sums of vectors g (row = 0) or g + 8 (row = 1) times `factor`.
JLLM_DEVICE void store_pairs(const float (&sums)[kColumns][4], unsigned row, float factor,
                             float* to) {
#pragma unroll
  for (unsigned column = 0; column < kColumns; ++column) {
    const float* const pair = sums[column] + 2 * row;
    *(Uint2*)(to + 8 * column + 2 * Lane().t) = {float_to_bits(pair[0] * factor),
                                                 float_to_bits(pair[1] * factor)};
  }
}

extern "C" __global__ __launch_bounds__(kTileThreads) void JLLM_KERNEL(
    const StepState* state,
    const float* q,        // [T][HEADS][HEAD_DIM]
    const Bytes* k_cache,  // [KV_HEADS][CONTEXT][HEAD_DIM]
    const Bytes* v_cache,  // [KV_HEADS][CONTEXT][HEAD_DIM]
    float* out,            // [T][HEADS][HEAD_DIM]
    unsigned rows          // T
) {
  JLLM_DYNAMIC_SHARED(Uint4, memory);
  const unsigned kv_head = blockIdx.x;
  const unsigned first_vector = (gridDim.y - 1 - blockIdx.y) * kVectors;
  const unsigned position = state->position;
  const unsigned vectors = token_rows(state, rows) * kGroup;
  if (first_vector >= vectors) return;

  // Positions up to a vector's own; vectors behind the last are computed like others, not stored.
  const auto length_of = [&](unsigned vector) {
    return min(position + vector / kGroup + 1, CONTEXT);
  };
  const unsigned end = length_of(min(first_vector + kVectors, vectors) - 1);
  // The block's first vector sees furthest back.
  const unsigned begin = first_visible(length_of(first_vector)) / TILE * TILE;

  const unsigned long long first_row = (unsigned long long)kv_head * CONTEXT;
  KTile keys((Bytes*)memory, k_cache, first_row);
  VTile values((Bytes*)memory + KTile::kBytes, v_cache, first_row);
  const auto start = [&](unsigned first, unsigned buffer) {
    if (first < end) {
      keys.start(first, end, buffer);
      values.start(first, end, buffer);
    }
    end_copies();  // an empty group too: they are counted
  };
#pragma unroll
  for (unsigned ahead = 0; ahead < STAGES - 1; ++ahead) start(begin + ahead * TILE, ahead);
  keys.clear_padding();

  // This lane's vectors: g and g + 8 of every fragment.
  const unsigned warp = threadIdx.x / kWarp, part = warp % SPLIT;
  const unsigned warp_vector = first_vector + warp / SPLIT * kWarpVectors;
  const auto vector_of = [&](unsigned m, unsigned row) {
    return warp_vector + m * 16 + row * 8 + Lane().g;
  };
  const auto offset_of = [&](unsigned vector) {
    return ((unsigned long long)(vector / kGroup) * HEADS + kv_head * kGroup + vector % kGroup) *
           HEAD_DIM;
  };
  Queries queries((Bytes*)memory + KTile::kBytes + VTile::kBytes);
  float units[FRAGMENTS][2];
#pragma unroll
  for (unsigned m = 0; m < FRAGMENTS; ++m) {
    const float* from[2];
#pragma unroll
    for (unsigned row = 0; row < 2; ++row) {
      const unsigned vector = vector_of(m, row);
      from[row] = vector < vectors ? q + offset_of(vector) : nullptr;
    }
    queries.load(m, from, units[m]);
  }

  const float lowest = bits_to_float(0xff800000u);  // -infinity
  float sums[FRAGMENTS][kColumns][4] = {}, tops[FRAGMENTS][2], totals[FRAGMENTS][2] = {};
#pragma unroll
  for (unsigned m = 0; m < FRAGMENTS; ++m) tops[m][0] = tops[m][1] = lowest;

  const unsigned lane = threadIdx.x % kWarp;
  // What a lane addresses of four matrices: keys by rows, values to be transposed.
  const unsigned part_row = part * kPositions;
  const unsigned key_lane =
      ((part_row + lane / 16 * 8 + lane % 8) * kTileStride + lane / 8 % 2 * 8) * 2;
  const unsigned value_lane = ((part_row + lane % 16) * kTileStride + lane / 16 * 8) * 2;

  // Takes the warp's positions of a tile, from `first` on.
  const auto attend = [&](unsigned first, unsigned buffer) {
    float scores[FRAGMENTS][kPositions / 8][4] = {};
#pragma unroll
    for (unsigned step = 0; step < kSteps; ++step) {
      unsigned a[kTerms][FRAGMENTS][4];
#pragma unroll
      for (unsigned m = 0; m < FRAGMENTS; ++m) {
#pragma unroll
        for (unsigned term = 0; term < kTerms; ++term) queries.fragment(step, term, m, a[term][m]);
      }
#pragma unroll
      for (unsigned term = 0; term < KTile::kTerms; ++term) {
        const unsigned tile = keys.address(buffer, term) + key_lane + step * 32;
#pragma unroll
        for (unsigned n = 0; n < kPositions / 16; ++n) {
          unsigned b[4];
          load_matrices_at(tile + n * 16 * kTileStride * 2, b);
#pragma unroll
          for (unsigned a_term = 0; a_term < kTerms - term; ++a_term) {  // not low times low
#pragma unroll
            for (unsigned m = 0; m < FRAGMENTS; ++m) {
              mma_f16(a[a_term][m], b[0], b[1], scores[m][2 * n]);
              mma_f16(a[a_term][m], b[2], b[3], scores[m][2 * n + 1]);
            }
          }
        }
      }
    }
    // Whether every vector of the warp sees all of them.
    const bool whole = first + kPositions <= length_of(warp_vector) &&
                       first >= first_visible(length_of(warp_vector + kWarpVectors - 1));
#pragma unroll
    for (unsigned m = 0; m < FRAGMENTS; ++m) {
#pragma unroll
      for (unsigned row = 0; row < 2; ++row) {
        float unit = units[m][row];
        if (kHasSoftcap) {
#pragma unroll
          for (unsigned i = 0; i < kPositions / 4; ++i) {
            float& score = scores[m][i / 2][2 * row + i % 2];
            score = score_of(score * unit);
          }
          unit = 1.0f;
        }
        if (!whole) {
          const unsigned length = length_of(vector_of(m, row)), from = first_visible(length);
#pragma unroll
          for (unsigned i = 0; i < kPositions / 4; ++i) {
            const unsigned at = first + i / 2 * 8 + 2 * Lane().t + i % 2;
            if (at >= length || at < from) scores[m][i / 2][2 * row + i % 2] = lowest;
          }
        }
        float top = tops[m][row];
#pragma unroll
        for (unsigned i = 0; i < kPositions / 4; ++i) {
          top = fmaxf(top, scores[m][i / 2][2 * row + i % 2]);
        }
        top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
        top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
        const float shift = top == lowest ? 0.0f : top * unit;  // nothing seen yet: weights of 0
        const float keep = exp2_approx(tops[m][row] * unit - shift);
        tops[m][row] = top;
        float total = totals[m][row] * keep;
#pragma unroll
        for (unsigned i = 0; i < kPositions / 4; ++i) {
          float& score = scores[m][i / 2][2 * row + i % 2];
          score = exp2_approx(score * unit + (kBoost - shift));
          total += score;
        }
        totals[m][row] = total;
#pragma unroll
        for (unsigned column = 0; column < kColumns; ++column) {
          sums[m][column][2 * row] *= keep;
          sums[m][column][2 * row + 1] *= keep;
        }
      }
    }
#pragma unroll
    for (unsigned step = 0; step < kPositions / 16; ++step) {
      unsigned a[kTerms][FRAGMENTS][4];
#pragma unroll
      for (unsigned m = 0; m < FRAGMENTS; ++m) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) {
          const float* const weights = scores[m][2 * step + i / 2] + i % 2 * 2;
          const TwoHalves pair = split_halves(weights[0], weights[1]);
          a[0][m][i] = pair.high;
          if constexpr (kTerms == 2) a[1][m][i] = pair.low;
        }
      }
#pragma unroll
      for (unsigned term = 0; term < VTile::kTerms; ++term) {
        const unsigned tile =
            values.address(buffer, term) + value_lane + step * 16 * kTileStride * 2;
#pragma unroll
        for (unsigned n = 0; n < kSteps; ++n) {
          unsigned b[4];
          load_transposed_matrices_at(tile + n * 32, b);
#pragma unroll
          for (unsigned a_term = 0; a_term < kTerms - term; ++a_term) {
#pragma unroll
            for (unsigned m = 0; m < FRAGMENTS; ++m) {
              mma_f16(a[a_term][m], b[0], b[1], sums[m][2 * n]);
              if (2 * n + 1 < kColumns) mma_f16(a[a_term][m], b[2], b[3], sums[m][2 * n + 1]);
            }
          }
        }
      }
    }
  };

  const unsigned warp_end = length_of(warp_vector + kWarpVectors - 1);
  const unsigned warp_begin = first_visible(length_of(warp_vector));
  unsigned buffer = 0;
#pragma unroll 1
  for (unsigned first = begin; first < end; first += TILE) {
    wait_for_copies<STAGES - 2>();
    if (KTile::kConverted || VTile::kConverted) {
      __syncthreads();  // everyone is done with the tile before
      keys.convert(first, end);
      values.convert(first, end);
    }
    __syncthreads();
    start(first + (STAGES - 1) * TILE, buffer == 0 ? STAGES - 1 : buffer - 1);
    const unsigned own = first + part * kPositions;
    if (own < warp_end && own + kPositions > warp_begin) attend(own, buffer);
    buffer = buffer == STAGES - 1 ? 0 : buffer + 1;
  }

#pragma unroll
  for (unsigned m = 0; m < FRAGMENTS; ++m) {
#pragma unroll
    for (unsigned row = 0; row < 2; ++row) {
      totals[m][row] += __shfl_xor_sync(kAllLanes, totals[m][row], 1);
      totals[m][row] += __shfl_xor_sync(kAllLanes, totals[m][row], 2);
    }
  }
  if constexpr (SPLIT == 1) {
#pragma unroll
    for (unsigned m = 0; m < FRAGMENTS; ++m) {
#pragma unroll
      for (unsigned row = 0; row < 2; ++row) {
        const unsigned vector = vector_of(m, row);
        if (vector >= vectors) continue;
        store_pairs(sums[m], row, 1.0f / totals[m][row], out + offset_of(vector));
      }
    }
    return;
  }
  // The parts of a vector meet in shared memory, in order.
  __syncthreads();  // everyone is done with the last tile
  const auto results = (Result*)memory;
#pragma unroll
  for (unsigned m = 0; m < FRAGMENTS; ++m) {
#pragma unroll
    for (unsigned row = 0; row < 2; ++row) {
      Result& own = results[warp * kWarpVectors + m * 16 + row * 8 + Lane().g];
      own.top = kHasSoftcap ? tops[m][row] : tops[m][row] * units[m][row];
      own.total = totals[m][row];
    }
  }
  __syncthreads();
#pragma unroll
  for (unsigned m = 0; m < FRAGMENTS; ++m) {
#pragma unroll
    for (unsigned row = 0; row < 2; ++row) {
      Result* const own = results + warp * kWarpVectors + m * 16 + row * 8 + Lane().g;
      const Result* const first = own - part * kWarpVectors;
      float top = lowest, total = 0.0f;
#pragma unroll
      for (unsigned i = 0; i < SPLIT; ++i) top = fmaxf(top, first[i * kWarpVectors].top);
#pragma unroll
      for (unsigned i = 0; i < SPLIT; ++i) {
        const Result& result = first[i * kWarpVectors];
        total += exp2_approx(result.top - top) * result.total;
      }
      store_pairs(sums[m], row, exp2_approx(own->top - top) / total, own->sums);
    }
  }
  __syncthreads();
  constexpr unsigned kQuads = HEAD_DIM / 4;
  for (unsigned i = threadIdx.x; i < kVectors * kQuads; i += kTileThreads) {
    const unsigned row = i / kQuads, vector = first_vector + row;
    if (vector >= vectors) break;
    const Result* const first =
        results + row / kWarpVectors * SPLIT * kWarpVectors + row % kWarpVectors;
    Float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
    for (unsigned p = 0; p < SPLIT; ++p) {
      const Float4 v = *(const Float4*)(first[p * kWarpVectors].sums + i % kQuads * 4);
      sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
    }
    *(Float4*)(out + offset_of(vector) + i % kQuads * 4) = sum;
  }
}

// Causal attention of T query rows against the cache. Block (h, t) handles 32 query vectors of KV
// head h: all its query heads of one row, then of the next, so that they share each tile of keys
// and values. A warp owns four query vectors; a lane owns one position for scores and some elements
// for the output.
#include "kernels/device/kv_cache.cuh"
#include "kernels/device/scores.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kGroup = HEADS / KV_HEADS;  // query heads per KV head
constexpr unsigned kVectors = 32;              // query vectors per block
constexpr unsigned kPerWarp = kVectors / kWarps;
constexpr unsigned kTile = 32;              // positions per turn
constexpr unsigned kStride = HEAD_DIM + 4;  // padded: lanes read different rows without conflicts
constexpr unsigned kPerLane = (HEAD_DIM + kWarp - 1) / kWarp;
constexpr float kLowest = -1e30f;

using KCache = KvCache<KV_K_TYPE, (unsigned long long)KV_HEADS * CONTEXT, HEAD_DIM>;
using VCache = KvCache<KV_V_TYPE, (unsigned long long)KV_HEADS * CONTEXT, HEAD_DIM>;

// Copies positions first .. first + kTile - 1 of a head's cache as f32; zeros beyond `end`.
template <typename Cache>
JLLM_DEVICE void load_tile(const Bytes* cache, unsigned kv_head, unsigned first, unsigned end,
                           float* tile) {
  constexpr unsigned kChunk = Cache::kChunk, kChunks = HEAD_DIM / kChunk;
  for (unsigned i = threadIdx.x; i < kTile * kChunks; i += kThreads) {
    const unsigned row = i / kChunks, element = i % kChunks * kChunk;
    float v[kChunk] = {};
    float scale = 1.0f;
    if (first + row < end) {
      scale = Cache::load(cache, (unsigned long long)kv_head * CONTEXT + first + row, element, v);
    }
    float* to = tile + row * kStride + element;
#pragma unroll
    for (unsigned j = 0; j < kChunk; j += 4) {
      *(Float4*)(to + j) = {v[j] * scale, v[j + 1] * scale, v[j + 2] * scale, v[j + 3] * scale};
    }
  }
}

extern "C" __global__ __launch_bounds__(kThreads) void JLLM_KERNEL(
    const StepState* state,
    const float* q,        // [T][HEADS][HEAD_DIM]
    const Bytes* k_cache,  // [KV_HEADS][CONTEXT][HEAD_DIM]
    const Bytes* v_cache,  // [KV_HEADS][CONTEXT][HEAD_DIM]
    float* out,            // [T][HEADS][HEAD_DIM]
    unsigned rows          // T
) {
  extern __shared__ Float4 shared[];
  float* queries = (float*)shared;             // [kVectors][kStride], scaled
  float* keys = queries + kVectors * kStride;  // [kTile][kStride]
  float* values = keys + kTile * kStride;      // [kTile][kStride]
  float* weights = values + kTile * kStride;   // [kVectors][kTile]
  const unsigned kv_head = blockIdx.x, first_vector = blockIdx.y * kVectors;
  const unsigned position = state->position;
  const unsigned vectors = token_rows(state, rows) * kGroup;
  if (first_vector >= vectors) return;
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;

  for (unsigned i = threadIdx.x; i < kVectors * HEAD_DIM; i += kThreads) {
    const unsigned vector = first_vector + i / HEAD_DIM;
    const unsigned long long at =
        ((unsigned long long)(vector / kGroup) * HEADS + kv_head * kGroup + vector % kGroup) *
            HEAD_DIM +
        i % HEAD_DIM;
    queries[i / HEAD_DIM * kStride + i % HEAD_DIM] =
        vector < vectors ? q[at] * query_factor() : 0.0f;
  }
  if (ROTATION != 0) {  // as the keys in the cache are
    __syncthreads();
    for (unsigned r = 0; r < kPerWarp; ++r) {
      float* const row = queries + (warp * kPerWarp + r) * kStride;
      rotate_row<HEAD_DIM, ROTATION>(row, row);
    }
  }
  float sum[kPerWarp][kPerLane] = {}, max[kPerWarp], total[kPerWarp] = {};
  unsigned length[kPerWarp];  // positions that the vector may look at
#pragma unroll
  for (unsigned r = 0; r < kPerWarp; ++r) {
    const unsigned vector = first_vector + warp * kPerWarp + r;
    max[r] = kLowest;
    length[r] = vector < vectors ? position + vector / kGroup + 1 : 0;
    if (length[r] > CONTEXT) length[r] = CONTEXT;
  }
  unsigned last = first_vector + kVectors - 1;
  if (last >= vectors) last = vectors - 1;
  const unsigned end =
      position + last / kGroup + 1 < CONTEXT ? position + last / kGroup + 1 : CONTEXT;

  // The block's first vector sees furthest back.
  const unsigned begin = first_visible(position + first_vector / kGroup + 1) / kTile * kTile;
  for (unsigned first = begin; first < end; first += kTile) {
    __syncthreads();
    load_tile<KCache>(k_cache, kv_head, first, end, keys);
    load_tile<VCache>(v_cache, kv_head, first, end, values);
    __syncthreads();
    float score[kPerWarp] = {};
#pragma unroll 4
    for (unsigned i = 0; i < HEAD_DIM; i += 4) {
      const Float4 k = *(const Float4*)(keys + lane * kStride + i);
#pragma unroll
      for (unsigned r = 0; r < kPerWarp; ++r) {
        const Float4 a = *(const Float4*)(queries + (warp * kPerWarp + r) * kStride + i);
        score[r] += a.x * k.x, score[r] += a.y * k.y, score[r] += a.z * k.z, score[r] += a.w * k.w;
      }
    }
#pragma unroll
    for (unsigned r = 0; r < kPerWarp; ++r) {
      const bool visible = first + lane < length[r] && first + lane >= first_visible(length[r]);
      const float value = visible ? score_of(score[r]) : kLowest;
      const float top = fmaxf(max[r], warp_max(value));
      const float weight = visible ? exp2_approx(value - top) : 0.0f;
      const float keep = exp2_approx(max[r] - top);
      max[r] = top;
      total[r] = total[r] * keep + warp_sum(weight);
#pragma unroll
      for (unsigned j = 0; j < kPerLane; ++j) sum[r][j] *= keep;
      weights[(warp * kPerWarp + r) * kTile + lane] = weight;
    }
    __syncwarp();
#pragma unroll 2
    for (unsigned i = 0; i < kTile; i += 4) {
      float v[4][kPerLane];
#pragma unroll
      for (unsigned p = 0; p < 4; ++p) {
#pragma unroll
        for (unsigned j = 0; j < kPerLane; ++j) {
          const unsigned element = lane + j * kWarp;
          v[p][j] = element < HEAD_DIM ? values[(i + p) * kStride + element] : 0.0f;
        }
      }
#pragma unroll
      for (unsigned r = 0; r < kPerWarp; ++r) {
        const Float4 w = *(const Float4*)(weights + (warp * kPerWarp + r) * kTile + i);
#pragma unroll
        for (unsigned j = 0; j < kPerLane; ++j) {
          sum[r][j] += w.x * v[0][j], sum[r][j] += w.y * v[1][j];
          sum[r][j] += w.z * v[2][j], sum[r][j] += w.w * v[3][j];
        }
      }
    }
  }
#pragma unroll
  for (unsigned r = 0; r < kPerWarp; ++r) {
    const unsigned vector = first_vector + warp * kPerWarp + r;
    if (vector >= vectors) continue;
    float* to =
        out + ((unsigned long long)(vector / kGroup) * HEADS + kv_head * kGroup + vector % kGroup) *
                  HEAD_DIM;
#pragma unroll
    for (unsigned j = 0; j < kPerLane; ++j) {
      const unsigned element = lane + j * kWarp;
      if (element < HEAD_DIM) to[element] = sum[r][j] / total[r];
    }
  }
}

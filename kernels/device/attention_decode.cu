// One token's attention. Block (h, s) handles split s of the cached positions for every query head
// of KV head h; the last block of a head to finish combines the splits, in order. A position
// belongs to a few neighbouring lanes, some elements each; every such lane group keeps its own
// running softmax. With APPEND the block whose split ends with the token's own position appends
// the token's k and v first.
#include "kernels/device/activations.cuh"
#include "kernels/device/kv_cache.cuh"
#include "kernels/device/scores.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kGroup = HEADS / KV_HEADS;  // query heads per KV head
constexpr unsigned kSplitPositions = 128;      // a split is worth its combine from here on
constexpr float kLowest = -1e30f;              // finite: differences of two never become NaN

using KCache = KvCache<KV_K_TYPE, (unsigned long long)KV_HEADS * CONTEXT, HEAD_DIM>;
using VCache = KvCache<KV_V_TYPE, (unsigned long long)KV_HEADS * CONTEXT, HEAD_DIM>;

// Elements of a lane. More in quantised caches, so that a load of quants has 16 bytes (8 in q4_0: a
// lane's part of q and of the sums stays in registers).
constexpr unsigned kElements = KCache::kQuantised || VCache::kQuantised ? 16 : 8;

// Lanes of one position: a power of two, so that shuffles add up; some idle when HEAD_DIM is not
// one.
constexpr unsigned lanes_for(unsigned dim) {
  unsigned lanes = 1;
  while (lanes * kElements < dim) lanes *= 2;
  return lanes;
}
constexpr unsigned kLanes = lanes_for(HEAD_DIM);
constexpr unsigned kPerWarp = kWarp / kLanes;  // positions a warp looks at side by side

// Query heads are dealt to kSubgroups sets of warps, so that a lane holds few of them in registers.
constexpr unsigned subgroups_for(unsigned group) {
  unsigned subgroups = 1;
  while (subgroups < kWarps && (group + subgroups - 1) / subgroups > 4) subgroups *= 2;
  return subgroups;
}
constexpr unsigned kSubgroups = subgroups_for(kGroup);
constexpr unsigned kHeads = (kGroup + kSubgroups - 1) / kSubgroups;  // query heads per warp
constexpr unsigned kTeams = kWarps / kSubgroups;  // warps that share the positions
constexpr unsigned kBatch =
    kHeads > 2 ? 2 : 4;  // positions per lane group whose loads are in flight

// A warp's result for one query head: sum of exp2(score - max) * v, then max, then sum of exp2.
struct Partial {
  float sum[HEAD_DIM];
  float max, total;
};

// Folds `count` partials, `stride` floats apart, into out[HEAD_DIM]; every thread of the block
// calls it for one element. With `finish` divides by the total; else also stores max and total
// behind the elements.
template <typename Load>
JLLM_DEVICE float fold(unsigned count, unsigned element, bool finish, float* out,
                       const Load& load) {
  float max = kLowest;
  for (unsigned i = 0; i < count; ++i) max = fmaxf(max, load(i, HEAD_DIM));
  float sum = 0.0f, total = 0.0f;
  for (unsigned i = 0; i < count; ++i) {
    const float factor = exp2_approx(load(i, HEAD_DIM) - max);
    sum += load(i, element) * factor;
    total += load(i, HEAD_DIM + 1) * factor;
  }
  if (finish) return sum / total;
  out[element] = sum;
  if (element == 0) {
    out[HEAD_DIM] = max;
    out[HEAD_DIM + 1] = total;
  }
  return 0.0f;
}

// Hands element `i` of the kernel's result on. Warps call it with 32 consecutive elements.
JLLM_DEVICE void store_result(unsigned i, float value, float* out) {
#if OUT_IMAGE
  publish_block<OUT_IMAGE, HEADS * HEAD_DIM>(value, i / kWarp, (Bytes*)out);
#else
  out[i] = value;
#endif
}

extern "C" __global__ __launch_bounds__(kThreads) void JLLM_KERNEL(
    const StepState* state,
    const float* q,  // [HEADS * HEAD_DIM]
#if APPEND
    const float* new_k,  // [KV_HEADS * HEAD_DIM], the token's, behind rope
    const float* new_v,  // [KV_HEADS * HEAD_DIM]
#endif
    Bytes* k_cache,    // [KV_HEADS][CONTEXT][HEAD_DIM]
    Bytes* v_cache,    // [KV_HEADS][CONTEXT][HEAD_DIM]
    float* out,        // [HEADS * HEAD_DIM], or with OUT_IMAGE (a mode) its byte image
    float* partial,    // scratch [HEADS][SPLITS][HEAD_DIM + 2]
    unsigned* tickets  // [KV_HEADS], zero between launches
) {
  __shared__ Partial results[kWarps * kHeads];  // [warp][h]
  __shared__ bool last;
  release_successor();
  // The position does not change before the end of a graph: what follows from it need not wait.
  const unsigned length = state->position < CONTEXT ? state->position + 1 : CONTEXT;
  const unsigned lowest = first_visible(length), positions = length - lowest;
  const unsigned wanted = (positions + kSplitPositions - 1) / kSplitPositions;
  const unsigned splits = wanted < SPLITS ? wanted : SPLITS;
  const unsigned split = blockIdx.y, kv_head = blockIdx.x;
  const unsigned share = round_up((positions + splits - 1) / splits, 64);
  const unsigned begin = split * share < positions ? lowest + split * share : length;
  const unsigned end = begin + share < length ? begin + share : length;

  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const unsigned team = warp / kSubgroups, first_head = warp % kSubgroups * kHeads;
  const unsigned element = lane % kLanes * kElements, slot = lane / kLanes;
  const bool active = element < HEAD_DIM;
  const unsigned long long first_row = (unsigned long long)kv_head * CONTEXT;
  if (PROGRAMMATIC && split < splits) {
    const unsigned position = begin + (team * kPerWarp * kBatch + lane % (kPerWarp * kBatch));
    if (position + 1 < end) {
      KCache::prefetch(k_cache, first_row + position);
      VCache::prefetch(v_cache, first_row + position);
    }
  }
  wait_for_inputs();
  if (split >= splits) return;

#if APPEND
  // Nothing is appended by a replay past the end of the sequence.
  if (state->position >= begin && state->position < end) {
    const unsigned long long row = first_row + state->position;
    if (warp == 0) KCache::store_row<ROTATION>(k_cache, row, new_k + kv_head * HEAD_DIM);
    if (warp == 1) VCache::store_row<0>(v_cache, row, new_v + kv_head * HEAD_DIM);
    __syncthreads();
  }
#endif
  if (ROTATION != 0) {  // the queries, as the keys in the cache are
    for (unsigned h = warp; h < kGroup; h += kWarps) {
      rotate_row<HEAD_DIM, ROTATION>(q + (kv_head * kGroup + h) * HEAD_DIM, results[h].sum);
    }
    __syncthreads();
  }
  float query[kHeads][kElements], sum[kHeads][kElements], max[kHeads], total[kHeads];
#pragma unroll
  for (unsigned h = 0; h < kHeads; ++h) {
    max[h] = kLowest;
    total[h] = 0.0f;
    const bool used = active && first_head + h < kGroup;
    const float* from = ROTATION != 0
                            ? results[first_head + h].sum + element
                            : q + (kv_head * kGroup + first_head + h) * HEAD_DIM + element;
#pragma unroll
    for (unsigned i = 0; i < kElements; ++i) {
      query[h][i] = 0.0f;
      sum[h][i] = 0.0f;
    }
    if (!used) continue;
#pragma unroll
    for (unsigned i = 0; i < kElements; i += 4) {
      if constexpr (ROTATION != 0) {
#pragma unroll
        for (unsigned j = i; j < i + 4; ++j) query[h][j] = from[j] * query_factor();
      } else {
        const Float4 v = load_shared_across_blocks((const Float4*)(from + i));
        query[h][i] = v.x * query_factor(), query[h][i + 1] = v.y * query_factor();
        query[h][i + 2] = v.z * query_factor(), query[h][i + 3] = v.w * query_factor();
      }
    }
  }
  if (ROTATION != 0) __syncthreads();  // nobody reads them from `results` any more
  // Every lane of a warp takes the same number of turns: they exchange their parts of the scores.
  for (unsigned start = begin + team * kPerWarp * kBatch; start < end;
       start += kTeams * kPerWarp * kBatch) {
    float k[kBatch][kElements] = {}, v[kBatch][kElements] = {};
    float k_scale[kBatch], v_scale[kBatch];
#pragma unroll
    for (unsigned b = 0; b < kBatch; ++b) {
      k_scale[b] = v_scale[b] = 1.0f;
      const unsigned position = start + b * kPerWarp + slot;
      if (active && position < end) {
        k_scale[b] = KCache::load(k_cache, first_row + position, element, k[b]);
        v_scale[b] = VCache::load(v_cache, first_row + position, element, v[b]);
      }
    }
#pragma unroll
    for (unsigned h = 0; h < kHeads; ++h) {
      float score[kBatch], top = max[h];
#pragma unroll
      for (unsigned b = 0; b < kBatch; ++b) {
        score[b] = 0.0f;
#pragma unroll
        for (unsigned i = 0; i < kElements; ++i) score[b] += query[h][i] * k[b][i];
        score[b] *= k_scale[b];
#pragma unroll
        for (unsigned step = kLanes / 2; step > 0; step /= 2) {
          score[b] += __shfl_xor_sync(kAllLanes, score[b], step);
        }
        score[b] = score_of(score[b]);
        if (start + b * kPerWarp + slot < end) top = fmaxf(top, score[b]);
      }
      const float keep = exp2_approx(max[h] - top);
      max[h] = top;
      total[h] *= keep;
#pragma unroll
      for (unsigned i = 0; i < kElements; ++i) sum[h][i] *= keep;
#pragma unroll
      for (unsigned b = 0; b < kBatch; ++b) {
        const bool inside = start + b * kPerWarp + slot < end;
        const float weight = inside ? exp2_approx(score[b] - top) : 0.0f;
        total[h] += weight;
        const float scaled = weight * v_scale[b];
#pragma unroll
        for (unsigned i = 0; i < kElements; ++i) sum[h][i] += scaled * v[b][i];
      }
    }
  }
  // Lane groups of a warp into one.
#pragma unroll
  for (unsigned h = 0; h < kHeads; ++h) {
    float top = max[h];
#pragma unroll
    for (unsigned step = kLanes; step < kWarp; step *= 2) {
      top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, step));
    }
    const float keep = exp2_approx(max[h] - top);
    total[h] *= keep;
#pragma unroll
    for (unsigned i = 0; i < kElements; ++i) sum[h][i] *= keep;
#pragma unroll
    for (unsigned step = kLanes; step < kWarp; step *= 2) {
      total[h] += __shfl_xor_sync(kAllLanes, total[h], step);
#pragma unroll
      for (unsigned i = 0; i < kElements; ++i)
        sum[h][i] += __shfl_xor_sync(kAllLanes, sum[h][i], step);
    }
    Partial& result = results[warp * kHeads + h];
    if (slot == 0 && active) {
#pragma unroll
      for (unsigned i = 0; i < kElements; ++i) result.sum[element + i] = sum[h][i];
    }
    if (lane == 0) result.max = top, result.total = total[h];
  }
  __syncthreads();

  // The block's warps into one result per head: the output itself when there is only one split.
  for (unsigned i = threadIdx.x; i < kGroup * HEAD_DIM; i += kThreads) {
    const unsigned local = i / HEAD_DIM, head = kv_head * kGroup + local;
    float* to = partial + ((unsigned long long)head * SPLITS + split) * (HEAD_DIM + 2);
    const float value =
        fold(kTeams, i % HEAD_DIM, splits == 1, to, [&](unsigned which, unsigned at) {
          const Partial& result = results[which * kSubgroups * kHeads + local];
          return ((const float*)&result)[at];
        });
    if (splits == 1) store_result(kv_head * kGroup * HEAD_DIM + i, value, out);
  }
  if (splits == 1) return;

  // Results first, then the ticket; the ticket wraps to 0 with the last block, ready for the next
  // launch.
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicInc(&tickets[kv_head], splits - 1) == splits - 1;
  __syncthreads();
  if (!last) return;
  __threadfence();
  for (unsigned i = threadIdx.x; i < kGroup * HEAD_DIM; i += kThreads) {
    const unsigned head = kv_head * kGroup + i / HEAD_DIM;
    const float* from = partial + (unsigned long long)head * SPLITS * (HEAD_DIM + 2);
    const float value = fold(splits, i % HEAD_DIM, true, nullptr, [&](unsigned which, unsigned at) {
      return load_shared_across_blocks(from + which * (HEAD_DIM + 2) + at);
    });
    store_result(kv_head * kGroup * HEAD_DIM + i, value, out);
  }
}

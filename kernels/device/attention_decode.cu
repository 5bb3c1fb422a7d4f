// One token's attention. Block (h, s) handles split s of the cached positions for every query head
// of KV head h; the last block of a head to finish combines the splits, in order. A position
// belongs to a few neighbouring lanes, eight elements each; every such lane group keeps its own
// running softmax.
#include "kernels/device/common.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kGroup = HEADS / KV_HEADS;  // query heads per KV head
constexpr unsigned kSplitPositions = 128;      // a split is worth its combine from here on
constexpr float kLowest = -1e30f;              // finite: differences of two never become NaN

// Lanes of one position: a power of two, so that shuffles add up; some idle when HEAD_DIM is not
// one.
constexpr unsigned lanes_for(unsigned dim) {
  unsigned lanes = 1;
  while (lanes * 8 < dim) lanes *= 2;
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
JLLM_DEVICE void fold(unsigned count, unsigned element, bool finish, float* out, const Load& load) {
  float max = kLowest;
  for (unsigned i = 0; i < count; ++i) max = fmaxf(max, load(i, HEAD_DIM));
  float sum = 0.0f, total = 0.0f;
  for (unsigned i = 0; i < count; ++i) {
    const float factor = exp2_approx(load(i, HEAD_DIM) - max);
    sum += load(i, element) * factor;
    total += load(i, HEAD_DIM + 1) * factor;
  }
  out[element] = finish ? sum / total : sum;
  if (!finish && element == 0) {
    out[HEAD_DIM] = max;
    out[HEAD_DIM + 1] = total;
  }
}

extern "C" __global__ __launch_bounds__(kThreads) void JLLM_KERNEL(
    const StepState* state,
    const float* q,                         // [HEADS * HEAD_DIM]
    const Kv<KV_K_TYPE>::Element* k_cache,  // [KV_HEADS][CONTEXT][HEAD_DIM]
    const Kv<KV_V_TYPE>::Element* v_cache,  // [KV_HEADS][CONTEXT][HEAD_DIM]
    float* out,                             // [HEADS * HEAD_DIM]
    float* partial,                         // scratch [HEADS][SPLITS][HEAD_DIM + 2]
    unsigned* tickets                       // [KV_HEADS], zero between launches
) {
  __shared__ Partial results[kWarps][kHeads];
  __shared__ bool last;
  const unsigned length = state->position < CONTEXT ? state->position + 1 : CONTEXT;
  const unsigned wanted = (length + kSplitPositions - 1) / kSplitPositions;
  const unsigned splits = wanted < SPLITS ? wanted : SPLITS;
  const unsigned split = blockIdx.y, kv_head = blockIdx.x;
  if (split >= splits) return;
  const unsigned share = round_up((length + splits - 1) / splits, 64);
  const unsigned begin = split * share < length ? split * share : length;
  const unsigned end = begin + share < length ? begin + share : length;

  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const unsigned team = warp / kSubgroups, first_head = warp % kSubgroups * kHeads;
  const unsigned element = lane % kLanes * 8, slot = lane / kLanes;
  const bool active = element < HEAD_DIM;

  float query[kHeads][8], sum[kHeads][8], max[kHeads], total[kHeads];
#pragma unroll
  for (unsigned h = 0; h < kHeads; ++h) {
    max[h] = kLowest;
    total[h] = 0.0f;
    const bool used = active && first_head + h < kGroup;
    const float* from = q + (kv_head * kGroup + first_head + h) * HEAD_DIM + element;
#pragma unroll
    for (unsigned i = 0; i < 8; ++i) {
      query[h][i] = used ? from[i] * (bits_to_float(SCALE_BITS) * kLog2E) : 0.0f;
      sum[h][i] = 0.0f;
    }
  }
  const unsigned long long base = (unsigned long long)kv_head * CONTEXT * HEAD_DIM + element;
  const auto* keys = k_cache + base;
  const auto* values = v_cache + base;
  // Every lane of a warp takes the same number of turns: they exchange their parts of the scores.
  for (unsigned start = begin + team * kPerWarp * kBatch; start < end;
       start += kTeams * kPerWarp * kBatch) {
    float k[kBatch][8] = {}, v[kBatch][8] = {};
#pragma unroll
    for (unsigned b = 0; b < kBatch; ++b) {
      const unsigned position = start + b * kPerWarp + slot;
      if (active && position < end) {
        Kv<KV_K_TYPE>::load8(keys + (unsigned long long)position * HEAD_DIM, k[b]);
        Kv<KV_V_TYPE>::load8(values + (unsigned long long)position * HEAD_DIM, v[b]);
      }
    }
#pragma unroll
    for (unsigned h = 0; h < kHeads; ++h) {
      float score[kBatch], top = max[h];
#pragma unroll
      for (unsigned b = 0; b < kBatch; ++b) {
        score[b] = 0.0f;
#pragma unroll
        for (unsigned i = 0; i < 8; ++i) score[b] += query[h][i] * k[b][i];
#pragma unroll
        for (unsigned step = kLanes / 2; step > 0; step /= 2) {
          score[b] += __shfl_xor_sync(kAllLanes, score[b], step);
        }
        if (start + b * kPerWarp + slot < end) top = fmaxf(top, score[b]);
      }
      const float keep = exp2_approx(max[h] - top);
      max[h] = top;
      total[h] *= keep;
#pragma unroll
      for (unsigned i = 0; i < 8; ++i) sum[h][i] *= keep;
#pragma unroll
      for (unsigned b = 0; b < kBatch; ++b) {
        const bool inside = start + b * kPerWarp + slot < end;
        const float weight = inside ? exp2_approx(score[b] - top) : 0.0f;
        total[h] += weight;
#pragma unroll
        for (unsigned i = 0; i < 8; ++i) sum[h][i] += weight * v[b][i];
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
    for (unsigned i = 0; i < 8; ++i) sum[h][i] *= keep;
#pragma unroll
    for (unsigned step = kLanes; step < kWarp; step *= 2) {
      total[h] += __shfl_xor_sync(kAllLanes, total[h], step);
#pragma unroll
      for (unsigned i = 0; i < 8; ++i) sum[h][i] += __shfl_xor_sync(kAllLanes, sum[h][i], step);
    }
    Partial& result = results[warp][h];
    if (slot == 0 && active) {
#pragma unroll
      for (unsigned i = 0; i < 8; ++i) result.sum[element + i] = sum[h][i];
    }
    if (lane == 0) result.max = top, result.total = total[h];
  }
  __syncthreads();

  // The block's warps into one result per head: the output itself when there is only one split.
  for (unsigned i = threadIdx.x; i < kGroup * HEAD_DIM; i += kThreads) {
    const unsigned local = i / HEAD_DIM, head = kv_head * kGroup + local;
    float* to = splits == 1
                    ? out + head * HEAD_DIM
                    : partial + ((unsigned long long)head * SPLITS + split) * (HEAD_DIM + 2);
    fold(kTeams, i % HEAD_DIM, splits == 1, to, [&](unsigned which, unsigned at) {
      const Partial& result = results[which * kSubgroups + local / kHeads][local % kHeads];
      return ((const float*)&result)[at];
    });
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
    fold(splits, i % HEAD_DIM, true, out + head * HEAD_DIM, [&](unsigned which, unsigned at) {
      return load_shared_across_blocks(from + which * (HEAD_DIM + 2) + at);
    });
  }
}

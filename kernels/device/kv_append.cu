// Cache rows position .. of each head = in. Plain caches: grid (blocks over elements, T); quantised
// ones, whose values share scales: grid (blocks over heads, a warp each, T).
#include "kernels/device/kv_cache.cuh"

using namespace jllm;
using namespace jllm::device;

using Cache = KvCache<KV_TYPE, (unsigned long long)HEADS * CONTEXT, HEAD_DIM>;

extern "C" __global__ void JLLM_KERNEL(JLLM_SEQUENCES,
                                       const float* in,  // [T][HEADS][HEAD_DIM]
                                       Bytes* cache      // [HEADS][CONTEXT][HEAD_DIM]
#if BATCH
                                       ,
                                       unsigned long long cache_stride
#endif
) {
  const unsigned row = blockIdx.y;
  const Sequences sequences = JLLM_SEQUENCES_HERE;
  if (!sequences.has_token(row, gridDim.y)) return;
  const unsigned position = sequences.position(row);
  if (position >= CONTEXT) return;
#if BATCH
  cache = sequences.behind(cache, row, cache_stride);
#endif
  in += (unsigned long long)row * HEADS * HEAD_DIM;
  const unsigned first = blockIdx.x * blockDim.x + threadIdx.x, step = gridDim.x * blockDim.x;
  if constexpr (Cache::kQuantised) {
    for (unsigned head = first / kWarp; head < HEADS; head += step / kWarp) {
      Cache::store_row<ROTATION>(cache, (unsigned long long)head * CONTEXT + position,
                                 in + head * HEAD_DIM);
    }
  } else {
    for (unsigned i = first; i < HEADS * HEAD_DIM; i += step) {
      const unsigned head = i / HEAD_DIM, element = i % HEAD_DIM;
      Cache::store(cache, (unsigned long long)head * CONTEXT + position, element, in[i]);
    }
  }
}

// Several tokens: rotates q in place, rotates k into its cache, copies v into its cache; plain
// caches only. Grid (blocks over pairs of elements, T).
#include "kernels/device/kv_cache.cuh"

using namespace jllm;
using namespace jllm::device;

using KCache = KvCache<KV_K_TYPE, (unsigned long long)KV_HEADS * CONTEXT, HEAD_DIM>;
using VCache = KvCache<KV_V_TYPE, (unsigned long long)KV_HEADS * CONTEXT, HEAD_DIM>;

extern "C" __global__ void JLLM_KERNEL(JLLM_SEQUENCES,
                                       float* q,                  // [T][HEADS][HEAD_DIM], in place
                                       const float* k,            // [T][KV_HEADS][HEAD_DIM]
                                       const float* v,            // [T][KV_HEADS][HEAD_DIM]
                                       const float* frequencies,  // [PAIRS]
                                       Bytes* k_cache,            // [KV_HEADS][CONTEXT][HEAD_DIM]
                                       Bytes* v_cache             // [KV_HEADS][CONTEXT][HEAD_DIM]
#if BATCH
                                       ,
                                       unsigned long long k_stride, unsigned long long v_stride
#endif
) {
  const unsigned row = blockIdx.y;
  const Sequences sequences = JLLM_SEQUENCES_HERE;
  if (!sequences.has_token(row, gridDim.y)) return;
  const unsigned position = sequences.position(row);
  if (position >= CONTEXT) return;
#if BATCH
  k_cache = sequences.behind(k_cache, row, k_stride);
  v_cache = sequences.behind(v_cache, row, v_stride);
#endif
  constexpr unsigned kHalf = HEAD_DIM / 2;
  const float magnitude = bits_to_float(MAGNITUDE_BITS);
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (HEADS + 2 * KV_HEADS) * kHalf;
       i += gridDim.x * blockDim.x) {
    const unsigned head = i / kHalf, pair = i % kHalf;
    const bool is_q = head < HEADS, is_k = !is_q && head < HEADS + KV_HEADS;
    const bool rotated = (is_q || is_k) && pair < PAIRS;
    unsigned first, second;
    pair_elements(pair, PAIRS, rotated && NEOX, &first, &second);
    const unsigned local = is_q ? head : is_k ? head - HEADS : head - HEADS - KV_HEADS;
    const unsigned heads = is_q ? HEADS : KV_HEADS;
    const unsigned long long base = ((unsigned long long)row * heads + local) * HEAD_DIM;
    const float* from = is_q ? q : is_k ? k : v;
    float a = from[base + first], b = from[base + second];
    if (rotated) rotate(&a, &b, position, frequencies[pair], magnitude);
    const unsigned long long to = (unsigned long long)local * CONTEXT + position;
    if (is_q) {
      q[base + first] = a;
      q[base + second] = b;
    } else if (is_k) {
      KCache::store(k_cache, to, first, a);
      KCache::store(k_cache, to, second, b);
    } else {
      VCache::store(v_cache, to, first, a);
      VCache::store(v_cache, to, second, b);
    }
  }
}

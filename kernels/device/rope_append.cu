// Several tokens: rotates q in place, rotates k into its cache, copies v into its cache; plain
// caches only. Grid (blocks over pairs of elements, T).
#include "kernels/device/kv_cache.cuh"

using namespace jllm;
using namespace jllm::device;

using KCache = KvCache<KV_K_TYPE, (unsigned long long)KV_HEADS * CONTEXT, HEAD_DIM>;
using VCache = KvCache<KV_V_TYPE, (unsigned long long)KV_HEADS * CONTEXT, HEAD_DIM>;

extern "C" __global__ void JLLM_KERNEL(const StepState* state,
                                       float* q,                  // [T][HEADS][HEAD_DIM], in place
                                       const float* k,            // [T][KV_HEADS][HEAD_DIM]
                                       const float* v,            // [T][KV_HEADS][HEAD_DIM]
                                       const float* frequencies,  // [PAIRS]
                                       Bytes* k_cache,            // [KV_HEADS][CONTEXT][HEAD_DIM]
                                       Bytes* v_cache             // [KV_HEADS][CONTEXT][HEAD_DIM]
) {
  const unsigned row = blockIdx.y;
  const unsigned position = state->position + row;
  if (row >= token_rows(state, gridDim.y) || position >= CONTEXT) return;
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

// One token: RMS norm, then the rows of q, k and v. A warp owns the two rows of a rotary pair,
// rotates them, and stores q for the attention kernel, k and v in the cache at the token's
// position.
#include "kernels/device/gemv.cuh"

using namespace jllm;
using namespace jllm::device;

constexpr unsigned kHalf = HEAD_DIM / 2;

template <unsigned kType>
JLLM_DEVICE void head_rows(const Bytes* weight, const float* image, unsigned first, unsigned second,
                           float (&sums)[2]) {
  constexpr unsigned long long kStride = row_layout(kType, K).stride;
  const Bytes* const rows[2] = {weight + first * kStride, weight + second * kStride};
  dot_rows<kType, K>(rows, image, sums);
}

extern "C" __global__ __launch_bounds__(kGemvThreads, 2) void JLLM_KERNEL(
    const StepState* state,
    const float* x,     // [K]
    const float* norm,  // [K]
    const Bytes* wq,    // [HEADS * HEAD_DIM] rows of K
    const Bytes* wk,    // [KV_HEADS * HEAD_DIM] rows of K
    const Bytes* wv,    // [KV_HEADS * HEAD_DIM] rows of K
#if HAS_BIAS
    const float* bq, const float* bk, const float* bv,
#endif
    const float* frequencies,         // [PAIRS]
    float* q_out,                     // [HEADS * HEAD_DIM]
    Kv<KV_K_TYPE>::Element* k_cache,  // [KV_HEADS][CONTEXT][HEAD_DIM]
    Kv<KV_V_TYPE>::Element* v_cache   // [KV_HEADS][CONTEXT][HEAD_DIM]
) {
  extern __shared__ Float4 shared[];
  __shared__ float scratch[kGemvWarps];
  float* image = (float*)shared;
  constexpr bool kSums =
      Weight<Q_TYPE>::kHasMinimum || Weight<K_TYPE>::kHasMinimum || Weight<V_TYPE>::kHasMinimum;
  const float factor = rms_factor(stage<K, true, kSums>(x, norm, image, scratch), K, EPSILON_BITS);
  const unsigned position = state->position;

  for_row_groups((HEADS + 2 * KV_HEADS) * kHalf, [&](unsigned group) {
    const unsigned head = group / kHalf, pair = group % kHalf;
    const bool is_q = head < HEADS, is_k = !is_q && head < HEADS + KV_HEADS;
    const unsigned local = is_q ? head : is_k ? head - HEADS : head - HEADS - KV_HEADS;
    const bool rotated = (is_q || is_k) && pair < PAIRS;
    unsigned first, second;
    pair_elements(pair, PAIRS, rotated && NEOX, &first, &second);
    const unsigned a = local * HEAD_DIM + first, b = local * HEAD_DIM + second;

    float sums[2];
    if constexpr (Q_TYPE == K_TYPE && Q_TYPE == V_TYPE) {
      head_rows<Q_TYPE>(is_q ? wq : is_k ? wk : wv, image, a, b, sums);
    } else if (is_q) {
      head_rows<Q_TYPE>(wq, image, a, b, sums);
    } else if (is_k) {
      head_rows<K_TYPE>(wk, image, a, b, sums);
    } else {
      head_rows<V_TYPE>(wv, image, a, b, sums);
    }
    if (threadIdx.x % kWarp != 0) return;
    sums[0] *= factor, sums[1] *= factor;
#if HAS_BIAS
    const float* bias = is_q ? bq : is_k ? bk : bv;
    sums[0] += bias[a], sums[1] += bias[b];
#endif
    if (rotated) {
      rotate(&sums[0], &sums[1], position, frequencies[pair], bits_to_float(MAGNITUDE_BITS));
    }
    if (is_q) {
      q_out[a] = sums[0], q_out[b] = sums[1];
      return;
    }
    if (position >= CONTEXT) return;  // a replay past the end of the sequence
    const unsigned long long row = ((unsigned long long)local * CONTEXT + position) * HEAD_DIM;
    if (is_k) {
      k_cache[row + first] = Kv<KV_K_TYPE>::encode(sums[0]);
      k_cache[row + second] = Kv<KV_K_TYPE>::encode(sums[1]);
    } else {
      v_cache[row + first] = Kv<KV_V_TYPE>::encode(sums[0]);
      v_cache[row + second] = Kv<KV_V_TYPE>::encode(sums[1]);
    }
  });
}

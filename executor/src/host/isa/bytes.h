// Vectors of bytes and the integer dot product of this compilation's instruction set. For
// products.cpp only, see lanes.h. All sets give the same sums.
#pragma once

#include "executor/src/host/isa/lanes.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace jllm::host::JLLM_HOST_ISA {
namespace {

typedef uint8_t Bytes __attribute__((vector_size(4 * kLanes)));
typedef uint16_t Words __attribute__((vector_size(4 * kLanes)));
typedef int16_t SignedWords __attribute__((vector_size(4 * kLanes)));

inline Bytes load_bytes(const uint8_t* p) {
  Bytes value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

// sum + a * b and sum - a * b, rounded once where the set has an instruction for it. Said outright,
// because products.cpp is compiled without contraction: activations round alike in all sets.
#if defined(__AVX512F__)
inline Floats add_product(Floats sum, Floats a, Floats b) {
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)sum);
}
inline Floats subtract_product(Floats sum, Floats a, Floats b) {
  return (Floats)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)sum);
}
#elif defined(__FMA__)
inline Floats add_product(Floats sum, Floats a, Floats b) {
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)sum);
}
inline Floats subtract_product(Floats sum, Floats a, Floats b) {
  return (Floats)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)sum);
}
#elif defined(__aarch64__)
inline Floats add_product(Floats sum, Floats a, Floats b) {
  return (Floats)vfmaq_f32((float32x4_t)sum, (float32x4_t)a, (float32x4_t)b);
}
inline Floats subtract_product(Floats sum, Floats a, Floats b) {
  return (Floats)vfmsq_f32((float32x4_t)sum, (float32x4_t)a, (float32x4_t)b);
}
#else
inline Floats add_product(Floats sum, Floats a, Floats b) { return sum + a * b; }
inline Floats subtract_product(Floats sum, Floats a, Floats b) { return sum - a * b; }
#endif

// Shifts pairs of bytes: bits that cross over are for the caller's mask to drop.
inline Bytes shift_right(Bytes value, unsigned count) { return (Bytes)((Words)value >> count); }

// table[index] of each byte, which is below 16.
inline Bytes look_up(const uint8_t (&table)[16], Bytes index) {
#if defined(__AVX512F__)
  const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  const auto all_entries = _mm512_maskz_broadcast_i32x4(kEveryLane, entries);
  return (Bytes)_mm512_shuffle_epi8(all_entries, (__m512i)index);
#elif defined(__AVX2__)
  const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return (Bytes)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), (__m256i)index);
#elif defined(__aarch64__)
  return (Bytes)vqtbl1q_u8(vld1q_u8(table), (uint8x16_t)index);
#else
  for (unsigned i = 0; i < sizeof(index); ++i) index[i] = table[index[i]];
  return index;
#endif
}

inline int32_t word_at(const int8_t* p) {
  int32_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

// What dot() has to be told of signed weights (kSigned) beside their bytes: the instructions for
// unsigned ones take weight + 128, which adds 128 times the sum of the activations.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
constexpr int32_t kSignedOffset = 128;
#else
constexpr int32_t kSignedOffset = 0;
#endif

// The form in which dot() takes the bytes of signed weights.
inline Bytes as_operand(Bytes weights) {
  if constexpr (kSignedOffset == 0) return weights;
  return weights ^ 0x80;
}

// dot(): sum + weights * values, in each lane over its four bytes; `values` are four signed
// activations, the same for every lane. Weights are signed (kSigned, see as_operand) or at most 63.
#if defined(__AVX512VNNI__)
template <bool kSigned>
inline Ints dot(Ints sum, Bytes weights, int32_t values) {
  return (Ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)weights, _mm512_set1_epi32(values));
}
#elif defined(__AVXVNNI__)
template <bool kSigned>
inline Ints dot(Ints sum, Bytes weights, int32_t values) {
  return (Ints)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)weights, _mm256_set1_epi32(values));
}
#elif defined(__ARM_FEATURE_DOTPROD)
template <bool kSigned>
inline Ints dot(Ints sum, Bytes weights, int32_t values) {
  return (Ints)vdotq_s32((int32x4_t)sum, (int8x16_t)weights, (int8x16_t)vdupq_n_s32(values));
}
#else
// The sums of two products of 16 bits each.
inline Ints dot_words(SignedWords weights, SignedWords values) {
#if defined(__AVX2__)
  return (Ints)_mm256_madd_epi16((__m256i)weights, (__m256i)values);
#elif defined(__SSE2__)
  return (Ints)_mm_madd_epi16((__m128i)weights, (__m128i)values);
#else
  const Ints even = ((Ints)weights << 16 >> 16) * ((Ints)values << 16 >> 16);
  return even + ((Ints)weights >> 16) * ((Ints)values >> 16);
#endif
}

template <bool kSigned>
inline Ints dot(Ints sum, Bytes weights, int32_t values) {
#if defined(__AVX2__)
  if constexpr (!kSigned) {
    // 2 * 63 * 128 fits 16 bits.
    const __m256i pairs = _mm256_maddubs_epi16((__m256i)weights, _mm256_set1_epi32(values));
    return sum + (Ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }
#endif
  const auto all_values = (SignedWords)(Ints{} + values);
  const auto all_weights = (SignedWords)weights;
  sum += dot_words(all_weights << 8 >> 8, all_values << 8 >> 8);
  return sum + dot_words(all_weights >> 8, all_values >> 8);
}
#endif

}  // namespace
}  // namespace jllm::host::JLLM_HOST_ISA

// Vectors of the widest kind that this compilation targets, on the compilers' vector extension.
// For files of this folder only, inside the namespace of the instruction set: each is compiled
// several times with different flags, and no function may be shared between the copies.
#pragma once

#include <cstdint>
#include <cstring>

#include "executor/src/host/half.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace jllm::host::JLLM_HOST_ISA {
namespace {

#if defined(__AVX512F__)
constexpr unsigned kLanes = 16;
// GCC's unmasked intrinsics warn of an uninitialised value (GCC bug 105593); a full mask costs
// nothing.
constexpr __mmask16 kEveryLane = 0xffff;
#elif defined(__AVX2__)
constexpr unsigned kLanes = 8;
#else
constexpr unsigned kLanes = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef uint32_t UnsignedInts __attribute__((vector_size(4 * kLanes)));

inline Floats zeros() { return Floats{}; }
inline Floats all(float value) { return Floats{} + value; }

inline Floats load(const float* p) {
  Floats value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

inline void store(float* p, Floats value) { std::memcpy(p, &value, sizeof(value)); }

// The first `count` < kLanes lanes; the others are zero.
inline Floats load_some(const float* p, uint64_t count) {
  float lanes[kLanes] = {};
  std::memcpy(lanes, p, count * sizeof(float));
  return load(lanes);
}

inline void store_some(float* p, Floats value, uint64_t count) {
  float lanes[kLanes];
  store(lanes, value);
  std::memcpy(p, lanes, count * sizeof(float));
}

inline Floats to_floats(Ints value) { return __builtin_convertvector(value, Floats); }

// kLanes bytes, zero- or sign-extended.
#if defined(__AVX512F__)
inline Ints load_u8(const uint8_t* p) {
  return (Ints)_mm512_maskz_cvtepu8_epi32(kEveryLane,
                                          _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Ints load_s8(const uint8_t* p) {
  return (Ints)_mm512_maskz_cvtepi8_epi32(kEveryLane,
                                          _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
#elif defined(__AVX2__)
inline Ints load_u8(const uint8_t* p) {
  return (Ints)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline Ints load_s8(const uint8_t* p) {
  return (Ints)_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
#else
// Each byte in the highest quarter of its lane.
inline Ints load_high_bytes(const uint8_t* p) {
  int32_t word;
  std::memcpy(&word, p, sizeof(word));
#if defined(__SSE2__)  // has no shift by lane
  const __m128i bytes = _mm_cvtsi32_si128(word);
  const __m128i pairs = _mm_unpacklo_epi8(bytes, bytes);
  return (Ints)_mm_unpacklo_epi16(pairs, pairs);
#else
  return (Ints{} + word) << Ints{24, 16, 8, 0};
#endif
}
inline Ints load_u8(const uint8_t* p) { return (Ints)((UnsignedInts)load_high_bytes(p) >> 24); }
inline Ints load_s8(const uint8_t* p) { return load_high_bytes(p) >> 24; }
#endif

// kLanes nibbles from kLanes / 2 bytes, zero-extended, the low half of a byte first.
inline Ints load_nibbles(const uint8_t* p) {
  uint32_t words[(kLanes + 7) / 8] = {};
  std::memcpy(words, p, kLanes / 2);
  UnsignedInts word, shift;
  for (unsigned i = 0; i < kLanes; ++i) {
    word[i] = words[i / 8];
    shift[i] = 4 * (i % 8);
  }
  return (Ints)(word >> shift & 15);
}

// kLanes halves in GGUF byte order, at any alignment.
inline Floats load_f16(const uint8_t* p) {
#if defined(__AVX512F__)
  return (Floats)_mm512_maskz_cvtph_ps(kEveryLane,
                                       _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__AVX2__)
  return (Floats)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__aarch64__)
  typedef __fp16 Halves __attribute__((vector_size(2 * kLanes)));
  Halves halves;
  std::memcpy(&halves, p, sizeof(halves));
  return __builtin_convertvector(halves, Floats);
#else
#if defined(__SSE2__)
  const __m128i halves = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  const Ints bits = (Ints)_mm_unpacklo_epi16(halves, _mm_setzero_si128());
#else
  uint16_t halves[kLanes];
  std::memcpy(halves, p, sizeof(halves));
  const Ints bits = {halves[0], halves[1], halves[2], halves[3]};
#endif
  // As the scalar f16_to_f32.
  const Floats magnitude = (Floats)((bits & 0x7fff) << 13) * 0x1p112f;
  const Ints special = ((bits & 0x7c00) == 0x7c00) & 0x7f800000;
  return (Floats)((Ints)magnitude | special | (bits & 0x8000) << 16);
#endif
}

inline float f16_at(const uint8_t* p) {
#if defined(__aarch64__)
  __fp16 half;
  std::memcpy(&half, p, sizeof(half));
  return half;
#else
  uint16_t half;
  std::memcpy(&half, p, sizeof(half));
#if defined(__F16C__)
  return _cvtsh_ss(half);
#else
  return f16_to_f32(half);
#endif
#endif
}

// One value of all lanes in a fixed order: halves joined with halves, in registers.
template <typename Vector, typename Join>
inline float reduce(Vector value, const Join& join) {
  if constexpr (sizeof(Vector) == 2 * sizeof(float)) {
    return join(value[0], value[1]);
  } else {
    typedef float Half __attribute__((vector_size(sizeof(Vector) / 2)));
    Half low, high;
    std::memcpy(&low, &value, sizeof(low));
    std::memcpy(&high, reinterpret_cast<const char*>(&value) + sizeof(low), sizeof(high));
    return reduce(static_cast<Half>(join(low, high)), join);
  }
}

inline float sum_of(Floats value) {
  return reduce(value, [](auto a, auto b) { return a + b; });
}

inline float max_of(Floats value) {
  return reduce(value, [](auto a, auto b) { return a > b ? a : b; });
}

// exp(x) to about two units in the last place. Below -87 the result stays at exp(-87), above 88 at
// exp(88): neither matters to a softmax or a sigmoid. NaN stays NaN.
inline Floats exp_of(Floats x) {
  x = x < -87.0f ? all(-87.0f) : x;
  x = x > 88.0f ? all(88.0f) : x;
  // x = n ln 2 + r: adding 1.5 * 2^23 rounds to an integer; ln 2 in two parts keeps r exact.
  const Floats n = (x * 1.44269504f + 0x1.8p23f) - 0x1.8p23f;
  const Floats r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;
  Floats p = all(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Ints exponent = (__builtin_convertvector(n, Ints) + 127) << 23;
  return p * (Floats)exponent;
}

// limit * tanh(x / limit). From exp(-2|u|) in [0, 1], so that nothing overflows; the difference
// leaves an error of some 2^-24 of the limit.
inline Floats softcap(Floats x, float limit) {
  const Floats magnitude = x < 0.0f ? -x : x;
  const Floats power = exp_of(magnitude * (-2.0f / limit));
  const Floats capped = (1.0f - power) / (1.0f + power) * limit;
  return x < 0.0f ? -capped : capped;
}

}  // namespace
}  // namespace jllm::host::JLLM_HOST_ISA

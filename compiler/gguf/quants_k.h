// The types of the files beside quants.cpp (K types, nibbles through a table, ternary), and what
// the quantising files share.
#pragma once

#include <cstdint>

#include "schema/weight_type.h"

namespace jllm::gguf {

// Rounds to the nearest integer, ties to even, for |value| < 2^22. Unlike std::nearbyint the
// compiler turns it into two vector adds.
inline float round_small(float value) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: the sum has no fraction bits
  return (value + kMagic) - kMagic;
}

// Comparisons are written so that NaN gives `low`.
inline float clamp_to(float value, float low, float high) {
  const float above = value > low ? value : low;
  return above < high ? above : high;
}

// Scale s for which the integers q in [-limit, limit - 1] nearest to x / s give the least sum of
// (s q - x)^2 over the `count` (a multiple of 8) elements; 0 when all are 0. `importance` (may be
// null): factors on the squares.
float fit_symmetric_scale(const float* x, const float* importance, int count, float limit);

struct AffineFit {
  float scale;
  float min;  // x is about scale * q - min
};

// Least-squares scale and minimum of `size` elements (a multiple of 8) for integers up to `limit`,
// over a few candidate roundings. `signed_min`: the minimum may be below 0.
AffineFit fit_affine(const float* x, const float* importance, int size, float limit,
                     bool signed_min);

// Where a row's importance goes on; null stays null.
inline const float* at(const float* importance, uint64_t index) {
  return importance != nullptr ? importance + index : nullptr;
}

// Q4_K or Q5_K.
void dequantise_q45_k(const uint8_t* blocks, float* out, uint64_t count, WeightType type);
void quantise_q45_k(const float* in, const float* importance, uint8_t* blocks, uint64_t count,
                    WeightType type);
void dequantise_q6_k(const uint8_t* blocks, float* out, uint64_t count);
void quantise_q6_k(const float* in, const float* importance, uint8_t* blocks, uint64_t count);
void dequantise_q2_k(const uint8_t* blocks, float* out, uint64_t count);
void quantise_q2_k(const float* in, const float* importance, uint8_t* blocks, uint64_t count);
void dequantise_q3_k(const uint8_t* blocks, float* out, uint64_t count);
void quantise_q3_k(const float* in, const float* importance, uint8_t* blocks, uint64_t count);
void dequantise_iq4_nl(const uint8_t* blocks, float* out, uint64_t count);
void quantise_iq4_nl(const float* in, const float* importance, uint8_t* blocks, uint64_t count);
void dequantise_iq4_xs(const uint8_t* blocks, float* out, uint64_t count);
void quantise_iq4_xs(const float* in, const float* importance, uint8_t* blocks, uint64_t count);
void dequantise_mxfp4(const uint8_t* blocks, float* out, uint64_t count);
void quantise_mxfp4(const float* in, const float* importance, uint8_t* blocks, uint64_t count);
void dequantise_tq1_0(const uint8_t* blocks, float* out, uint64_t count);
void quantise_tq1_0(const float* in, const float* importance, uint8_t* blocks, uint64_t count);
void dequantise_tq2_0(const uint8_t* blocks, float* out, uint64_t count);
void quantise_tq2_0(const float* in, const float* importance, uint8_t* blocks, uint64_t count);
void dequantise_q2_0(const uint8_t* blocks, float* out, uint64_t count);
void quantise_q2_0(const float* in, const float* importance, uint8_t* blocks, uint64_t count);

}  // namespace jllm::gguf

// Half-precision conversions, the 32-element block types, and the dispatch over all types.
#include "compiler/gguf/quants.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "compiler/gguf/load.h"
#include "compiler/gguf/quants_k.h"

namespace jllm::gguf {
namespace {

constexpr int kBlock = 32;
constexpr int kLanes = 8;  // independent partial sums, which the compiler keeps in vector registers

void store_u16(uint8_t* address, uint16_t value) { std::memcpy(address, &value, sizeof(value)); }

// Half-size blocks with a signed scale: {d; qs} and {d; qh; qs}.
struct ScaledBlock {
  uint16_t d;  // fp16
  float integers[kBlock];
};

// Quantises one block to integers in [-limit, limit - 1], with the scale as it will be stored.
ScaledBlock quantise_symmetric(const float* x, const float* importance, float limit) {
  ScaledBlock block;
  block.d = f32_to_f16(fit_symmetric_scale(x, importance, kBlock, limit));
  const float d = f16_to_f32(block.d);
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  for (int i = 0; i < kBlock; ++i) {
    block.integers[i] = round_small(clamp_to(x[i] * inverse, -limit, limit - 1));
  }
  return block;
}

void quantise_q4_0(const float* in, const float* importance, uint8_t* blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kBlock, blocks += 18) {
    const ScaledBlock block = quantise_symmetric(in + i, at(importance, i), 8);
    store_u16(blocks, block.d);
    for (int j = 0; j < 16; ++j) {
      const int low = static_cast<int>(block.integers[j]) + 8;
      const int high = static_cast<int>(block.integers[j + 16]) + 8;
      blocks[2 + j] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

// The fifth bits of 32 integers as a word, their nibbles in the order of GGUF.
void store_five_bits(const uint8_t* integers, uint8_t* high, uint8_t* nibbles) {
  uint32_t fifth_bits = 0;
  for (int j = 0; j < 16; ++j) {
    nibbles[j] = static_cast<uint8_t>((integers[j] & 15) | (integers[j + 16] & 15) << 4);
    fifth_bits |= static_cast<uint32_t>(integers[j] >> 4) << j;
    fifth_bits |= static_cast<uint32_t>(integers[j + 16] >> 4) << (j + 16);
  }
  if (high != nullptr) std::memcpy(high, &fifth_bits, sizeof(fifth_bits));
}

void quantise_q5_0(const float* in, const float* importance, uint8_t* blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kBlock, blocks += 22) {
    const ScaledBlock block = quantise_symmetric(in + i, at(importance, i), 16);
    store_u16(blocks, block.d);
    uint8_t integers[kBlock];
    for (int j = 0; j < kBlock; ++j) {
      integers[j] = static_cast<uint8_t>(static_cast<int>(block.integers[j]) + 16);
    }
    store_five_bits(integers, blocks + 2, blocks + 6);
  }
}

// {d; m; qs} and {d; m; qh; qs}: w = d q + m.
void quantise_affine(const float* in, const float* importance, uint8_t* blocks, uint64_t count,
                     WeightType type) {
  const bool fifth = type == WeightType::kQ5_1;
  const float limit = fifth ? 31 : 15;
  for (uint64_t i = 0; i < count; i += kBlock, blocks += block_shape(type).bytes) {
    const auto [low, high] = std::minmax_element(in + i, in + i + kBlock);
    AffineFit fit = {(*high - *low) / limit, -*low};
    if (importance != nullptr) fit = fit_affine(in + i, importance + i, kBlock, limit, true);
    const uint16_t d_bits = f32_to_f16(fit.scale), m_bits = f32_to_f16(-fit.min);
    const float d = f16_to_f32(d_bits), m = f16_to_f32(m_bits);
    const float inverse = d != 0 ? 1.0f / d : 0.0f;
    uint8_t integers[kBlock];
    for (int j = 0; j < kBlock; ++j) {
      const float q = round_small(clamp_to((in[i + j] - m) * inverse, 0, limit));
      integers[j] = static_cast<uint8_t>(q);
    }
    store_u16(blocks, d_bits);
    store_u16(blocks + 2, m_bits);
    store_five_bits(integers, fifth ? blocks + 4 : nullptr, blocks + (fifth ? 8 : 4));
  }
}

void dequantise_affine(const uint8_t* blocks, float* out, uint64_t count, WeightType type) {
  const bool fifth = type == WeightType::kQ5_1;
  for (uint64_t i = 0; i < count; i += kBlock, blocks += block_shape(type).bytes) {
    const float d = f16_to_f32(load<uint16_t>(blocks)), m = f16_to_f32(load<uint16_t>(blocks + 2));
    const uint32_t fifth_bits = fifth ? load<uint32_t>(blocks + 4) : 0;
    const uint8_t* nibbles = blocks + (fifth ? 8 : 4);
    for (int j = 0; j < kBlock; ++j) {
      const int q = nibbles[j % 16] >> (j / 16 * 4) & 15;
      out[i + j] = static_cast<float>(q | static_cast<int>(fifth_bits >> j & 1) << 4) * d + m;
    }
  }
}

// With 255 steps a search gains nothing: the largest value takes the largest integer.
void quantise_q8_0(const float* in, uint8_t* blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kBlock, blocks += 34) {
    float largest = 0;
    for (int j = 0; j < kBlock; ++j) largest = std::max(largest, std::fabs(in[i + j]));
    const uint16_t d_bits = f32_to_f16(largest / 127);
    const float d = f16_to_f32(d_bits);
    const float inverse = d != 0 ? 1.0f / d : 0.0f;
    store_u16(blocks, d_bits);
    for (int j = 0; j < kBlock; ++j) {
      const float q = round_small(clamp_to(in[i + j] * inverse, -127, 127));
      blocks[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(q));
    }
  }
}

// {d; bits}: of the values +d and -d the nearest is that of the same sign, and the best d is the
// mean magnitude.
constexpr int kSignBlock = 128;

void quantise_q1_0(const float* in, const float* importance, uint8_t* blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kSignBlock, blocks += 18) {
    float sum = 0, weights = 0;
    std::memset(blocks + 2, 0, kSignBlock / 8);
    for (uint64_t j = 0; j < kSignBlock; ++j) {
      const float weight = importance != nullptr ? importance[i + j] : 1.0f;
      sum += weight * std::fabs(in[i + j]);
      weights += weight;
      if (in[i + j] >= 0) blocks[2 + j / 8] |= static_cast<uint8_t>(1 << j % 8);
    }
    store_u16(blocks, f32_to_f16(sum / weights));
  }
}

void dequantise_q1_0(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kSignBlock, blocks += 18) {
    const float d = f16_to_f32(load<uint16_t>(blocks));
    for (int j = 0; j < kSignBlock; ++j) {
      out[i + j] = (blocks[2 + j / 8] >> j % 8 & 1) != 0 ? d : -d;
    }
  }
}

void dequantise_q4_0(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kBlock, blocks += 18) {
    const float d = f16_to_f32(load<uint16_t>(blocks));
    for (int j = 0; j < 16; ++j) {
      out[i + j] = static_cast<float>((blocks[2 + j] & 15) - 8) * d;
      out[i + j + 16] = static_cast<float>((blocks[2 + j] >> 4) - 8) * d;
    }
  }
}

void dequantise_q5_0(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kBlock, blocks += 22) {
    const float d = f16_to_f32(load<uint16_t>(blocks));
    const auto fifth_bits = load<uint32_t>(blocks + 2);
    for (int j = 0; j < 16; ++j) {
      const auto low = static_cast<int>((fifth_bits >> j & 1) << 4 | (blocks[6 + j] & 15));
      const auto high = static_cast<int>((fifth_bits >> (j + 16) & 1) << 4 | blocks[6 + j] >> 4);
      out[i + j] = static_cast<float>(low - 16) * d;
      out[i + j + 16] = static_cast<float>(high - 16) * d;
    }
  }
}

void dequantise_q8_0(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kBlock, blocks += 34) {
    const float d = f16_to_f32(load<uint16_t>(blocks));
    for (int j = 0; j < kBlock; ++j) {
      out[i + j] = static_cast<float>(static_cast<int8_t>(blocks[2 + j])) * d;
    }
  }
}

struct SymmetricFit {
  float scale;
  float gain;  // what it takes away from the squared error
};

// Candidates map the extreme to integers around -limit. Given the integers, the best scale is
// sum(x q) / sum(q q), and the squared error falls by sum(x q)^2 / sum(q q).
template <bool kWeighted>
void consider(const float* x, const float* importance, int count, float limit, float inverse,
              SymmetricFit* best) {
  float xq[kLanes] = {};
  float qq[kLanes] = {};
  for (int i = 0; i < count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float value = x[i + lane];
      const float weight = kWeighted ? importance[i + lane] : 1.0f;
      const float q = round_small(clamp_to(value * inverse, -limit, limit - 1));
      xq[lane] += weight * (value * q);
      qq[lane] += weight * (q * q);
    }
  }
  for (int lane = 1; lane < kLanes; ++lane) {
    xq[0] += xq[lane];
    qq[0] += qq[lane];
  }
  if (!(qq[0] > 0 && xq[0] * xq[0] > best->gain * qq[0])) return;
  *best = {xq[0] / qq[0], xq[0] * xq[0] / qq[0]};
}

}  // namespace

float f16_to_f32(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00) {  // infinity or NaN
    return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  }
  // Moving the exponent field leaves it 112 too small; a multiplication by 2^112 mends it and
  // normalises subnormals as well.
  const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
}

uint16_t f32_to_f16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);   // NaN
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to infinity
  uint32_t half;
  if (magnitude < 0x38800000u) {
    // Subnormal in fp16: the sum with 0.5 has 2^-24 as its last bit, and the adder rounds.
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    half = std::bit_cast<uint32_t>(sum) - std::bit_cast<uint32_t>(0.5f);
  } else {
    const uint32_t odd = magnitude >> 13 & 1;
    half = (magnitude - (112u << 23) + 0xfff + odd) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 64);  // NaN
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float fit_symmetric_scale(const float* x, const float* importance, int count, float limit) {
  float low = 0;
  float high = 0;
  for (int i = 0; i < count; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  // The side with the larger values takes the side of the range with one integer more.
  const float extreme = -low > high ? low : high;
  if (extreme == 0) return 0;
  SymmetricFit best = {-extreme / limit, 0};
  for (int step = -4; step <= 4; ++step) {
    const float inverse = -(limit + 0.175f * static_cast<float>(step)) / extreme;
    if (importance == nullptr) {
      consider<false>(x, nullptr, count, limit, inverse, &best);
    } else {
      consider<true>(x, importance, count, limit, inverse, &best);
    }
  }
  // Extremes that matter little may be cut off.
  for (int step = 1; importance != nullptr && step <= 10; ++step) {
    const float inverse = -limit * (1 + 0.1f * static_cast<float>(step)) / extreme;
    consider<true>(x, importance, count, limit, inverse, &best);
  }
  return best.scale;
}

void dequantise(WeightType type, const uint8_t* blocks, float* out, uint64_t count) {
  switch (type) {
    case WeightType::kF32:
      std::memcpy(out, blocks, count * sizeof(float));
      break;
    case WeightType::kF16:
      for (uint64_t i = 0; i < count; ++i) out[i] = f16_to_f32(load<uint16_t>(blocks + 2 * i));
      break;
    case WeightType::kBF16:
      for (uint64_t i = 0; i < count; ++i) out[i] = bf16_to_f32(load<uint16_t>(blocks + 2 * i));
      break;
    case WeightType::kQ4_0:
      dequantise_q4_0(blocks, out, count);
      break;
    case WeightType::kQ5_0:
      dequantise_q5_0(blocks, out, count);
      break;
    case WeightType::kQ4_1:
    case WeightType::kQ5_1:
      dequantise_affine(blocks, out, count, type);
      break;
    case WeightType::kQ8_0:
      dequantise_q8_0(blocks, out, count);
      break;
    case WeightType::kQ4_K:
    case WeightType::kQ5_K:
      dequantise_q45_k(blocks, out, count, type);
      break;
    case WeightType::kQ6_K:
      dequantise_q6_k(blocks, out, count);
      break;
    case WeightType::kQ1_0:
      dequantise_q1_0(blocks, out, count);
      break;
    case WeightType::kQ2_0:
      dequantise_q2_0(blocks, out, count);
      break;
    case WeightType::kQ2_K:
      dequantise_q2_k(blocks, out, count);
      break;
    case WeightType::kQ3_K:
      dequantise_q3_k(blocks, out, count);
      break;
    case WeightType::kIQ4_NL:
      dequantise_iq4_nl(blocks, out, count);
      break;
    case WeightType::kIQ4_XS:
      dequantise_iq4_xs(blocks, out, count);
      break;
    case WeightType::kMXFP4:
      dequantise_mxfp4(blocks, out, count);
      break;
    case WeightType::kTQ1_0:
      dequantise_tq1_0(blocks, out, count);
      break;
    case WeightType::kTQ2_0:
      dequantise_tq2_0(blocks, out, count);
      break;
  }
}

void quantise(WeightType type, const float* in, uint8_t* blocks, uint64_t count,
              const float* importance) {
  switch (type) {
    case WeightType::kF32:
      std::memcpy(blocks, in, count * sizeof(float));
      break;
    case WeightType::kF16:
      for (uint64_t i = 0; i < count; ++i) store_u16(blocks + 2 * i, f32_to_f16(in[i]));
      break;
    case WeightType::kBF16:
      for (uint64_t i = 0; i < count; ++i) store_u16(blocks + 2 * i, f32_to_bf16(in[i]));
      break;
    case WeightType::kQ4_0:
      quantise_q4_0(in, importance, blocks, count);
      break;
    case WeightType::kQ5_0:
      quantise_q5_0(in, importance, blocks, count);
      break;
    case WeightType::kQ4_1:
    case WeightType::kQ5_1:
      quantise_affine(in, importance, blocks, count, type);
      break;
    case WeightType::kQ8_0:
      quantise_q8_0(in, blocks, count);
      break;
    case WeightType::kQ4_K:
    case WeightType::kQ5_K:
      quantise_q45_k(in, importance, blocks, count, type);
      break;
    case WeightType::kQ6_K:
      quantise_q6_k(in, importance, blocks, count);
      break;
    case WeightType::kQ1_0:
      quantise_q1_0(in, importance, blocks, count);
      break;
    case WeightType::kQ2_0:
      quantise_q2_0(in, importance, blocks, count);
      break;
    case WeightType::kQ2_K:
      quantise_q2_k(in, importance, blocks, count);
      break;
    case WeightType::kQ3_K:
      quantise_q3_k(in, importance, blocks, count);
      break;
    case WeightType::kIQ4_NL:
      quantise_iq4_nl(in, importance, blocks, count);
      break;
    case WeightType::kIQ4_XS:
      quantise_iq4_xs(in, importance, blocks, count);
      break;
    case WeightType::kMXFP4:
      quantise_mxfp4(in, importance, blocks, count);
      break;
    case WeightType::kTQ1_0:
      quantise_tq1_0(in, importance, blocks, count);
      break;
    case WeightType::kTQ2_0:
      quantise_tq2_0(in, importance, blocks, count);
      break;
  }
}

}  // namespace jllm::gguf

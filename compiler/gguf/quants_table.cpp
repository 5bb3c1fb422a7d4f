// IQ4_NL, IQ4_XS and MXFP4: nibbles that stand for the integers of a table, times a scale.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "compiler/gguf/load.h"
#include "compiler/gguf/quants.h"
#include "compiler/gguf/quants_k.h"
#include "schema/row_layout.h"

namespace jllm::gguf {
namespace {

constexpr int kBlock = 32;
// IQ4_XS: {d; scales_h u16; scales_l[4]; qs[128]}, eight sub-blocks of 32, w = d (scale - 32) T[q].
constexpr int kSubBlocks = 8;
constexpr int kIQ4XSQuants = 8;  // offset of qs

float value_of(WeightType type, int nibble) {
  return nibble_value(static_cast<unsigned>(type), static_cast<unsigned>(nibble));
}

// The nibble whose value is nearest to `x`; the first for NaN.
int nearest(WeightType type, float x) {
  int best = 0;
  for (int i = 1; i < 16; ++i) {
    if (std::fabs(value_of(type, i) - x) < std::fabs(value_of(type, best) - x)) best = i;
  }
  return best;
}

// Scale of 32 elements of IQ4_NL or IQ4_XS: candidates put the extreme near either end of the
// table.
float fit_table_scale(const float* x, const float* importance) {
  constexpr WeightType kType = WeightType::kIQ4_NL;
  float extreme = 0;
  for (int i = 0; i < kBlock; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  if (extreme == 0) return 0;
  float best_scale = extreme / value_of(kType, 0), best_gain = 0;
  for (const int end : {0, 15}) {
    for (int step = -3; step <= 3; ++step) {
      const float inverse = (value_of(kType, end) + 3.0f * static_cast<float>(step)) / extreme;
      float xq = 0, qq = 0;
      for (int i = 0; i < kBlock; ++i) {
        const float q = value_of(kType, nearest(kType, x[i] * inverse));
        const float weight = importance != nullptr ? importance[i] : 1.0f;
        xq += weight * x[i] * q;
        qq += weight * q * q;
      }
      if (xq * xq > best_gain * qq) {
        best_gain = xq * xq / qq;
        best_scale = xq / qq;
      }
    }
  }
  return best_scale;
}

// The nibbles of 32 elements.
void store_nibbles(WeightType type, const float* x, float scale, uint8_t* out) {
  const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
  for (int j = 0; j < 16; ++j) {
    out[j] = static_cast<uint8_t>(nearest(type, x[j] * inverse) | nearest(type, x[j + 16] * inverse)
                                                                      << 4);
  }
}

void load_nibbles(WeightType type, const uint8_t* nibbles, float scale, float* out) {
  for (int j = 0; j < 16; ++j) {
    out[j] = scale * value_of(type, nibbles[j] & 15);
    out[j + 16] = scale * value_of(type, nibbles[j] >> 4);
  }
}

// 2^(exponent - 128).
float power_of_two(uint8_t exponent) {
  const uint32_t bits = exponent < 2 ? 0x200000u << exponent : (exponent - 1u) << 23;
  return std::bit_cast<float>(bits);
}

// What a scale loses of 32 elements.
float table_error(WeightType type, const float* x, const float* importance, float scale) {
  float error = 0;
  for (int i = 0; i < kBlock; ++i) {
    const float miss = scale * value_of(type, nearest(type, x[i] / scale)) - x[i];
    error += importance[i] * miss * miss;
  }
  return error;
}

// The exponent that takes the largest magnitude to 8 or 12, the largest of the 4-bit floats; with
// importance a neighbour where it loses less.
uint8_t fit_exponent(const float* x, const float* importance) {
  float largest = 0;
  for (int i = 0; i < kBlock; ++i) largest = std::max(largest, std::fabs(x[i]));
  if (largest == 0) return 0;
  const int usual = (std::isinf(largest) ? 128 : std::ilogb(largest)) + 125;
  const auto clamped = [](int e) { return static_cast<uint8_t>(std::clamp(e, 0, 254)); };
  uint8_t best = clamped(usual);
  if (importance == nullptr) return best;
  constexpr WeightType kType = WeightType::kMXFP4;
  float least = table_error(kType, x, importance, power_of_two(best));
  for (const int e : {usual - 1, usual + 1}) {
    const float error = table_error(kType, x, importance, power_of_two(clamped(e)));
    if (error >= least) continue;
    least = error;
    best = clamped(e);
  }
  return best;
}

}  // namespace

void dequantise_iq4_nl(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kBlock, blocks += 18) {
    load_nibbles(WeightType::kIQ4_NL, blocks + 2, f16_to_f32(load<uint16_t>(blocks)), out + i);
  }
}

void quantise_iq4_nl(const float* in, const float* importance, uint8_t* blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kBlock, blocks += 18) {
    const uint16_t d = f32_to_f16(fit_table_scale(in + i, at(importance, i)));
    std::memcpy(blocks, &d, sizeof(d));
    store_nibbles(WeightType::kIQ4_NL, in + i, f16_to_f32(d), blocks + 2);
  }
}

void dequantise_iq4_xs(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t i = 0; i < count; blocks += 136) {
    const float d = f16_to_f32(load<uint16_t>(blocks));
    const int high = load<uint16_t>(blocks + 2);
    for (int j = 0; j < kSubBlocks; ++j, i += kBlock) {
      const int scale = (blocks[4 + j / 2] >> 4 * (j % 2) & 15) | (high >> 2 * j & 3) << 4;
      load_nibbles(WeightType::kIQ4_XS, blocks + kIQ4XSQuants + 16 * j,
                   d * static_cast<float>(scale - 32), out + i);
    }
  }
}

void quantise_iq4_xs(const float* in, const float* importance, uint8_t* blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kSubBlocks * kBlock, blocks += 136) {
    float scales[kSubBlocks];
    float extreme = 0;
    for (int j = 0; j < kSubBlocks; ++j) {
      const uint64_t first = i + static_cast<uint64_t>(j * kBlock);
      scales[j] = fit_table_scale(in + first, at(importance, first));
      if (std::fabs(scales[j]) > std::fabs(extreme)) extreme = scales[j];
    }
    const uint16_t d_bits = f32_to_f16(extreme / -32);
    const float d = f16_to_f32(d_bits);
    const float inverse = d != 0 ? 1.0f / d : 0.0f;
    uint16_t high = 0;
    std::memset(blocks + 4, 0, 4);
    for (int j = 0; j < kSubBlocks; ++j) {
      const float scale = round_small(clamp_to(scales[j] * inverse, -32, 31));
      const int stored = static_cast<int>(scale) + 32;
      blocks[4 + j / 2] |= static_cast<uint8_t>((stored & 15) << 4 * (j % 2));
      high = static_cast<uint16_t>(high | (stored >> 4) << 2 * j);
      store_nibbles(WeightType::kIQ4_XS, in + i + j * kBlock, d * scale,
                    blocks + kIQ4XSQuants + 16 * j);
    }
    std::memcpy(blocks, &d_bits, sizeof(d_bits));
    std::memcpy(blocks + 2, &high, sizeof(high));
  }
}

void dequantise_mxfp4(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kBlock, blocks += 17) {
    load_nibbles(WeightType::kMXFP4, blocks + 1, power_of_two(blocks[0]), out + i);
  }
}

void quantise_mxfp4(const float* in, const float* importance, uint8_t* blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kBlock, blocks += 17) {
    blocks[0] = fit_exponent(in + i, at(importance, i));
    store_nibbles(WeightType::kMXFP4, in + i, power_of_two(blocks[0]), blocks + 1);
  }
}

}  // namespace jllm::gguf

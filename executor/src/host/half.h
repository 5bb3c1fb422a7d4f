// Scalar conversions between f32 and the 16-bit formats, in integer and exact float steps only.
// Internal linkage: isa/ compiles them with flags that the rest must not pick up.
#pragma once

#include <cstdint>
#include <cstring>

namespace jllm::host {

static inline float float_from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

static inline uint32_t bits_from_float(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

static inline float f16_to_f32(uint16_t half) {
  // Moves exponent and mantissa to their f32 places and mends the bias by a multiplication, which
  // is exact and normalises subnormals; infinity and NaN need the full exponent.
  const uint32_t magnitude = static_cast<uint32_t>(half & 0x7fff) << 13;
  uint32_t bits = bits_from_float(float_from_bits(magnitude) * 0x1p112f);
  if ((half & 0x7c00) == 0x7c00) bits |= 0x7f800000;
  return float_from_bits(bits | static_cast<uint32_t>(half & 0x8000) << 16);
}

// Rounds to nearest, ties to even.
static inline uint16_t f32_to_f16(float value) {
  const uint32_t bits = bits_from_float(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;  // 65520 and more round to infinity
  if (magnitude < 0x38800000) {
    // Below 2^-14 the unit is 2^-24: adding 0.5, whose last bit has that weight, rounds to it.
    const float sum = float_from_bits(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (bits_from_float(sum) - 0x3f000000));
  }
  magnitude += 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000) >> 13));
}

}  // namespace jllm::host

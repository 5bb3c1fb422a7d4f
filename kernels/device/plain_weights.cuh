// Weight<type> (weights.cuh) of the types whose weights stand one behind the other: whole bytes,
// floats, single bits.
#pragma once

#include "kernels/device/plane_weights.cuh"

namespace jllm::device {

// Units of consecutive weights.
template <unsigned kWeights>
struct PlainUnit {
  static constexpr unsigned kUnit = kWeights;
  static constexpr unsigned kInFlight = 4;
  static constexpr bool kHasMinimum = false;
  static constexpr bool kTwoScales = false;
  static constexpr unsigned first(unsigned chunk) { return 8 * chunk; }
  static constexpr unsigned second(unsigned chunk) { return 8 * chunk + 4; }
};

template <>
struct Weight<kRowQ8_0> : PlainUnit<16> {
  struct Raw {
    Uint4 quants;
    unsigned short scale;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights(row + 16 * unit), load_weights2(row + length + 2 * (unit / 2))};
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void values(const Raw& raw, float (&v)[8]) {
    // Flipping the sign bit turns s8 into u8 + 128.
    const unsigned low = (kChunk == 0 ? raw.quants.x : raw.quants.z) ^ 0x80808080u;
    const unsigned high = (kChunk == 0 ? raw.quants.y : raw.quants.w) ^ 0x80808080u;
    NibbleUnit::spread(low, high, 128.0f, v);
  }
  static JLLM_DEVICE float scale(const Raw& raw, unsigned) { return half_to_float(raw.scale); }
  static JLLM_DEVICE float minimum(const Raw&, unsigned) { return 0.0f; }
};

// A unit is four bytes of signs: a whole 16-byte load would reach over four sub-blocks.
template <>
struct Weight<kRowQ1_0> : PlainUnit<32> {
  static constexpr unsigned kInFlight = 8;
  struct Raw {
    unsigned signs;
    unsigned short scale;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights4(row + 4 * unit), load_weights2(row + length / 8 + 2 * (unit / 4))};
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void values(const Raw& raw, float (&v)[8]) {
#pragma unroll
    for (unsigned i = 0; i < 8; ++i) {
      // Bit 1: +1, bit 0: -1.
      v[i] = bits_to_float(0xbf800000u ^ (raw.signs << (31 - 8 * kChunk - i) & 0x80000000u));
    }
  }
  static JLLM_DEVICE float scale(const Raw& raw, unsigned) { return half_to_float(raw.scale); }
  static JLLM_DEVICE float minimum(const Raw&, unsigned) { return 0.0f; }
};

template <>
struct Weight<kRowF16> : PlainUnit<8> {
  struct Raw {
    Uint4 quants;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned) {
    return {load_weights(row + 16 * unit)};
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void values(const Raw& raw, float (&v)[8]) {
    const Uint4& q = raw.quants;
    v[0] = low_half(q.x), v[1] = high_half(q.x), v[2] = low_half(q.y), v[3] = high_half(q.y);
    v[4] = low_half(q.z), v[5] = high_half(q.z), v[6] = low_half(q.w), v[7] = high_half(q.w);
  }
  static JLLM_DEVICE float scale(const Raw&, unsigned) { return 1.0f; }
  static JLLM_DEVICE float minimum(const Raw&, unsigned) { return 0.0f; }
};

template <>
struct Weight<kRowBF16> : PlainUnit<8> {
  struct Raw {
    Uint4 quants;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned) {
    return {load_weights(row + 16 * unit)};
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void values(const Raw& raw, float (&v)[8]) {
    const Uint4& q = raw.quants;
    v[0] = low_bfloat(q.x), v[1] = high_bfloat(q.x), v[2] = low_bfloat(q.y),
    v[3] = high_bfloat(q.y);
    v[4] = low_bfloat(q.z), v[5] = high_bfloat(q.z), v[6] = low_bfloat(q.w),
    v[7] = high_bfloat(q.w);
  }
  static JLLM_DEVICE float scale(const Raw&, unsigned) { return 1.0f; }
  static JLLM_DEVICE float minimum(const Raw&, unsigned) { return 0.0f; }
};

template <>
struct Weight<kRowF32> : PlainUnit<8> {
  static constexpr unsigned kInFlight = 2;
  struct Raw {
    Uint4 low, high;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    Raw raw = {load_weights(row + 32 * unit), {0, 0, 0, 0}};
    if (8 * unit + 4 < length) raw.high = load_weights(row + 32 * unit + 16);
    return raw;
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void values(const Raw& raw, float (&v)[8]) {
    v[0] = bits_to_float(raw.low.x), v[1] = bits_to_float(raw.low.y);
    v[2] = bits_to_float(raw.low.z), v[3] = bits_to_float(raw.low.w);
    v[4] = bits_to_float(raw.high.x), v[5] = bits_to_float(raw.high.y);
    v[6] = bits_to_float(raw.high.z), v[7] = bits_to_float(raw.high.w);
  }
  static JLLM_DEVICE float scale(const Raw&, unsigned) { return 1.0f; }
  static JLLM_DEVICE float minimum(const Raw&, unsigned) { return 0.0f; }
};

}  // namespace jllm::device

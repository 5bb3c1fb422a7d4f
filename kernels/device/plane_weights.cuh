// Weight<type> (weights.cuh) of the types whose units are 32 weights that lie in planes: nibbles,
// pairs of bits, high bits, scales.
#pragma once

#include "kernels/device/quants.cuh"

namespace jllm::device {

template <unsigned kType>
struct Weight;  // weights.cuh says what each has

// Nibble planes: a unit is 16 bytes, byte j holds weight j low and weight j + 16 high.
struct NibbleUnit {
  static constexpr unsigned kUnit = 32;
  static constexpr unsigned kInFlight = 4;
  static constexpr bool kHasMinimum = false;
  static constexpr bool kTwoScales = false;
  static constexpr bool kNibbles = false;
  static constexpr bool kSigned = false;
  static constexpr int kOffset = 0;
  static constexpr unsigned first(unsigned chunk) { return 4 * chunk; }
  static constexpr unsigned second(unsigned chunk) { return 16 + 4 * chunk; }

  template <unsigned kChunk>
  static JLLM_DEVICE unsigned word(const Uint4& v) {
    return kChunk == 0 ? v.x : kChunk == 1 ? v.y : kChunk == 2 ? v.z : v.w;
  }
  // bytes() of the four chunks.
  template <typename W, typename Raw>
  static JLLM_DEVICE void all_chunks(const Raw& raw, Uint4* low, Uint4* high) {
    W::template chunk_bytes<0>(raw, &low->x, &high->x);
    W::template chunk_bytes<1>(raw, &low->y, &high->y);
    W::template chunk_bytes<2>(raw, &low->z, &high->z);
    W::template chunk_bytes<3>(raw, &low->w, &high->w);
  }
  static JLLM_DEVICE void spread(unsigned low, unsigned high, float offset, float (&v)[8]) {
    v[0] = byte_minus<0>(low, offset), v[1] = byte_minus<1>(low, offset);
    v[2] = byte_minus<2>(low, offset), v[3] = byte_minus<3>(low, offset);
    v[4] = byte_minus<0>(high, offset), v[5] = byte_minus<1>(high, offset);
    v[6] = byte_minus<2>(high, offset), v[7] = byte_minus<3>(high, offset);
  }
};

template <>
struct Weight<kRowQ4_0> : NibbleUnit {
  static constexpr bool kNibbles = true;
  static constexpr int kOffset = 8;
  struct Raw {
    Uint4 quants;
    unsigned short scale;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights(row + 16 * unit), load_weights2(row + length / 2 + 2 * unit)};
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void values(const Raw& raw, float (&v)[8]) {
    const unsigned w = word<kChunk>(raw.quants);
    spread(w & 0x0f0f0f0fu, w >> 4 & 0x0f0f0f0fu, 8.0f, v);
  }
  static JLLM_DEVICE float scale(const Raw& raw, unsigned) { return half_to_float(raw.scale); }
  static JLLM_DEVICE float minimum(const Raw&, unsigned) { return 0.0f; }
};

// Scale and minimum of 32 weights, as raw.factors: d and m of scale * q + m.
struct FactorPair {
  static constexpr bool kHasMinimum = true;
  template <typename Raw>
  static JLLM_DEVICE float scale(const Raw& raw, unsigned) {
    return low_half(raw.factors);
  }
  template <typename Raw>
  static JLLM_DEVICE float minimum(const Raw& raw, unsigned) {
    return -high_half(raw.factors);
  }
  // Of a sum of products of integers and the sum of the activations alone, both as integers.
  template <typename Raw>
  static JLLM_DEVICE float lowered(const Raw& raw, int dot, int sum) {
    return sum_of_products(low_half(raw.factors), (float)dot, high_half(raw.factors), (float)sum);
  }
};

// Scale and minimum of 6 bits each in a header of 256 weights.
struct FactorHeader {
  static constexpr bool kHasMinimum = true;
  struct Header {
    Uint4 header;  // d and dmin as halves, then 96 bits: eight 6-bit scales, eight 6-bit minima
    unsigned shift;
  };
  static JLLM_DEVICE Header load_header(const Bytes* headers, unsigned unit) {
    return {load_weights(headers + 16 * (unit / 8)), 6 * (unit % 8)};
  }
  static JLLM_DEVICE unsigned six_bits(unsigned low, unsigned high, unsigned shift) {
    const unsigned long long bits = (unsigned long long)high << 32 | low;
    return (unsigned)(bits >> shift) & 63u;
  }
  static JLLM_DEVICE unsigned scale_bits(const Header& raw) {
    return six_bits(raw.header.y, raw.header.z, raw.shift);
  }
  static JLLM_DEVICE unsigned minimum_bits(const Header& raw) {
    return six_bits(raw.header.z, raw.header.w, raw.shift + 16);
  }
  template <typename Raw>
  static JLLM_DEVICE float scale(const Raw& raw, unsigned) {
    return low_half(raw.factors.header.x) * byte_minus<0>(scale_bits(raw.factors), 0.0f);
  }
  template <typename Raw>
  static JLLM_DEVICE float minimum(const Raw& raw, unsigned) {
    return high_half(raw.factors.header.x) * byte_minus<0>(minimum_bits(raw.factors), 0.0f);
  }
  template <typename Raw>
  static JLLM_DEVICE float lowered(const Raw& raw, int dot, int sum) {
    const Header& h = raw.factors;
    return sum_of_products(low_half(h.header.x), (float)(dot * (int)scale_bits(h)),
                           -high_half(h.header.x), (float)(sum * (int)minimum_bits(h)));
  }
};

// Nibbles, and in raw.high a fifth bit of each weight.
template <int kFiveOffset>
struct FiveBitUnit : NibbleUnit {
  static constexpr int kOffset = kFiveOffset;
  template <unsigned kChunk, typename Raw>
  static JLLM_DEVICE void chunk_bytes(const Raw& raw, unsigned* low, unsigned* high) {
    const unsigned w = word<kChunk>(raw.quants);
    *low = (w & 0x0f0f0f0fu) | spread_bits<4>(raw.high >> (4 * kChunk));
    *high = (w >> 4 & 0x0f0f0f0fu) | spread_bits<4>(raw.high >> (16 + 4 * kChunk));
  }
  template <unsigned kChunk, typename Raw>
  static JLLM_DEVICE void values(const Raw& raw, float (&v)[8]) {
    unsigned low, high;
    chunk_bytes<kChunk>(raw, &low, &high);
    spread(low, high, (float)kOffset, v);
  }
  template <typename Raw>
  static JLLM_DEVICE void bytes(const Raw& raw, Uint4* low, Uint4* high) {
    all_chunks<FiveBitUnit>(raw, low, high);
  }
};

// Nibbles as they are.
struct FourBitUnit : NibbleUnit {
  static constexpr bool kNibbles = true;
  template <unsigned kChunk, typename Raw>
  static JLLM_DEVICE void values(const Raw& raw, float (&v)[8]) {
    const unsigned w = word<kChunk>(raw.quants);
    spread(w & 0x0f0f0f0fu, w >> 4 & 0x0f0f0f0fu, 0.0f, v);
  }
};

template <>
struct Weight<kRowQ5_0> : FiveBitUnit<16> {
  struct Raw {
    Uint4 quants;
    unsigned high;
    unsigned short scale;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights(row + 16 * unit), load_weights4(row + length / 2 + 4 * unit),
            load_weights2(row + length / 2 + length / 8 + 2 * unit)};
  }
  static JLLM_DEVICE float scale(const Raw& raw, unsigned) { return half_to_float(raw.scale); }
  static JLLM_DEVICE float minimum(const Raw&, unsigned) { return 0.0f; }
};

template <>
struct Weight<kRowQ4_1> : FourBitUnit, FactorPair {
  using FactorPair::kHasMinimum;
  struct Raw {
    Uint4 quants;
    unsigned factors;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights(row + 16 * unit), load_weights4(row + length / 2 + 4 * unit)};
  }
};

template <>
struct Weight<kRowQ5_1> : FiveBitUnit<0>, FactorPair {
  using FactorPair::kHasMinimum;
  struct Raw {
    Uint4 quants;
    unsigned high;
    unsigned factors;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights(row + 16 * unit), load_weights4(row + length / 2 + 4 * unit),
            load_weights4(row + length / 2 + length / 8 + 4 * unit)};
  }
};

template <>
struct Weight<kRowQ4_K> : FourBitUnit, FactorHeader {
  using FactorHeader::kHasMinimum;
  struct Raw {
    Uint4 quants;
    Header factors;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights(row + 16 * unit), load_header(row + length / 2, unit)};
  }
};

template <>
struct Weight<kRowQ5_K> : FiveBitUnit<0>, FactorHeader {
  static constexpr unsigned kInFlight = 2;  // four of two matrices spill
  using FactorHeader::kHasMinimum;
  struct Raw {
    Uint4 quants;
    unsigned high;
    Header factors;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights(row + 16 * unit), load_weights4(row + length / 2 + 4 * unit),
            load_header(row + length / 2 + length / 8, unit)};
  }
};

// A signed scale of 8 bits for each half in raw.scales, and in raw.super their f16 factor.
struct SignedScales {
  static constexpr bool kTwoScales = true;
  template <typename Raw>
  static JLLM_DEVICE float signed_scale(const Raw& raw, unsigned half) {
    return (float)(signed char)(half == 0 ? raw.scales : raw.scales >> 8);
  }
  template <typename Raw>
  static JLLM_DEVICE float super(const Raw& raw) {
    return half_to_float(raw.super);
  }
  template <typename Raw>
  static JLLM_DEVICE float scale(const Raw& raw, unsigned half) {
    return super(raw) * signed_scale(raw, half);
  }
  template <typename Raw>
  static JLLM_DEVICE float minimum(const Raw&, unsigned) {
    return 0.0f;
  }
};

template <>
struct Weight<kRowQ6_K> : NibbleUnit, SignedScales {
  using SignedScales::kTwoScales;
  static constexpr int kOffset = 32;
  struct Raw {
    Uint4 quants;
    Uint2 pairs;            // byte j: bits 4..5 of weights j, j + 8, j + 16, j + 24
    unsigned short scales;  // two s8
    unsigned short super;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights(row + 16 * unit), load_weights8(row + length / 2 + 8 * unit),
            load_weights2(row + length / 2 + length / 4 + 2 * unit),
            load_weights2(row + length / 2 + length / 4 + length / 16 + 2 * (unit / 8))};
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void chunk_bytes(const Raw& raw, unsigned* low, unsigned* high) {
    const unsigned w = word<kChunk>(raw.quants);
    const unsigned pairs = kChunk % 2 == 0 ? raw.pairs.x : raw.pairs.y;
    const unsigned first = kChunk < 2 ? pairs << 4 : pairs << 2;  // weights 4c ..
    const unsigned second = kChunk < 2 ? pairs : pairs >> 2;      // weights 16 + 4c ..
    *low = (w & 0x0f0f0f0fu) | (first & 0x30303030u);
    *high = (w >> 4 & 0x0f0f0f0fu) | (second & 0x30303030u);
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void values(const Raw& raw, float (&v)[8]) {
    unsigned low, high;
    chunk_bytes<kChunk>(raw, &low, &high);
    spread(low, high, 32.0f, v);
  }
  static JLLM_DEVICE void bytes(const Raw& raw, Uint4* low, Uint4* high) {
    all_chunks<Weight>(raw, low, high);
  }
};

// Two bits of each weight in raw.pairs: byte j holds weights j, j + 8, j + 16, j + 24.
struct PairUnit : NibbleUnit {
  template <unsigned kChunk, typename Raw>
  static JLLM_DEVICE void pairs_of(const Raw& raw, unsigned* low, unsigned* high) {
    const unsigned pairs = (kChunk % 2 == 0 ? raw.pairs.x : raw.pairs.y) >> (kChunk < 2 ? 0 : 2);
    *low = pairs & 0x03030303u;
    *high = pairs >> 4 & 0x03030303u;
  }
};

// A scale for each 256 or 64 weights, as tq2_0 and q2_0 have it: value = pair - 1.
template <unsigned kShared>
struct TernaryUnit : PairUnit {
  static constexpr int kOffset = 1;
  struct Raw {
    Uint2 pairs;
    unsigned short scale;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights8(row + 8 * unit),
            load_weights2(row + length / 4 + 2 * (unit / (kShared / 32)))};
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void chunk_bytes(const Raw& raw, unsigned* low, unsigned* high) {
    pairs_of<kChunk>(raw, low, high);
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void values(const Raw& raw, float (&v)[8]) {
    unsigned low, high;
    chunk_bytes<kChunk>(raw, &low, &high);
    spread(low, high, (float)kOffset, v);
  }
  static JLLM_DEVICE void bytes(const Raw& raw, Uint4* low, Uint4* high) {
    all_chunks<TernaryUnit>(raw, low, high);
  }
  static JLLM_DEVICE float scale(const Raw& raw, unsigned) { return half_to_float(raw.scale); }
  static JLLM_DEVICE float minimum(const Raw&, unsigned) { return 0.0f; }
};

template <>
struct Weight<kRowTQ2_0> : TernaryUnit<256> {};
template <>
struct Weight<kRowQ2_0> : TernaryUnit<64> {};

template <>
struct Weight<kRowQ2_K> : PairUnit {
  static constexpr bool kHasMinimum = true;
  static constexpr bool kTwoScales = true;
  struct Raw {
    Uint2 pairs;
    unsigned short factors;  // of either half: scale, minimum << 4
    unsigned super;          // d, dmin
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights8(row + 8 * unit), load_weights2(row + length / 4 + 2 * unit),
            load_weights4(row + length / 4 + length / 16 + 4 * (unit / 8))};
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void chunk_bytes(const Raw& raw, unsigned* low, unsigned* high) {
    pairs_of<kChunk>(raw, low, high);
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void values(const Raw& raw, float (&v)[8]) {
    unsigned low, high;
    chunk_bytes<kChunk>(raw, &low, &high);
    spread(low, high, 0.0f, v);
  }
  static JLLM_DEVICE void bytes(const Raw& raw, Uint4* low, Uint4* high) {
    all_chunks<Weight>(raw, low, high);
  }
  static JLLM_DEVICE int scale_bits(const Raw& raw, unsigned half) {
    return raw.factors >> (8 * half) & 15;
  }
  static JLLM_DEVICE int minimum_bits(const Raw& raw, unsigned half) {
    return raw.factors >> (8 * half + 4) & 15;
  }
  static JLLM_DEVICE float scale(const Raw& raw, unsigned half) {
    return low_half(raw.super) * (float)scale_bits(raw, half);
  }
  static JLLM_DEVICE float minimum(const Raw& raw, unsigned half) {
    return high_half(raw.super) * (float)minimum_bits(raw, half);
  }
  // Of the sums of products and of activations of both halves.
  static JLLM_DEVICE float lowered(const Raw& raw, int dot, int other_dot, int sum, int other_sum) {
    const int dots = dot * scale_bits(raw, 0) + other_dot * scale_bits(raw, 1);
    const int sums = sum * minimum_bits(raw, 0) + other_sum * minimum_bits(raw, 1);
    return sum_of_products(low_half(raw.super), (float)dots, -high_half(raw.super), (float)sums);
  }
};

// A unit is eight bytes of pairs and four of high bits.
template <>
struct Weight<kRowQ3_K> : PairUnit, SignedScales {
  using SignedScales::kTwoScales;
  static constexpr int kOffset = 4;
  struct Raw {
    Uint2 pairs;
    unsigned high;
    unsigned short scales;  // two s8
    unsigned short super;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    const Bytes *quants = row + 12 * unit, *scales = row + length / 32 * 12;
    return {{load_weights4(quants), load_weights4(quants + 4)},
            load_weights4(quants + 8),
            load_weights2(scales + 2 * unit),
            load_weights2(scales + length / 16 + 2 * (unit / 8))};
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void chunk_bytes(const Raw& raw, unsigned* low, unsigned* high) {
    pairs_of<kChunk>(raw, low, high);
    *low |= spread_bits<2>(raw.high >> (4 * kChunk));
    *high |= spread_bits<2>(raw.high >> (16 + 4 * kChunk));
  }
  template <unsigned kChunk>
  static JLLM_DEVICE void values(const Raw& raw, float (&v)[8]) {
    unsigned low, high;
    chunk_bytes<kChunk>(raw, &low, &high);
    spread(low, high, 4.0f, v);
  }
  static JLLM_DEVICE void bytes(const Raw& raw, Uint4* low, Uint4* high) {
    all_chunks<Weight>(raw, low, high);
  }
};

// Nibbles that stand for the integers of a table.
template <unsigned kType>
struct TableUnit : NibbleUnit {
  static constexpr bool kSigned = true;
  template <unsigned kChunk, typename Raw>
  static JLLM_DEVICE void chunk_bytes(const Raw& raw, unsigned* low, unsigned* high) {
    look_up<kType>(word<kChunk>(raw.quants), low, high);
  }
  template <unsigned kChunk, typename Raw>
  static JLLM_DEVICE void values(const Raw& raw, float (&v)[8]) {
    unsigned low, high;
    chunk_bytes<kChunk>(raw, &low, &high);
    // Flipping the sign bit turns s8 into u8 + 128.
    spread(low ^ 0x80808080u, high ^ 0x80808080u, 128.0f, v);
  }
  template <typename Raw>
  static JLLM_DEVICE void bytes(const Raw& raw, Uint4* low, Uint4* high) {
    all_chunks<TableUnit>(raw, low, high);
  }
  template <typename Raw>
  static JLLM_DEVICE float minimum(const Raw&, unsigned) {
    return 0.0f;
  }
};

template <>
struct Weight<kRowIQ4_NL> : TableUnit<kRowIQ4_NL> {
  struct Raw {
    Uint4 quants;
    unsigned short scale;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights(row + 16 * unit), load_weights2(row + length / 2 + 2 * unit)};
  }
  static JLLM_DEVICE float scale(const Raw& raw, unsigned) { return half_to_float(raw.scale); }
};

template <>
struct Weight<kRowIQ4_XS> : TableUnit<kRowIQ4_XS> {
  static constexpr unsigned kInFlight = 2;  // four of two matrices spill
  struct Raw {
    Uint4 quants;
    Uint2 header;  // d, upper pairs of the eight scales; their low halves
    unsigned sub_block;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights(row + 16 * unit), load_weights8(row + length / 2 + 8 * (unit / 8)),
            unit % 8};
  }
  static JLLM_DEVICE float scale(const Raw& raw, unsigned) {
    const unsigned low = raw.header.y >> (4 * raw.sub_block) & 15u;
    const unsigned high = raw.header.x >> (16 + 2 * raw.sub_block) & 3u;
    return low_half(raw.header.x) * byte_minus<0>(low | high << 4, 32.0f);
  }
};

template <>
struct Weight<kRowMXFP4> : TableUnit<kRowMXFP4> {
  struct Raw {
    Uint4 quants;
    unsigned exponent;
  };
  static JLLM_DEVICE Raw load(const Bytes* row, unsigned unit, unsigned length) {
    return {load_weights(row + 16 * unit), load_weights1(row + length / 2 + unit)};
  }
  static JLLM_DEVICE float scale(const Raw& raw, unsigned) { return power_of_two(raw.exponent); }
};

}  // namespace jllm::device

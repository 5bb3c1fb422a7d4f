// How a weight matrix is stored in a CUDA plan: each row is a run of planes, quants first and
// scales behind them, so that one 16-byte load of a lane is one 32-weight sub-block and consecutive
// lanes read consecutive bytes. Row-addressable (embedding lookup) and exactly as many bits per
// weight as in the GGUF (q3_k: 114 bytes for 110), up to the padding of a row to 16 bytes. Shared
// by the repacker and the device sources (NVRTC-clean).
//
// Planes of one row of K weights, in order (offsets are from the row's start):
//   f32, f16, bf16  values[K]
//   q8_0   quants s8[K]            | scales f16[K/32]
//   q4_0   nibbles u8[K/2]         | scales f16[K/32]
//   q5_0   nibbles u8[K/2]         | high bits u32[K/32], bit j = weight j | scales f16[K/32]
//   q4_1   nibbles u8[K/2]         | d f16, m f16 per 32
//   q5_1   nibbles u8[K/2]         | high bits as q5_0 | d f16, m f16 per 32
//   q4_k   nibbles u8[K/2]         | headers 16 B per 256: d f16, dmin f16, then 96 bits: eight
//                                    6-bit scales, eight 6-bit minima, bit-packed little-endian
//   q5_k   nibbles u8[K/2]         | high bits as q5_0 | headers as q4_k
//   q6_k   low nibbles u8[K/2]     | high pairs 8 B per 32 | scales s8[K/16] | d f16[K/256]
//   iq4_nl nibbles u8[K/2]         | scales f16[K/32]
//   iq4_xs nibbles u8[K/2]         | headers 8 B per 256: d f16, then as in GGUF the upper two bits
//                                    of eight scales, u16, and their low halves, u32
//   mxfp4  nibbles u8[K/2]         | exponents u8[K/32]
//   q2_k   pairs 8 B per 32        | scale low, minimum high u8[K/16] | d f16, dmin f16 per 256
//   q3_k   pairs, high bits u32, 12 B per 32 | scales s8[K/16] | d f16[K/256]
//   tq2_0  pairs 8 B per 32        | scales f16[K/256]
//   q2_0   pairs 8 B per 32        | scales f16[K/64]
//   q1_0   signs u8[K/8], bit j % 8 of byte j / 8 | scales f16[K/128]
// nibbles: per 32 weights 16 bytes; byte j holds weight j in its low half and weight j + 16 in its
// high half. pairs: byte j of 8 holds two bits of weights j, j + 8, j + 16, j + 24, lowest pair
// first; the high ones of q6_k are bits 4..5. q6_k value = d * scale[w / 16] * (low | high << 4) -
// 32 * d * scale; q3_k value = d * scale[w / 16] * (pair + 4 * high bit - 4); other formulas as in
// GGUF, where tq1_0 has become tq2_0.
#pragma once

namespace jllm {

// Same ids as WeightType; plain integers so that device code needs no enum class.
constexpr unsigned kRowF32 = 0, kRowF16 = 1, kRowQ4_0 = 2, kRowQ4_1 = 3, kRowQ5_0 = 6, kRowQ5_1 = 7,
                   kRowQ8_0 = 8, kRowQ2_K = 10, kRowQ3_K = 11, kRowQ4_K = 12, kRowQ5_K = 13,
                   kRowQ6_K = 14, kRowIQ4_NL = 20, kRowIQ4_XS = 23, kRowBF16 = 30, kRowTQ2_0 = 35,
                   kRowMXFP4 = 39, kRowQ1_0 = 41, kRowQ2_0 = 42;

// What the nibbles of some types stand for, before the scale: of iq4_nl and iq4_xs, and of mxfp4
// (4-bit floats, doubled; the scale is 2^(exponent - 128)).
constexpr bool has_nibble_table(unsigned type) {
  return type == kRowIQ4_NL || type == kRowIQ4_XS || type == kRowMXFP4;
}
constexpr signed char nibble_value(unsigned type, unsigned nibble) {
  constexpr signed char kCurve[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
  constexpr signed char kFloats[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  return type == kRowMXFP4 ? kFloats[nibble] : kCurve[nibble];
}

struct RowLayout {
  unsigned long long high;    // offset of the high-bit plane, bytes (0: none)
  unsigned long long scales;  // offset of the scale or header plane, bytes (0: none)
  unsigned long long super;   // offset of the per-256 scale plane (q2_k, q3_k, q6_k) (0: none)
  unsigned long long end;     // bytes of a row before its padding
  unsigned long long stride;  // bytes from one row to the next, a multiple of 16 (0: type unknown)
};

// k must be a multiple of the type's block (1, 32, 128 or 256) and small enough that k * 4 fits 64
// bits.
constexpr RowLayout row_layout(unsigned type, unsigned long long k) {
  RowLayout r = {0, 0, 0, 0, 0};
  switch (type) {
    case kRowF32:
      r.end = k * 4;
      break;
    case kRowF16:
    case kRowBF16:
      r.end = k * 2;
      break;
    case kRowQ8_0:
      r.scales = k;
      r.end = k + k / 16;
      break;
    case kRowQ4_0:
    case kRowQ4_K:
    case kRowIQ4_NL:
      r.scales = k / 2;
      r.end = k / 2 + k / 16;
      break;
    case kRowQ4_1:
      r.scales = k / 2;
      r.end = k / 2 + k / 8;
      break;
    case kRowQ5_0:
    case kRowQ5_K:
      r.high = k / 2;
      r.scales = k / 2 + k / 8;
      r.end = r.scales + k / 16;
      break;
    case kRowQ5_1:
      r.high = k / 2;
      r.scales = k / 2 + k / 8;
      r.end = r.scales + k / 8;
      break;
    case kRowQ6_K:
      r.high = k / 2;
      r.scales = k / 2 + k / 4;
      r.super = r.scales + k / 16;
      r.end = r.super + k / 128;
      break;
    case kRowIQ4_XS:
    case kRowMXFP4:
      r.scales = k / 2;
      r.end = k / 2 + k / 32;
      break;
    case kRowQ2_K:
      r.scales = k / 4;
      r.super = r.scales + k / 16;
      r.end = r.super + k / 64;
      break;
    case kRowQ3_K:
      r.scales = k / 32 * 12;
      r.super = r.scales + k / 16;
      r.end = r.super + k / 128;
      break;
    case kRowTQ2_0:
      r.scales = k / 4;
      r.end = k / 4 + k / 128;
      break;
    case kRowQ2_0:
      r.scales = k / 4;
      r.end = k / 4 + k / 32;
      break;
    case kRowQ1_0:
      r.scales = k / 8;
      r.end = k / 8 + k / 64;
      break;
    default:
      return r;
  }
  r.stride = (r.end + 15) / 16 * 16;
  return r;
}

}  // namespace jllm

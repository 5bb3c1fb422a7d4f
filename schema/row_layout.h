// How a weight matrix is stored in a CUDA plan: each row is a run of planes, quants first and
// scales behind them, so that one 16-byte load of a lane is one 32-weight sub-block and consecutive
// lanes read consecutive bytes. Row-addressable (embedding lookup) and exactly as many bits per
// weight as in the GGUF, up to the padding of a row to 16 bytes. Shared by the repacker and the
// device sources (NVRTC-clean).
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
//   q1_0   signs u8[K/8], bit j % 8 of byte j / 8 | scales f16[K/128]
// nibbles: per 32 weights 16 bytes; byte j holds weight j in its low half and weight j + 16 in its
// high half. high pairs (q6_k): byte j of 8 holds bits 4..5 of weights j, j + 8, j + 16, j + 24,
// lowest pair first. q6_k value = d * scale[w / 16] * (low | high << 4) - 32 * d * scale; other
// formulas as in GGUF.
#pragma once

namespace jllm {

// Same ids as WeightType; plain integers so that device code needs no enum class.
constexpr unsigned kRowF32 = 0, kRowF16 = 1, kRowQ4_0 = 2, kRowQ4_1 = 3, kRowQ5_0 = 6, kRowQ5_1 = 7,
                   kRowQ8_0 = 8, kRowQ4_K = 12, kRowQ5_K = 13, kRowQ6_K = 14, kRowBF16 = 30,
                   kRowQ1_0 = 41;

struct RowLayout {
  unsigned long long high;    // offset of the high-bit plane, bytes (0: none)
  unsigned long long scales;  // offset of the scale or header plane, bytes (0: none)
  unsigned long long super;   // offset of the per-256 scale plane (q6_k), bytes (0: none)
  unsigned long long stride;  // bytes from one row to the next, a multiple of 16 (0: type unknown)
};

// k must be a multiple of the type's block (1, 32, 128 or 256) and small enough that k * 4 fits 64
// bits.
constexpr RowLayout row_layout(unsigned type, unsigned long long k) {
  RowLayout r = {0, 0, 0, 0};
  unsigned long long end = 0;
  switch (type) {
    case kRowF32:
      end = k * 4;
      break;
    case kRowF16:
    case kRowBF16:
      end = k * 2;
      break;
    case kRowQ8_0:
      r.scales = k;
      end = k + k / 16;
      break;
    case kRowQ4_0:
    case kRowQ4_K:
      r.scales = k / 2;
      end = k / 2 + k / 16;
      break;
    case kRowQ4_1:
      r.scales = k / 2;
      end = k / 2 + k / 8;
      break;
    case kRowQ5_0:
    case kRowQ5_K:
      r.high = k / 2;
      r.scales = k / 2 + k / 8;
      end = r.scales + k / 16;
      break;
    case kRowQ5_1:
      r.high = k / 2;
      r.scales = k / 2 + k / 8;
      end = r.scales + k / 8;
      break;
    case kRowQ6_K:
      r.high = k / 2;
      r.scales = k / 2 + k / 4;
      r.super = r.scales + k / 16;
      end = r.super + k / 128;
      break;
    case kRowQ1_0:
      r.scales = k / 8;
      end = k / 8 + k / 64;
      break;
    default:
      return r;
  }
  r.stride = (end + 15) / 16 * 16;
  return r;
}

}  // namespace jllm

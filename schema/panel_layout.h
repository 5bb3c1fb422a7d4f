// How a quantised weight matrix is stored for the integer products of the host: in panels of 16
// rows, so that a vector register holds four successive weights of each of 16 (or 8, or 4) rows and
// one instruction multiplies them with the same four activations. As many bytes as in the GGUF
// (q3_k: 114 for 110, iq4_xs: 138 for 136), once the number of rows is rounded up to whole panels;
// padding is zero.
//
// A panel is a run of records, one per GGUF block position; a record holds that block of all 16
// rows. Byte r * 4 + i of a 64-byte vector belongs to row r. A group is 32 weights of each row; its
// step j (of 8) is the weights 4 j .. 4 j + 3, weight 4 j + i in place i. Per group:
//   nibbles u8[4][64]  vector v: step v in the low halves, step v + 4 in the high halves
//   pairs   u8[2][64]  two bits: vector v, bits 2 i and 2 i + 1: step 4 v + i
//   bits    u8[64]     bit j: step j
//   bytes   s8[8][64]  vector j: step j
// Records, in order; [16]: one for each row; value = scale * quant - minimum:
//   q4_0  nibbles | d f16[16]                         scale d, minimum 8 d
//   q5_0  nibbles | bits | d f16[16]                  quant nibble + 16 bit; scale d, minimum 16 d
//   q4_1  nibbles | d f16[16] | m f16[16]             scale d, minimum -m
//   q5_1  nibbles | bits | d f16[16] | m f16[16]      quant nibble + 16 bit; scale d, minimum -m
//   q8_0  bytes | d f16[16]                           scale d, minimum 0
//   q1_0  bits[4 groups] | d f16[16]                  scale 2 d, minimum d
//   q4_k  nibbles[8 groups] | packed u32[3][16] | d f16[16] | dmin f16[16]
//         packed: the GGUF block's 12 bytes of 6-bit scales and minima
//   q5_k  nibbles[8 groups] | bits[8 groups] | packed, d, dmin as q4_k
//   q6_k  nibbles[8 groups] | pairs[8 groups] | scales s8[16][16] | d f16[16]
//         quant nibble + 16 pair; scales[s] of the 16 weights from 16 s on: scale d * s,
//         minimum 32 d * s
//   q3_k  pairs[8 groups] | bits[8 groups] | scales, d as q6_k
//         quant pair + 4 bit; minimum 4 d * s
//   q2_k  pairs[8 groups] | scales u8[16][16] | d f16[16] | dmin f16[16]
//         of the 16 weights from 16 s on: scale d * low half of scales[s], minimum dmin * high half
//   tq2_0 pairs[8 groups] | d f16[16]; q2_0 pairs[2 groups] | d f16[16]: scale d, minimum d
//   iq4_nl  nibbles | d f16[16]                       quant nibble_value(nibble); minimum 0
//   iq4_xs  nibbles[8 groups] | scales s8[8][16] | d f16[16]
//           as iq4_nl; scales[g] of group g: scale d * s
//   mxfp4   nibbles | exponents u8[16]                as iq4_nl; scale 2^(exponent - 128)
#pragma once

#include <cstdint>

#include "schema/weight_type.h"

namespace jllm {

constexpr uint64_t kPanelRows = 16;
constexpr uint64_t kPanelGroup = 32;
constexpr uint64_t kPanelVector = 64;                // bytes of a step
constexpr uint64_t kNibbleBytes = 4 * kPanelVector;  // of a group
constexpr uint64_t kPairBytes = 2 * kPanelVector;    // of a group
constexpr uint64_t kHalvesBytes = 2 * kPanelRows;    // one f16 per row
constexpr uint64_t kPackedBytes = 12 * kPanelRows;   // scales and minima of a q4_k, q5_k record

constexpr bool has_panels(WeightType type) {
  return type != WeightType::kF32 && type != WeightType::kF16 && type != WeightType::kBF16 &&
         type != WeightType::kTQ1_0 && block_shape(type).bytes != 0;
}

// Types whose quants are pairs of bits (q3_k: and one more).
constexpr bool has_only_pairs(WeightType type) {
  return type == WeightType::kQ2_K || type == WeightType::kQ3_K || type == WeightType::kTQ2_0 ||
         type == WeightType::kQ2_0;
}

// Types with a signed scale of 8 bits for each so many weights (0: others), behind the quants.
constexpr uint64_t signed_scale_weights(WeightType type) {
  return type == WeightType::kIQ4_XS                              ? 32
         : type == WeightType::kQ3_K || type == WeightType::kQ6_K ? 16
                                                                  : 0;
}

// Types whose records have a plane of fifth bits behind all nibbles.
constexpr bool has_fifth_bits(WeightType type) {
  return type == WeightType::kQ5_0 || type == WeightType::kQ5_1 || type == WeightType::kQ5_K;
}

// Of the quants of four or five bits, which open a record.
constexpr uint64_t nibble_quants_bytes(WeightType type) {
  return block_shape(type).elements / kPanelGroup *
         (kNibbleBytes + (has_fifth_bits(type) ? kPanelVector : 0));
}

// Of all quants, which open a record.
constexpr uint64_t quants_bytes(WeightType type) {
  const uint64_t groups = block_shape(type).elements / kPanelGroup;
  if (type == WeightType::kQ8_0) return groups * 2 * kNibbleBytes;
  if (type == WeightType::kQ1_0) return groups * kPanelVector;
  if (type == WeightType::kQ3_K) return groups * (kPairBytes + kPanelVector);
  if (has_only_pairs(type)) return groups * kPairBytes;
  return nibble_quants_bytes(type) + (type == WeightType::kQ6_K ? groups * kPairBytes : 0);
}

constexpr uint64_t panel_record_bytes(WeightType type) {
  const uint64_t shared = signed_scale_weights(type);
  if (shared == 0) return kPanelRows * block_shape(type).bytes;
  return quants_bytes(type) + kPanelRows * (block_shape(type).elements / shared) + kHalvesBytes;
}

// Of a panel of rows of k weights, a multiple of the type's block.
constexpr uint64_t panel_bytes(WeightType type, uint64_t k) {
  return k / block_shape(type).elements * panel_record_bytes(type);
}

constexpr uint64_t panel_count(uint64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

}  // namespace jllm

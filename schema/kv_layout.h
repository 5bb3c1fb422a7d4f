// How a KV cache lies in memory and how values enter it. Shared by the planner, the host backend
// and the device sources (NVRTC-clean). K and V have a cache of their own each, of independent
// types.
//
// A cache is one buffer of rows = heads * context vectors of head_dim elements; position p of head
// h is row h * context + p. Its planes, in order, each from a multiple of 16 bytes on:
//   f32, f16  values[rows][head_dim]
//   q8_0      quants s8[rows][head_dim]        | scales f16[rows][head_dim / 32]
//   q4_0      nibbles u8[rows][head_dim / 2]   | scales f16[rows][head_dim / 32]
// Byte j of a row of nibbles holds element 2j in its low half and element 2j + 1 in its high half.
//
// Quantising a group of 32, every step in f32 and rounded to nearest even, so that all backends
// store the same bytes for the same values; m is the element of largest magnitude, of two such the
// negative one:
//   q8_0  scale = f16(|m| / 127), quant = clamp(round(x / scale), -127, 127)
//         value = quant * scale
//   q4_0  scale = f16(m / -8), nibble = clamp(round(x / scale) + 8, 0, 15)
//         value = (nibble - 8) * scale
// where x / scale is x * (1 / scale). As in GGUF's types of these names m gets the end of the range
// that reaches further; unlike there quants count in units of the scale as it is stored, not before
// its rounding. A scale of zero gives the quants of zero. So does one that is not finite, and the
// group reads as NaN: what a model gone wrong puts into the cache comes out as bad logits instead
// of vanishing.
//
// Keys in q4_0 are rotated: every block of kv_rotation() elements is multiplied by the orthonormal
// Hadamard matrix H[i][j] = (-1)^popcount(i & j) / sqrt(block) before it is quantised, and so are
// queries before they meet keys. Dot products stay, but an outlying channel, which every head of a
// rope model has, is spread over the block instead of swallowing the 4-bit range of its group. The
// sums run over bit 0 of the index first, then bit 1 and so on, the factor comes last.
#pragma once

namespace jllm {

// Same ids as WeightType; plain integers so that device code needs no enum class.
constexpr unsigned kKvF32 = 0, kKvF16 = 1, kKvQ4_0 = 2, kKvQ8_0 = 8;

// Elements of a scale; head_dim is a multiple of it in quantised caches.
constexpr unsigned kKvGroup = 32;

// Largest block of a rotation, in elements.
constexpr unsigned kMaxKvRotation = 256;

constexpr bool kv_is_quantised(unsigned type) { return type == kKvQ8_0 || type == kKvQ4_0; }

struct KvLayout {
  unsigned long long row;        // bytes of values or quants per row; 0: there is no such cache
  unsigned long long scale_row;  // bytes of scales per row
  unsigned long long scales;     // offset of the scale plane (0: none)
  unsigned long long bytes;      // of the whole cache
};

// rows * head_dim * 4 must fit 64 bits.
constexpr KvLayout kv_layout(unsigned type, unsigned long long rows, unsigned long long head_dim) {
  KvLayout l = {0, 0, 0, 0};
  switch (type) {
    case kKvF32:
      l.row = head_dim * 4;
      break;
    case kKvF16:
      l.row = head_dim * 2;
      break;
    case kKvQ8_0:
      l.row = head_dim;
      break;
    case kKvQ4_0:
      l.row = head_dim / 2;
      break;
    default:
      return l;
  }
  if (kv_is_quantised(type)) {
    if (head_dim % kKvGroup != 0) return {0, 0, 0, 0};
    l.scale_row = head_dim / kKvGroup * 2;
    l.scales = rows * l.row;
  }
  l.bytes = rows * (l.row + l.scale_row);
  return l;
}

// Elements of a rotation block of keys of this type: the largest power of two that divides
// head_dim, at most kMaxKvRotation; 0 where keys are not rotated.
constexpr unsigned kv_rotation(unsigned key_type, unsigned long long head_dim) {
  if (key_type != kKvQ4_0) return 0;
  unsigned block = 1;
  while (block < kMaxKvRotation && head_dim % (2ull * block) == 0) block *= 2;
  return block;
}

}  // namespace jllm

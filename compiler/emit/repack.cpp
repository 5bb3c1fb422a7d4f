// One function per weight type, each handling one GGUF block; the loops are plain byte loops of
// constant length, which compilers turn into vector code.
#include "compiler/emit/repack.h"

#include <cassert>
#include <cstring>

#include "compiler/emit/block_scales.h"
#include "schema/row_layout.h"

namespace jllm {
namespace {

// Where a row's planes start in the output.
struct Planes {
  uint8_t* quants;
  uint8_t* high;
  uint8_t* scales;
  uint8_t* super;
};

constexpr uint64_t kLowNibbles = 0x0f0f0f0f0f0f0f0f, kLowPairs = 0x0303030303030303;

uint64_t load8(const uint8_t* at) {
  uint64_t value;
  std::memcpy(&value, at, 8);
  return value;
}

void store8(uint8_t* at, uint64_t value) { std::memcpy(at, &value, 8); }

// The low (shift 0) or high (shift 4) nibbles of 32 bytes, one weight each, to the 16 bytes of a
// nibble sub-block: weight j beside weight j + 16.
void put_nibbles(const uint8_t* from, int shift, uint8_t* out) {
  for (int j = 0; j < 16; j += 8) {
    const uint64_t low = load8(from + j) >> shift & kLowNibbles;
    const uint64_t high = load8(from + j + 16) >> shift & kLowNibbles;
    store8(out + j, low | high << 4);
  }
}

// Two bits of each of 32 bytes to the 8 bytes of a sub-block of pairs.
void put_pairs(const uint8_t* from, int shift, uint8_t* out) {
  uint64_t pairs = 0;
  for (int j = 0; j < 4; ++j) pairs |= (load8(from + 8 * j) >> shift & kLowPairs) << (2 * j);
  store8(out, pairs);
}

// 64 bytes of pairs, each of 32 bytes of four sub-blocks, to one place every `step` bytes.
void put_all_pairs(const uint8_t* from, uint64_t step, uint8_t* out) {
  for (int sub = 0; sub < 8; ++sub) {
    put_pairs(from + sub / 4 * 32, sub % 4 * 2, out + uint64_t(sub) * step);
  }
}

// Bit `bit` of 32 bytes as a word.
void put_bits(const uint8_t* from, int bit, uint8_t* out) {
  uint32_t word = 0;
  for (int j = 0; j < 32; ++j) word |= uint32_t{from[j] >> bit & 1u} << j;
  std::memcpy(out, &word, sizeof word);
}

// Block `b` of a row: f16 scale, 16 bytes of nibbles in the order that we keep.
void q4_0(const uint8_t* block, uint64_t b, const Planes& to) {
  std::memcpy(to.scales + 2 * b, block, 2);
  std::memcpy(to.quants + 16 * b, block + 2, 16);
}

// f16 scale, 32 high bits, 16 bytes of nibbles.
void q5_0(const uint8_t* block, uint64_t b, const Planes& to) {
  std::memcpy(to.scales + 2 * b, block, 2);
  std::memcpy(to.high + 4 * b, block + 2, 4);
  std::memcpy(to.quants + 16 * b, block + 6, 16);
}

// f16 scale and minimum, 16 bytes of nibbles.
void q4_1(const uint8_t* block, uint64_t b, const Planes& to) {
  std::memcpy(to.scales + 4 * b, block, 4);
  std::memcpy(to.quants + 16 * b, block + 4, 16);
}

// f16 scale and minimum, 32 high bits, 16 bytes of nibbles.
void q5_1(const uint8_t* block, uint64_t b, const Planes& to) {
  std::memcpy(to.scales + 4 * b, block, 4);
  std::memcpy(to.high + 4 * b, block + 4, 4);
  std::memcpy(to.quants + 16 * b, block + 8, 16);
}

// f16 scale, 32 bytes.
void q8_0(const uint8_t* block, uint64_t b, const Planes& to) {
  std::memcpy(to.scales + 2 * b, block, 2);
  std::memcpy(to.quants + 32 * b, block + 2, 32);
}

// d, dmin, 12 bytes of scales and minima, in front of Q4_K's and Q5_K's blocks.
void k_header(const uint8_t* block, uint64_t b, const Planes& to) {
  const uint8_t* packed = block + 4;
  uint64_t scales = 0, minima = 0;  // 48 bits each
  for (int j = 0; j < 8; ++j) {
    const int low = j & 3;
    uint64_t scale, minimum;
    if (j < 4) {
      scale = packed[low] & 63u;
      minimum = packed[low + 4] & 63u;
    } else {
      scale = (packed[low + 8] & 15u) | (packed[low] >> 6) << 4;
      minimum = packed[low + 8] >> 4 | (packed[low + 4] >> 6) << 4;
    }
    scales |= scale << (6 * j);
    minima |= minimum << (6 * j);
  }
  uint8_t* header = to.scales + 16 * b;
  std::memcpy(header, block, 4);
  const uint64_t low_bits = scales | minima << 48;
  const uint32_t high_bits = uint32_t(minima >> 16);
  std::memcpy(header + 4, &low_bits, 8);
  std::memcpy(header + 12, &high_bits, 4);
}

// 128 bytes of nibbles: each 32 bytes hold 32 weights low and the next 32 high.
void k_nibbles(const uint8_t* quants, uint64_t b, const Planes& to) {
  for (int group = 0; group < 4; ++group) {
    const uint8_t* from = quants + 32 * group;
    uint8_t* out = to.quants + 128 * b + 32 * group;
    put_nibbles(from, 0, out);
    put_nibbles(from, 4, out + 16);
  }
}

void q4_k(const uint8_t* block, uint64_t b, const Planes& to) {
  k_header(block, b, to);
  k_nibbles(block + 16, b, to);
}

// Between header and nibbles 32 bytes: bit s of byte j is the high one of weight j of sub-block s.
void q5_k(const uint8_t* block, uint64_t b, const Planes& to) {
  k_header(block, b, to);
  k_nibbles(block + 48, b, to);
  for (int sub = 0; sub < 8; ++sub) put_bits(block + 16, sub, to.high + 32 * b + 4 * sub);
}

// Per 128 weights 64 bytes of low nibbles and 32 bytes of bit pairs, interleaved by 32; then 16
// scales, d.
void q6_k(const uint8_t* block, uint64_t b, const Planes& to) {
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = block + 64 * half;
    const uint8_t* high = block + 128 + 32 * half;
    for (int sub = 0; sub < 4; ++sub) {
      const uint64_t index = 8 * b + 4 * uint64_t(half) + uint64_t(sub);
      put_nibbles(low + 32 * (sub & 1), sub < 2 ? 0 : 4, to.quants + 16 * index);
      put_pairs(high, 2 * sub, to.high + 8 * index);
    }
  }
  std::memcpy(to.scales + 16 * b, block + 192, 16);
  std::memcpy(to.super + 2 * b, block + 208, 2);
}

// 16 bytes of scales and minima, 64 bytes of pairs, d, dmin.
void q2_k(const uint8_t* block, uint64_t b, const Planes& to) {
  put_all_pairs(block + 16, 8, to.quants + 64 * b);
  std::memcpy(to.scales + 16 * b, block, 16);
  std::memcpy(to.super + 4 * b, block + 80, 4);
}

// 32 bytes of high bits, 64 bytes of pairs, 12 bytes of 6-bit scales, d.
void q3_k(const uint8_t* block, uint64_t b, const Planes& to) {
  put_all_pairs(block + 32, 12, to.quants + 96 * b);
  for (int sub = 0; sub < 8; ++sub) put_bits(block, sub, to.quants + 96 * b + 12 * sub + 8);
  for (int j = 0; j < 16; ++j) to.scales[16 * b + j] = q3_k_scale(block, j);
  std::memcpy(to.super + 2 * b, block + 108, 2);
}

// 64 bytes of pairs, f16 scale.
void tq2_0(const uint8_t* block, uint64_t b, const Planes& to) {
  put_all_pairs(block, 8, to.quants + 64 * b);
  std::memcpy(to.scales + 2 * b, block + 64, 2);
}

// f16 scale, 16 bytes of pairs: four consecutive weights each.
void q2_0(const uint8_t* block, uint64_t b, const Planes& to) {
  std::memcpy(to.scales + 2 * b, block, 2);
  for (int sub = 0; sub < 2; ++sub) {
    uint8_t quants[32];
    for (int j = 0; j < 32; ++j) quants[j] = block[2 + 8 * sub + j / 4] >> (j % 4 * 2) & 3;
    put_pairs(quants, 0, to.quants + 16 * b + 8 * sub);
  }
}

// 8 bytes of scales, 128 bytes of nibbles in the order that we keep.
void iq4_xs(const uint8_t* block, uint64_t b, const Planes& to) {
  std::memcpy(to.scales + 8 * b, block, 8);
  std::memcpy(to.quants + 128 * b, block + 8, 128);
}

// An exponent, 16 bytes of nibbles.
void mxfp4(const uint8_t* block, uint64_t b, const Planes& to) {
  to.scales[b] = block[0];
  std::memcpy(to.quants + 16 * b, block + 1, 16);
}

// f16 scale, 128 sign bits.
void q1_0(const uint8_t* block, uint64_t b, const Planes& to) {
  std::memcpy(to.scales + 2 * b, block, 2);
  std::memcpy(to.quants + 16 * b, block + 2, 16);
}

template <void (*kBlock)(const uint8_t*, uint64_t, const Planes&)>
void repack_blocks(const uint8_t* row, uint64_t blocks, uint64_t block_bytes, const Planes& to) {
  for (uint64_t b = 0; b < blocks; ++b) kBlock(row + b * block_bytes, b, to);
}

}  // namespace

void repack_rows(WeightType type, const uint8_t* gguf_rows, uint64_t rows, uint64_t k,
                 uint8_t* out) {
  const RowLayout layout = row_layout(static_cast<unsigned>(type), k);
  const BlockShape shape = block_shape(type);
  assert(layout.stride != 0 && k % shape.elements == 0);
  const uint64_t blocks = k / shape.elements, row_bytes = blocks * shape.bytes;
  for (uint64_t r = 0; r < rows; ++r) {
    const uint8_t* row = gguf_rows + r * row_bytes;
    uint8_t* to = out + r * layout.stride;
    std::memset(to + layout.end, 0, layout.stride - layout.end);
    const Planes planes = {to, to + layout.high, to + layout.scales, to + layout.super};
    switch (type) {
      case WeightType::kF32:
      case WeightType::kF16:
      case WeightType::kBF16:
        std::memcpy(to, row, row_bytes);
        break;
      case WeightType::kQ4_0:
        repack_blocks<q4_0>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kIQ4_NL:
        repack_blocks<q4_0>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kIQ4_XS:
        repack_blocks<iq4_xs>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kMXFP4:
        repack_blocks<mxfp4>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kQ2_K:
        repack_blocks<q2_k>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kQ3_K:
        repack_blocks<q3_k>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kTQ2_0:
        repack_blocks<tq2_0>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kQ2_0:
        repack_blocks<q2_0>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kTQ1_0:
        assert(false && "becomes TQ2_0 before");
        break;
      case WeightType::kQ5_0:
        repack_blocks<q5_0>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kQ4_1:
        repack_blocks<q4_1>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kQ5_1:
        repack_blocks<q5_1>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kQ8_0:
        repack_blocks<q8_0>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kQ4_K:
        repack_blocks<q4_k>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kQ5_K:
        repack_blocks<q5_k>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kQ6_K:
        repack_blocks<q6_k>(row, blocks, shape.bytes, planes);
        break;
      case WeightType::kQ1_0:
        repack_blocks<q1_0>(row, blocks, shape.bytes, planes);
        break;
    }
  }
}

}  // namespace jllm

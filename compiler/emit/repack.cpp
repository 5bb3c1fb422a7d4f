// One function per weight type, each handling one GGUF block; the loops are plain byte loops of
// constant length, which compilers turn into vector code.
#include "compiler/emit/repack.h"

#include <cassert>
#include <cstring>

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
  for (int sub = 0; sub < 8; ++sub) {
    uint32_t high = 0;
    for (int j = 0; j < 32; ++j) high |= uint32_t{block[16 + j] >> sub & 1u} << j;
    std::memcpy(to.high + 32 * b + 4 * sub, &high, sizeof high);
  }
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
      uint64_t pairs = 0;
      for (int j = 0; j < 4; ++j) {
        pairs |= (load8(high + 8 * j) >> (2 * sub) & kLowPairs) << (2 * j);
      }
      store8(to.high + 8 * index, pairs);
    }
  }
  std::memcpy(to.scales + 16 * b, block + 192, 16);
  std::memcpy(to.super + 2 * b, block + 208, 2);
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
    // Every type keeps exactly its GGUF bits, so what is left of the stride is padding.
    std::memset(to + row_bytes, 0, layout.stride - row_bytes);
  }
}

}  // namespace jllm

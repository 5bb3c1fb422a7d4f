// GGUF rows into panels (schema/panel_layout.h). A block becomes one byte per weight first; four of
// them at a time then go to their place in the planes of the record.
#include <algorithm>
#include <cassert>
#include <cstring>

#include "compiler/emit/block_scales.h"
#include "compiler/emit/repack.h"
#include "schema/panel_layout.h"

namespace jllm {
namespace {

constexpr uint64_t kMaxBlock = 256;
constexpr uint32_t kLowNibbles = 0x0f0f0f0f, kLowPairs = 0x03030303, kLowBits = 0x01010101;

using Quants = uint8_t[kMaxBlock];

// --- One GGUF block to one byte per weight ---

// 32 bytes: their low halves are weights 0 .. 31, their high halves 32 .. 63; of blocks of 32, 16
// bytes and weights 0 .. 15 and 16 .. 31.
void split_nibbles(const uint8_t* from, uint64_t count, uint8_t* low) {
  for (uint64_t j = 0; j < count; ++j) {
    low[j] = from[j] & 15;
    low[count + j] = from[j] >> 4;
  }
}

// 32 high bits, 16 bytes of nibbles.
void unpack_five_bits(const uint8_t* from, Quants& out) {
  uint32_t high;
  std::memcpy(&high, from, sizeof high);
  split_nibbles(from + 4, 16, out);
  for (int j = 0; j < 32; ++j) out[j] |= static_cast<uint8_t>((high >> j & 1) << 4);
}

void unpack_q6_k(const uint8_t* block, Quants& out) {
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = block + 64 * half;
    const uint8_t* high = block + 128 + 32 * half;
    uint8_t* to = out + 128 * half;
    for (int j = 0; j < 32; ++j) {
      to[j] = static_cast<uint8_t>((low[j] & 15) | (high[j] & 3) << 4);
      to[j + 32] = static_cast<uint8_t>((low[j + 32] & 15) | (high[j] >> 2 & 3) << 4);
      to[j + 64] = static_cast<uint8_t>(low[j] >> 4 | (high[j] >> 4 & 3) << 4);
      to[j + 96] = static_cast<uint8_t>(low[j + 32] >> 4 | (high[j] >> 6) << 4);
    }
  }
}

// 64 bytes of pairs: weights l, l + 32, l + 64 and l + 96 of 128 share a byte.
void unpack_pairs(const uint8_t* from, Quants& out) {
  for (int j = 0; j < 256; ++j) out[j] = from[j / 128 * 32 + j % 32] >> (j / 32 % 4 * 2) & 3;
}

void unpack(WeightType type, const uint8_t* block, Quants& out) {
  switch (type) {
    case WeightType::kQ4_0:
    case WeightType::kIQ4_NL:
      return split_nibbles(block + 2, 16, out);
    case WeightType::kMXFP4:
      return split_nibbles(block + 1, 16, out);
    case WeightType::kIQ4_XS:
      for (int j = 0; j < 8; ++j) split_nibbles(block + 8 + 16 * j, 16, out + 32 * j);
      return;
    case WeightType::kQ2_K:
      return unpack_pairs(block + 16, out);
    case WeightType::kTQ2_0:
      return unpack_pairs(block, out);
    case WeightType::kQ3_K:
      unpack_pairs(block + 32, out);
      for (int j = 0; j < 256; ++j) {
        out[j] |= static_cast<uint8_t>((block[j % 32] >> j / 32 & 1) << 2);
      }
      return;
    case WeightType::kQ2_0:
      for (int j = 0; j < 64; ++j) out[j] = block[2 + j / 4] >> (j % 4 * 2) & 3;
      return;
    case WeightType::kQ5_0:
      return unpack_five_bits(block + 2, out);
    case WeightType::kQ4_1:
      return split_nibbles(block + 4, 16, out);
    case WeightType::kQ5_1:
      return unpack_five_bits(block + 4, out);
    case WeightType::kQ8_0:
      std::memcpy(out, block + 2, 32);
      return;
    case WeightType::kQ4_K:
      for (int j = 0; j < 4; ++j) split_nibbles(block + 16 + 32 * j, 32, out + 64 * j);
      return;
    case WeightType::kQ5_K:
      for (int j = 0; j < 4; ++j) split_nibbles(block + 48 + 32 * j, 32, out + 64 * j);
      for (int j = 0; j < 256; ++j) {
        out[j] |= static_cast<uint8_t>((block[16 + j % 32] >> j / 32 & 1) << 4);
      }
      return;
    case WeightType::kQ6_K:
      return unpack_q6_k(block, out);
    case WeightType::kQ1_0:
      for (int j = 0; j < 128; ++j) out[j] = block[2 + j / 8] >> j % 8 & 1;
      return;
    case WeightType::kF32:
    case WeightType::kF16:
    case WeightType::kBF16:
    case WeightType::kTQ1_0:
      break;
  }
  assert(false && "a type without panels");
}

// --- One group of one row to its planes ---

uint32_t step(const uint8_t* group, uint64_t j) {
  uint32_t value;
  std::memcpy(&value, group + 4 * j, sizeof value);
  return value;
}

// Word `r` of vector `v` of a plane.
void put(uint8_t* plane, uint64_t v, uint64_t r, uint32_t value) {
  std::memcpy(plane + v * kPanelVector + 4 * r, &value, sizeof value);
}

void put_nibbles(const uint8_t* group, uint64_t r, uint8_t* plane) {
  for (uint64_t v = 0; v < 4; ++v) {
    put(plane, v, r, (step(group, v) & kLowNibbles) | (step(group, v + 4) & kLowNibbles) << 4);
  }
}

// Bits `bit` and `bit` + 1 of each quant.
void put_pairs(const uint8_t* group, int bit, uint64_t r, uint8_t* plane) {
  for (uint64_t v = 0; v < 2; ++v) {
    uint32_t word = 0;
    for (uint64_t i = 0; i < 4; ++i) word |= (step(group, 4 * v + i) >> bit & kLowPairs) << 2 * i;
    put(plane, v, r, word);
  }
}

// Bit `bit` of each quant.
void put_bits(const uint8_t* group, int bit, uint64_t r, uint8_t* plane) {
  uint32_t word = 0;
  for (uint64_t j = 0; j < 8; ++j) word |= (step(group, j) >> bit & kLowBits) << j;
  put(plane, 0, r, word);
}

// The block of row r to its places in a record.
void place(WeightType type, const uint8_t* block, const Quants& quants, uint64_t r,
           uint8_t* record) {
  const uint64_t groups = block_shape(type).elements / kPanelGroup;
  const auto put_half = [&](uint64_t plane, const uint8_t* from) {
    std::memcpy(record + plane + 2 * r, from, 2);
  };
  // Bytes behind the quants, `count` of each row.
  const auto put_bytes = [&](uint64_t count, const auto& byte) {
    for (uint64_t s = 0; s < count; ++s) {
      record[quants_bytes(type) + kPanelRows * s + r] = static_cast<uint8_t>(byte(s));
    }
  };
  for (uint64_t g = 0; g < groups; ++g) {
    const uint8_t* group = quants + kPanelGroup * g;
    switch (type) {
      case WeightType::kQ5_0:
      case WeightType::kQ5_1:
      case WeightType::kQ5_K:
        put_bits(group, 4, r, record + kNibbleBytes * groups + kPanelVector * g);
        [[fallthrough]];
      case WeightType::kQ4_0:
      case WeightType::kQ4_1:
      case WeightType::kQ4_K:
      case WeightType::kIQ4_NL:
      case WeightType::kIQ4_XS:
      case WeightType::kMXFP4:
        put_nibbles(group, r, record + kNibbleBytes * g);
        break;
      case WeightType::kQ6_K:
        put_nibbles(group, r, record + kNibbleBytes * g);
        put_pairs(group, 4, r, record + kNibbleBytes * groups + kPairBytes * g);
        break;
      case WeightType::kQ3_K:
        put_bits(group, 2, r, record + kPairBytes * groups + kPanelVector * g);
        [[fallthrough]];
      case WeightType::kQ2_K:
      case WeightType::kTQ2_0:
      case WeightType::kQ2_0:
        put_pairs(group, 0, r, record + kPairBytes * g);
        break;
      case WeightType::kQ8_0:
        for (uint64_t j = 0; j < 8; ++j) put(record, j, r, step(group, j));
        break;
      case WeightType::kQ1_0:
        put_bits(group, 0, r, record + kPanelVector * g);
        break;
      default:
        break;
    }
  }
  switch (type) {
    case WeightType::kQ4_1:
    case WeightType::kQ5_1:
      put_half(panel_record_bytes(type) - 2 * kHalvesBytes, block);
      put_half(panel_record_bytes(type) - kHalvesBytes, block + 2);
      break;
    case WeightType::kQ4_K:
    case WeightType::kQ5_K: {
      const uint64_t packed = nibble_quants_bytes(type);
      for (uint64_t i = 0; i < 3; ++i) {
        std::memcpy(record + packed + 4 * (kPanelRows * i + r), block + 4 + 4 * i, 4);
      }
      put_half(packed + kPackedBytes, block);
      put_half(packed + kPackedBytes + kHalvesBytes, block + 2);
      break;
    }
    case WeightType::kQ6_K:
      put_bytes(16, [&](uint64_t s) { return block[192 + s]; });
      put_half(panel_record_bytes(type) - kHalvesBytes, block + 208);
      break;
    case WeightType::kQ3_K:
      put_bytes(16, [&](uint64_t s) { return q3_k_scale(block, int(s)); });
      put_half(panel_record_bytes(type) - kHalvesBytes, block + 108);
      break;
    case WeightType::kIQ4_XS:
      put_bytes(8, [&](uint64_t s) { return iq4_xs_scale(block, int(s)); });
      put_half(panel_record_bytes(type) - kHalvesBytes, block);
      break;
    case WeightType::kMXFP4:
      put_bytes(1, [&](uint64_t) { return block[0]; });
      break;
    case WeightType::kQ2_K:
      put_bytes(16, [&](uint64_t s) { return block[s]; });
      put_half(panel_record_bytes(type) - 2 * kHalvesBytes, block + 80);
      put_half(panel_record_bytes(type) - kHalvesBytes, block + 82);
      break;
    case WeightType::kTQ2_0:
      put_half(panel_record_bytes(type) - kHalvesBytes, block + 64);
      break;
    default:  // one scale, in front of the block and behind the record's quants
      put_half(panel_record_bytes(type) - kHalvesBytes, block);
  }
}

}  // namespace

void repack_panels(WeightType type, const uint8_t* gguf_rows, uint64_t rows, uint64_t k,
                   uint8_t* out) {
  const BlockShape shape = block_shape(type);
  assert(has_panels(type) && k % shape.elements == 0);
  const uint64_t blocks = k / shape.elements;
  Quants quants;
  for (uint64_t first = 0; first < rows; first += kPanelRows) {
    const uint64_t count = std::min(kPanelRows, rows - first);
    if (count < kPanelRows) std::memset(out, 0, panel_bytes(type, k));
    for (uint64_t b = 0; b < blocks; ++b) {
      for (uint64_t r = 0; r < count; ++r) {
        const uint8_t* block = gguf_rows + ((first + r) * blocks + b) * shape.bytes;
        unpack(type, block, quants);
        place(type, block, quants, r, out);
      }
      out += panel_record_bytes(type);
    }
  }
}

}  // namespace jllm

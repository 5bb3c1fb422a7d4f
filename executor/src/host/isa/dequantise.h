// Decoders from GGUF blocks to f32, one per weight type; block layouts as in GGUF's type table.
// For isa/kernels.cpp only, see lanes.h.
#pragma once

#include "executor/src/host/isa/lanes.h"
#include "schema/row_layout.h"
#include "schema/weight_type.h"

namespace jllm::host::JLLM_HOST_ISA {
namespace {

// Decodes one block; plain types have their own loops below.
template <WeightType kType>
void decode_block(const uint8_t* block, float* out);

// { d f16; quants u8[16] }: weight j in the low half of byte j, weight j + 16 in the high half.
template <>
inline void decode_block<WeightType::kQ4_0>(const uint8_t* block, float* out) {
  const float d = f16_at(block);
  for (unsigned j = 0; j < 16; j += kLanes) {
    const Ints pairs = load_u8(block + 2 + j);
    store(out + j, to_floats((pairs & 15) - 8) * d);
    store(out + j + 16, to_floats((pairs >> 4) - 8) * d);
  }
}

// { d f16; m f16; quants u8[16] }: as Q4_0, w = d * q + m.
template <>
inline void decode_block<WeightType::kQ4_1>(const uint8_t* block, float* out) {
  const float d = f16_at(block), m = f16_at(block + 2);
  for (unsigned j = 0; j < 16; j += kLanes) {
    const Ints pairs = load_u8(block + 4 + j);
    store(out + j, to_floats(pairs & 15) * d + m);
    store(out + j + 16, to_floats(pairs >> 4) * d + m);
  }
}

// { high u32; quants u8[16] }: as Q4_0, bit 4 of weight j is bit j of `high`. value(quants) makes
// weights of them.
template <typename Value>
void decode_five_bits(const uint8_t* from, float* out, const Value& value) {
  uint32_t high;
  std::memcpy(&high, from, sizeof(high));
  Ints bit;
  for (unsigned i = 0; i < kLanes; ++i) bit[i] = static_cast<int32_t>(1u << i);
  for (unsigned j = 0; j < 16; j += kLanes) {
    const Ints pairs = load_u8(from + 4 + j);
    const Ints low_bits = (Ints{} + static_cast<int32_t>(high >> j & 0xffff)) & bit;
    const Ints high_bits = (Ints{} + static_cast<int32_t>(high >> (j + 16) & 0xffff)) & bit;
    // A comparison gives -1 where the bit is set.
    store(out + j, value((pairs & 15) | ((low_bits != 0) & 16)));
    store(out + j + 16, value((pairs >> 4) | ((high_bits != 0) & 16)));
  }
}

template <>
inline void decode_block<WeightType::kQ5_0>(const uint8_t* block, float* out) {
  const float d = f16_at(block);
  decode_five_bits(block + 2, out, [&](Ints quants) { return to_floats(quants - 16) * d; });
}

template <>
inline void decode_block<WeightType::kQ5_1>(const uint8_t* block, float* out) {
  const float d = f16_at(block), m = f16_at(block + 2);
  decode_five_bits(block + 4, out, [&](Ints quants) { return to_floats(quants) * d + m; });
}

// { d f16; quants s8[32] }
template <>
inline void decode_block<WeightType::kQ8_0>(const uint8_t* block, float* out) {
  const float d = f16_at(block);
  for (unsigned j = 0; j < 32; j += kLanes) {
    store(out + j, to_floats(load_s8(block + 2 + j)) * d);
  }
}

// { d f16; dmin f16; scales u8[12]; high u8[32] (Q5_K); quants u8[128] }: sub-blocks 2c and 2c + 1
// of 32 weights are the low and the high halves of bytes 32c .. of quants; bit s of byte j of
// `high` is bit 4 of weight j of sub-block s; w = d * scale * q - dmin * minimum.
template <bool kFifth>
void decode_headed(const uint8_t* block, float* out) {
  const float d = f16_at(block), dmin = f16_at(block + 2);
  // Eight 6-bit scales, then eight minima, packed so that four at a time unpack with 32-bit masks.
  uint32_t packed[3];
  std::memcpy(packed, block + 4, sizeof(packed));
  const uint32_t words[4] = {
      packed[0] & 0x3f3f3f3f, (packed[2] & 0x0f0f0f0f) | (packed[0] >> 2 & 0x30303030),
      packed[1] & 0x3f3f3f3f, (packed[2] >> 4 & 0x0f0f0f0f) | (packed[1] >> 2 & 0x30303030)};
  uint8_t bytes[16];
  std::memcpy(bytes, words, sizeof(bytes));
  float by_d[16], by_dmin[16];
  for (unsigned j = 0; j < 16; j += kLanes) {
    const Floats factors = to_floats(load_u8(bytes + j));
    store(by_d + j, factors * d);
    store(by_dmin + j, factors * dmin);
  }
  const float* scales = by_d;
  const float* minima = by_dmin + 8;
  for (unsigned c = 0; c < 4; ++c) {
    const uint8_t* quants = block + (kFifth ? 48 : 16) + 32 * c;
    for (unsigned j = 0; j < 32; j += kLanes) {
      const Ints pairs = load_u8(quants + j);
      Ints low = pairs & 15, high = pairs >> 4;
      if constexpr (kFifth) {
        const Ints bits = load_u8(block + 16 + j) >> 2 * c;
        low |= (bits & 1) << 4;
        high |= (bits & 2) << 3;
      }
      store(out + 64 * c + j, to_floats(low) * scales[2 * c] - minima[2 * c]);
      store(out + 64 * c + 32 + j, to_floats(high) * scales[2 * c + 1] - minima[2 * c + 1]);
    }
  }
}

template <>
inline void decode_block<WeightType::kQ4_K>(const uint8_t* block, float* out) {
  decode_headed<false>(block, out);
}

template <>
inline void decode_block<WeightType::kQ5_K>(const uint8_t* block, float* out) {
  decode_headed<true>(block, out);
}

// { low u8[128]; high u8[64]; scales s8[16]; d f16 }: per half of 128 weights, weights l, l + 32, l
// + 64 and l + 96 share byte l of `high`, two bits each; w = d * scale[w / 16] * (q - 32).
template <>
inline void decode_block<WeightType::kQ6_K>(const uint8_t* block, float* out) {
  const float d = f16_at(block + 208);
  for (unsigned half = 0; half < 2; ++half) {
    const uint8_t* low = block + 64 * half;
    const uint8_t* high = block + 128 + 32 * half;
    for (unsigned l = 0; l < 32; l += kLanes) {
      const Ints a = load_u8(low + l), b = load_u8(low + 32 + l), h = load_u8(high + l);
      const Ints quants[4] = {(a & 15) | (h << 4 & 48), (b & 15) | (h << 2 & 48),
                              (a >> 4) | (h & 48), (b >> 4) | (h >> 2 & 48)};
      for (unsigned part = 0; part < 4; ++part) {
        const auto scale = static_cast<int8_t>(block[192 + 8 * half + l / 16 + 2 * part]);
        const float step = d * static_cast<float>(scale);
        store(out + 128 * half + 32 * part + l, to_floats(quants[part] - 32) * step);
      }
    }
  }
}

// { d f16; signs u8[16] }: weight j is +d where bit j % 8 of byte j / 8 is set, else -d.
template <>
inline void decode_block<WeightType::kQ1_0>(const uint8_t* block, float* out) {
  const float d = f16_at(block);
  Ints bit;
  for (unsigned i = 0; i < kLanes; ++i) bit[i] = static_cast<int32_t>(1u << i);
  for (unsigned j = 0; j < 128; j += kLanes) {
    uint16_t pair;  // kLanes bits are part of two bytes
    std::memcpy(&pair, block + 2 + j / 16 * 2, sizeof(pair));
    const Ints set = (Ints{} + static_cast<int32_t>(pair >> j % 16)) & bit;
    // A comparison gives -1 where the bit is clear: 1 - 2 * clear.
    store(out + j, to_floats(((set == 0) & -2) + 1) * d);
  }
}

// 16 bytes of nibbles, ordered as Q4_0's, that stand for the integers of a table.
template <WeightType kType>
inline void decode_table(const uint8_t* nibbles, float scale, float* out) {
  constexpr auto kId = static_cast<unsigned>(kType);
  float values[16];
  for (unsigned i = 0; i < 16; ++i) values[i] = nibble_value(kId, i) * scale;
  for (unsigned j = 0; j < 16; ++j) {
    out[j] = values[nibbles[j] & 15];
    out[j + 16] = values[nibbles[j] >> 4];
  }
}

// { d f16; quants u8[16] }
template <>
inline void decode_block<WeightType::kIQ4_NL>(const uint8_t* block, float* out) {
  decode_table<WeightType::kIQ4_NL>(block + 2, f16_at(block), out);
}

// { d f16; high u16; low u8[4]; quants u8[128] }: scale j of 8 has its low half in a half of low[j
// / 2] and its upper two bits in bits 2j of `high`, and is 32 less.
template <>
inline void decode_block<WeightType::kIQ4_XS>(const uint8_t* block, float* out) {
  const float d = f16_at(block);
  const int high = block[2] | block[3] << 8;
  for (int j = 0; j < 8; ++j) {
    const int scale = (block[4 + j / 2] >> j % 2 * 4 & 15) | (high >> 2 * j & 3) << 4;
    decode_table<WeightType::kIQ4_XS>(block + 8 + 16 * j, d * static_cast<float>(scale - 32),
                                      out + 32 * j);
  }
}

// { e u8; quants u8[16] }: the scale is 2^(e - 128).
template <>
inline void decode_block<WeightType::kMXFP4>(const uint8_t* block, float* out) {
  const uint32_t e = block[0];
  const float scale = float_from_bits(e < 2 ? (e + 1) << 21 : (e - 1) << 23);
  decode_table<WeightType::kMXFP4>(block + 1, scale, out);
}

// { scales u8[16]; pairs u8[64]; d f16; dmin f16 }: weights l, l + 32, l + 64 and l + 96 of 128
// share byte l of 32; w = d * low half of scale * q - dmin * high half, for 16 weights each.
template <>
inline void decode_block<WeightType::kQ2_K>(const uint8_t* block, float* out) {
  const float d = f16_at(block + 80), dmin = f16_at(block + 82);
  for (unsigned j = 0; j < 256; j += kLanes) {
    const Ints pairs = load_u8(block + 16 + j / 128 * 32 + j % 32) >> (j / 32 % 4 * 2) & 3;
    const unsigned factors = block[j / 16];
    const float scale = d * static_cast<float>(factors & 15);
    store(out + j, to_floats(pairs) * scale - dmin * static_cast<float>(factors >> 4));
  }
}

// { high u8[32]; pairs u8[64]; scales u8[12]; d f16 }: pairs as in Q2_K, bit s of byte j of `high`
// is bit 2 of weight j of 32 of sub-block s; w = d * (scale - 32) * (q - 4), for 16 weights each.
template <>
inline void decode_block<WeightType::kQ3_K>(const uint8_t* block, float* out) {
  const float d = f16_at(block + 108);
  const uint8_t* packed = block + 96;
  for (unsigned j = 0; j < 256; j += kLanes) {
    const Ints pairs = load_u8(block + 32 + j / 128 * 32 + j % 32) >> (j / 32 % 4 * 2) & 3;
    const Ints high = (load_u8(block + j % 32) >> (j / 32) & 1) << 2;
    const unsigned s = j / 16;
    const int scale = (packed[s % 8] >> s / 8 * 4 & 15) | (packed[8 + s % 4] >> s / 4 * 2 & 3) << 4;
    store(out + j, to_floats((pairs | high) - 4) * (d * static_cast<float>(scale - 32)));
  }
}

// { pairs u8[64]; d f16 }: pairs as in Q2_K; w = d * (q - 1).
template <>
inline void decode_block<WeightType::kTQ2_0>(const uint8_t* block, float* out) {
  const float d = f16_at(block + 64);
  for (unsigned j = 0; j < 256; j += kLanes) {
    const Ints pairs = load_u8(block + j / 128 * 32 + j % 32) >> (j / 32 % 4 * 2) & 3;
    store(out + j, to_floats(pairs - 1) * d);
  }
}

// { d f16; pairs u8[16] }: in order, the first weight lowest; w = d * (q - 1).
template <>
inline void decode_block<WeightType::kQ2_0>(const uint8_t* block, float* out) {
  const float d = f16_at(block);
  for (unsigned j = 0; j < 64; ++j) {
    out[j] = d * static_cast<float>((block[2 + j / 4] >> j % 4 * 2 & 3) - 1);
  }
}

template <WeightType kType>
void decode(const uint8_t* blocks, float* out, uint64_t count) {
  constexpr BlockShape kShape = block_shape(kType);
  for (uint64_t i = 0; i < count; i += kShape.elements) {
    decode_block<kType>(blocks, out + i);
    blocks += kShape.bytes;
  }
}

template <>
inline void decode<WeightType::kF32>(const uint8_t* blocks, float* out, uint64_t count) {
  std::memcpy(out, blocks, count * sizeof(float));
}

template <>
inline void decode<WeightType::kF16>(const uint8_t* blocks, float* out, uint64_t count) {
  uint64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, load_f16(blocks + 2 * i));
  for (; i < count; ++i) out[i] = f16_at(blocks + 2 * i);
}

template <>
inline void decode<WeightType::kBF16>(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    uint16_t upper;
    std::memcpy(&upper, blocks + 2 * i, sizeof(upper));
    out[i] = float_from_bits(static_cast<uint32_t>(upper) << 16);
  }
}

inline void dequantise(WeightType type, const uint8_t* blocks, float* out, uint64_t count) {
  switch (type) {
    case WeightType::kF32:
      return decode<WeightType::kF32>(blocks, out, count);
    case WeightType::kF16:
      return decode<WeightType::kF16>(blocks, out, count);
    case WeightType::kBF16:
      return decode<WeightType::kBF16>(blocks, out, count);
    case WeightType::kQ4_0:
      return decode<WeightType::kQ4_0>(blocks, out, count);
    case WeightType::kQ5_0:
      return decode<WeightType::kQ5_0>(blocks, out, count);
    case WeightType::kQ4_1:
      return decode<WeightType::kQ4_1>(blocks, out, count);
    case WeightType::kQ5_1:
      return decode<WeightType::kQ5_1>(blocks, out, count);
    case WeightType::kQ8_0:
      return decode<WeightType::kQ8_0>(blocks, out, count);
    case WeightType::kQ4_K:
      return decode<WeightType::kQ4_K>(blocks, out, count);
    case WeightType::kQ5_K:
      return decode<WeightType::kQ5_K>(blocks, out, count);
    case WeightType::kQ6_K:
      return decode<WeightType::kQ6_K>(blocks, out, count);
    case WeightType::kQ1_0:
      return decode<WeightType::kQ1_0>(blocks, out, count);
    case WeightType::kQ2_K:
      return decode<WeightType::kQ2_K>(blocks, out, count);
    case WeightType::kQ3_K:
      return decode<WeightType::kQ3_K>(blocks, out, count);
    case WeightType::kIQ4_NL:
      return decode<WeightType::kIQ4_NL>(blocks, out, count);
    case WeightType::kIQ4_XS:
      return decode<WeightType::kIQ4_XS>(blocks, out, count);
    case WeightType::kMXFP4:
      return decode<WeightType::kMXFP4>(blocks, out, count);
    case WeightType::kTQ2_0:
      return decode<WeightType::kTQ2_0>(blocks, out, count);
    case WeightType::kQ2_0:
      return decode<WeightType::kQ2_0>(blocks, out, count);
    case WeightType::kTQ1_0:
      return;  // in no plan
  }
}

}  // namespace
}  // namespace jllm::host::JLLM_HOST_ISA

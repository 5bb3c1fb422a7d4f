// Reads panels (schema/panel_layout.h): the steps of a group as bytes for dot(), and the scales and
// minima of a record as floats. Everything takes kLanes of the panel's rows, from row `lane` on.
// For products.cpp only, see lanes.h.
#pragma once

#include "executor/src/host/isa/bytes.h"
#include "schema/panel_layout.h"
#include "schema/row_layout.h"

namespace jllm::host::JLLM_HOST_ISA {
namespace {

constexpr unsigned kSteps = 8;        // of a group
constexpr unsigned kMaxFactors = 16;  // scales of a record

template <WeightType kType>
constexpr unsigned kGroups = block_shape(kType).elements / kPanelGroup;  // of a record

// Scales that a group of 32 weights has.
template <WeightType kType>
constexpr unsigned kFactors =
    kType == WeightType::kQ6_K || kType == WeightType::kQ3_K || kType == WeightType::kQ2_K ? 2 : 1;

// Types whose nibbles stand for the integers of a table.
template <WeightType kType>
constexpr bool kHasTable = has_nibble_table(static_cast<unsigned>(kType));

// The others are unsigned and have a minimum.
template <WeightType kType>
constexpr bool kIsSigned = kType == WeightType::kQ8_0 || kHasTable<kType>;

// The table of such a type, in the form in which dot() takes weights.
template <WeightType kType>
struct NibbleTable {
  uint8_t values[16];
  constexpr NibbleTable() : values() {
    for (unsigned i = 0; i < 16; ++i) {
      // Negative ones are meant.  NOLINTNEXTLINE(bugprone-signed-char-misuse)
      const int value = nibble_value(static_cast<unsigned>(kType), i);
      values[i] = static_cast<uint8_t>(value + kSignedOffset);
    }
  }
};
template <WeightType kType>
constexpr NibbleTable<kType> kNibbleTable;

inline void load_nibbles_of(const uint8_t* plane, unsigned lane, Bytes* steps) {
  for (unsigned v = 0; v < 4; ++v) {
    const Bytes pairs = load_bytes(plane + v * kPanelVector + 4 * lane);
    steps[v] = pairs & 15;
    steps[v + 4] = shift_right(pairs, 4) & 15;
  }
}

// Two bits of each quant, shifted left by kShift.
template <unsigned kShift>
inline void add_pairs(const uint8_t* plane, unsigned lane, Bytes* steps) {
  constexpr uint8_t kMask = 3 << kShift;
  for (unsigned v = 0; v < 2; ++v) {
    const Bytes pairs = load_bytes(plane + v * kPanelVector + 4 * lane);
    for (unsigned i = 0; i < 4; ++i) {
      const Bytes moved = 2 * i < kShift ? (Bytes)((Words)pairs << (kShift - 2 * i))
                                         : shift_right(pairs, 2 * i - kShift);
      steps[4 * v + i] |= moved & kMask;
    }
  }
}

// One bit of each quant, shifted left by kShift.
template <unsigned kShift>
inline void add_bits(const uint8_t* plane, unsigned lane, Bytes* steps) {
  constexpr uint8_t kMask = 1 << kShift;
  const Bytes bits = load_bytes(plane + 4 * lane);
  for (unsigned j = 0; j < kSteps; ++j) {
    const Bytes moved =
        j < kShift ? (Bytes)((Words)bits << (kShift - j)) : shift_right(bits, j - kShift);
    steps[j] |= moved & kMask;
  }
}

template <WeightType kType>
inline void load_group(const uint8_t* record, unsigned group, unsigned lane, Bytes* steps) {
  if constexpr (kType == WeightType::kQ8_0) {
    for (unsigned j = 0; j < kSteps; ++j) {
      steps[j] = as_operand(load_bytes(record + j * kPanelVector + 4 * lane));
    }
  } else if constexpr (kType == WeightType::kQ1_0) {
    const Bytes bits = load_bytes(record + group * kPanelVector + 4 * lane);
    for (unsigned j = 0; j < kSteps; ++j) steps[j] = shift_right(bits, j) & 1;
  } else if constexpr (has_only_pairs(kType)) {
    for (unsigned j = 0; j < kSteps; ++j) steps[j] = Bytes{};
    add_pairs<0>(record + group * kPairBytes, lane, steps);
  } else {
    load_nibbles_of(record + group * kNibbleBytes, lane, steps);
  }
  if constexpr (has_fifth_bits(kType)) {
    add_bits<4>(record + kGroups<kType> * kNibbleBytes + group * kPanelVector, lane, steps);
  }
  if constexpr (kType == WeightType::kQ3_K) {
    add_bits<2>(record + kGroups<kType> * kPairBytes + group * kPanelVector, lane, steps);
  }
  if constexpr (kType == WeightType::kQ6_K) {
    add_pairs<4>(record + kGroups<kType> * kNibbleBytes + group * kPairBytes, lane, steps);
  }
  if constexpr (kHasTable<kType>) {
    for (unsigned j = 0; j < kSteps; ++j) {
      steps[j] = look_up(kNibbleTable<kType>.values, steps[j]);
    }
  }
}

inline Ints load_words(const uint8_t* p) {
  Ints value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

// Of a q4_k or q5_k record.
inline void load_headed_factors(const uint8_t* behind_quants, unsigned lane, Floats* scales,
                                Floats* minima) {
  const uint8_t* halves = behind_quants + kPackedBytes + 2 * lane;
  const Floats d = load_f16(halves), dmin = load_f16(halves + kHalvesBytes);
  // Four 6-bit numbers per word: scales 0 .. 3, 4 .. 7, minima 0 .. 3, 4 .. 7.
  Ints packed[3];
  for (unsigned i = 0; i < 3; ++i) {
    packed[i] = load_words(behind_quants + 4 * (kPanelRows * i + lane));
  }
  const Ints words[4] = {
      packed[0] & 0x3f3f3f3f, (packed[2] & 0x0f0f0f0f) | (packed[0] >> 2 & 0x30303030),
      packed[1] & 0x3f3f3f3f, (packed[2] >> 4 & 0x0f0f0f0f) | (packed[1] >> 2 & 0x30303030)};
  for (unsigned j = 0; j < 8; ++j) {
    scales[j] = to_floats(words[j / 4] >> 8 * (j % 4) & 63) * d;
    minima[j] = to_floats(words[2 + j / 4] >> 8 * (j % 4) & 63) * dmin;
  }
}

// kGroups * kFactors of each; no minima of signed types.
template <WeightType kType>
inline void load_factors(const uint8_t* record, unsigned lane, Floats* scales, Floats* minima) {
  if constexpr (kType == WeightType::kQ4_K || kType == WeightType::kQ5_K) {
    load_headed_factors(record + nibble_quants_bytes(kType), lane, scales, minima);
    return;
  }
  if constexpr (kType == WeightType::kQ4_1 || kType == WeightType::kQ5_1) {
    const uint8_t* halves = record + nibble_quants_bytes(kType) + 2 * lane;
    scales[0] = load_f16(halves);
    minima[0] = -load_f16(halves + kHalvesBytes);
    return;
  }
  const uint8_t* behind_quants = record + quants_bytes(kType) + lane;
  if constexpr (kType == WeightType::kMXFP4) {  // 2^(e - 128), a subnormal for e = 0 and 1
    const Ints e = load_u8(behind_quants);
    scales[0] = (Floats)(e < 2 ? (e + 1) << 21 : (e - 1) << 23);
    return;
  }
  const uint8_t* halves = record + panel_record_bytes(kType) - kHalvesBytes + 2 * lane;
  if constexpr (kType == WeightType::kQ2_K) {
    const Floats d = load_f16(halves - kHalvesBytes), dmin = load_f16(halves);
    for (unsigned s = 0; s < kMaxFactors; ++s) {
      const Ints factors = load_u8(behind_quants + kPanelRows * s);
      scales[s] = to_floats(factors & 15) * d;
      minima[s] = to_floats(factors >> 4) * dmin;
    }
    return;
  }
  const Floats d = load_f16(halves);
  if constexpr (signed_scale_weights(kType) != 0) {
    for (unsigned s = 0; s < kGroups<kType> * kFactors<kType>; ++s) {
      scales[s] = to_floats(load_s8(behind_quants + kPanelRows * s)) * d;
      if (!kIsSigned<kType>) minima[s] = scales[s] * (kType == WeightType::kQ3_K ? 4.0f : 32.0f);
    }
  } else {
    for (unsigned g = 0; g < kGroups<kType>; ++g) {
      scales[g] = kType == WeightType::kQ1_0 ? d * 2.0f : d;
      if (kType == WeightType::kQ4_0) minima[g] = d * 8.0f;
      if (kType == WeightType::kQ5_0) minima[g] = d * 16.0f;
      if (kType == WeightType::kQ1_0 || has_only_pairs(kType)) minima[g] = d;
    }
  }
}

}  // namespace
}  // namespace jllm::host::JLLM_HOST_ISA

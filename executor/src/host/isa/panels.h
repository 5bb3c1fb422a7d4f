// Reads panels (schema/panel_layout.h): the steps of a group as bytes for dot(), and the scales and
// minima of a record as floats. Everything takes kLanes of the panel's rows, from row `lane` on.
// For products.cpp only, see lanes.h.
#pragma once

#include "executor/src/host/isa/bytes.h"
#include "schema/panel_layout.h"

namespace jllm::host::JLLM_HOST_ISA {
namespace {

constexpr unsigned kSteps = 8;        // of a group
constexpr unsigned kMaxFactors = 16;  // scales of a record

template <WeightType kType>
constexpr unsigned kGroups = block_shape(kType).elements / kPanelGroup;  // of a record

// Scales that a group of 32 weights has.
template <WeightType kType>
constexpr unsigned kFactors = kType == WeightType::kQ6_K ? 2 : 1;

// The others are unsigned and have a minimum.
template <WeightType kType>
constexpr bool kIsSigned = kType == WeightType::kQ8_0;

inline void load_nibbles_of(const uint8_t* plane, unsigned lane, Bytes* steps) {
  for (unsigned v = 0; v < 4; ++v) {
    const Bytes pairs = load_bytes(plane + v * kPanelVector + 4 * lane);
    steps[v] = pairs & 15;
    steps[v + 4] = shift_right(pairs, 4) & 15;
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
  } else {
    load_nibbles_of(record + group * kNibbleBytes, lane, steps);
  }
  if constexpr (has_fifth_bits(kType)) {
    const uint8_t* plane = record + kGroups<kType> * kNibbleBytes + group * kPanelVector;
    const Bytes bits = load_bytes(plane + 4 * lane);
    for (unsigned j = 0; j < kSteps; ++j) {
      steps[j] |= (j < 4 ? (Bytes)((Words)bits << (4 - j)) : shift_right(bits, j - 4)) & 16;
    }
  }
  if constexpr (kType == WeightType::kQ6_K) {
    const uint8_t* plane = record + kGroups<kType> * kNibbleBytes + group * kPairBytes;
    for (unsigned v = 0; v < 2; ++v) {
      const Bytes pairs = load_bytes(plane + v * kPanelVector + 4 * lane);
      steps[4 * v] |= (Bytes)((Words)pairs << 4) & 48;
      steps[4 * v + 1] |= (Bytes)((Words)pairs << 2) & 48;
      steps[4 * v + 2] |= pairs & 48;
      steps[4 * v + 3] |= shift_right(pairs, 2) & 48;
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
  const Floats d = load_f16(record + panel_record_bytes(kType) - kHalvesBytes + 2 * lane);
  if constexpr (kType == WeightType::kQ6_K) {
    const uint8_t* factors = record + kGroups<kType> * (kNibbleBytes + kPairBytes) + lane;
    for (unsigned s = 0; s < kMaxFactors; ++s) {
      scales[s] = to_floats(load_s8(factors + kPanelRows * s)) * d;
      minima[s] = scales[s] * 32.0f;
    }
  } else {
    for (unsigned g = 0; g < kGroups<kType>; ++g) {
      scales[g] = kType == WeightType::kQ1_0 ? d * 2.0f : d;
      if (kType == WeightType::kQ4_0) minima[g] = d * 8.0f;
      if (kType == WeightType::kQ5_0) minima[g] = d * 16.0f;
      if (kType == WeightType::kQ1_0) minima[g] = d;
    }
  }
}

}  // namespace
}  // namespace jllm::host::JLLM_HOST_ISA

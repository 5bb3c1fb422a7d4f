// Chooses the instruction set of integer products once, and decodes single rows of panels.
#include "executor/src/host/products.h"

#include <cstring>

#include "executor/src/host/cpu_features.h"
#include "executor/src/host/half.h"
#include "schema/panel_layout.h"
#include "schema/row_layout.h"

namespace jllm::host {
namespace {

constexpr ProductSet kSets[] = {
#if defined(JLLM_HOST_ONLY)  // HostBackend refuses processors without it
    {"only", always, &JLLM_HOST_ONLY::kProducts},
#else
#if defined(__x86_64__)
    {"avx512_vnni", has_avx512_vnni, &avx512_vnni::kProducts},
    {"avx_vnni", has_avx_vnni, &avx_vnni::kProducts},
    {"avx2", has_avx2, &avx2::kProducts},
#elif defined(__aarch64__)
    {"dotprod", has_dotprod, &dotprod::kProducts},
#endif
    {"portable", always, &portable::kProducts},
#endif
};

// --- Single weights ---

float half_at(const uint8_t* p) {
  uint16_t half;
  std::memcpy(&half, p, sizeof(half));
  return f16_to_f32(half);
}

// Byte of weight `i` (of its group) and row `row` in vector `v` of a plane.
uint8_t byte_at(const uint8_t* plane, uint64_t v, uint64_t row, uint64_t i) {
  return plane[v * kPanelVector + 4 * row + i % 4];
}

int nibble_at(const uint8_t* plane, uint64_t row, uint64_t i) {
  const uint64_t step = i / 4;
  return byte_at(plane, step % 4, row, i) >> (step < 4 ? 0 : 4) & 15;
}

int bit_at(const uint8_t* plane, uint64_t row, uint64_t i) {
  return byte_at(plane, 0, row, i) >> i / 4 & 1;
}

int pair_at(const uint8_t* plane, uint64_t row, uint64_t i) {
  return byte_at(plane, i / 16, row, i) >> i / 4 % 4 * 2 & 3;
}

struct Factors {
  float scale, minimum;
};

// Of sub-block `j` of a q4_k or q5_k record.
Factors headed_factors(const uint8_t* behind_quants, uint64_t row, uint64_t j) {
  const auto byte = [&](uint64_t i) {
    return static_cast<int>(behind_quants[i / 4 * 4 * kPanelRows + 4 * row + i % 4]);
  };
  const int s = j < 4 ? byte(j) & 63 : (byte(j + 4) & 15) | byte(j - 4) >> 6 << 4;
  const int m = j < 4 ? byte(j + 4) & 63 : byte(j + 4) >> 4 | byte(j) >> 6 << 4;
  const uint8_t* halves = behind_quants + kPackedBytes + 2 * row;
  return {half_at(halves) * static_cast<float>(s),
          half_at(halves + kHalvesBytes) * static_cast<float>(m)};
}

// Of weight `i` of row `row` in a record; they hold for 16 weights at least.
Factors factors_at(WeightType type, const uint8_t* record, uint64_t row, uint64_t i) {
  const uint8_t* behind_quants = record + quants_bytes(type) + row;
  const float d = half_at(record + panel_record_bytes(type) - kHalvesBytes + 2 * row);
  switch (type) {
    case WeightType::kQ4_0:
      return {d, 8 * d};
    case WeightType::kQ5_0:
      return {d, 16 * d};
    case WeightType::kQ1_0:
      return {2 * d, d};
    case WeightType::kQ4_1:
    case WeightType::kQ5_1:  // here d is what comes last, m
      return {half_at(record + nibble_quants_bytes(type) + 2 * row), -d};
    case WeightType::kQ4_K:
    case WeightType::kQ5_K:
      return headed_factors(record + nibble_quants_bytes(type), row, i / kPanelGroup);
    case WeightType::kQ6_K:
    case WeightType::kQ3_K:
    case WeightType::kIQ4_XS: {
      const uint64_t s = i / signed_scale_weights(type);
      const float scale =
          d * static_cast<float>(static_cast<int8_t>(behind_quants[s * kPanelRows]));
      const float offset = type == WeightType::kQ6_K ? 32 : type == WeightType::kQ3_K ? 4 : 0;
      return {scale, offset * scale};
    }
    case WeightType::kQ2_K: {  // here d is what comes last, dmin
      const unsigned factors = behind_quants[i / 16 * kPanelRows];
      const float scale = half_at(record + panel_record_bytes(type) - 2 * kHalvesBytes + 2 * row);
      return {scale * static_cast<float>(factors & 15), d * static_cast<float>(factors >> 4)};
    }
    case WeightType::kTQ2_0:
    case WeightType::kQ2_0:
      return {d, d};
    case WeightType::kMXFP4: {
      const uint32_t e = behind_quants[0], bits = e < 2 ? (e + 1) << 21 : (e - 1) << 23;
      float scale;
      std::memcpy(&scale, &bits, sizeof(scale));
      return {scale, 0};
    }
    default:
      return {d, 0};
  }
}

int quant_at(WeightType type, const uint8_t* record, uint64_t row, uint64_t i) {
  const uint64_t group = i / kPanelGroup, in_group = i % kPanelGroup;
  const uint64_t groups = block_shape(type).elements / kPanelGroup;
  const uint8_t* nibbles = record + group * kNibbleBytes;
  switch (type) {
    case WeightType::kQ8_0:
      return static_cast<int8_t>(byte_at(record, in_group / 4, row, i));
    case WeightType::kQ1_0:
      return bit_at(record + group * kPanelVector, row, in_group);
    case WeightType::kQ5_0:
    case WeightType::kQ5_1:
    case WeightType::kQ5_K: {
      const uint8_t* bits = record + groups * kNibbleBytes + group * kPanelVector;
      return nibble_at(nibbles, row, in_group) | bit_at(bits, row, in_group) << 4;
    }
    case WeightType::kQ6_K: {
      const uint8_t* pairs = record + groups * kNibbleBytes + group * kPairBytes;
      return nibble_at(nibbles, row, in_group) | pair_at(pairs, row, in_group) << 4;
    }
    case WeightType::kQ3_K: {
      const uint8_t* bits = record + groups * kPairBytes + group * kPanelVector;
      return pair_at(record + group * kPairBytes, row, in_group) | bit_at(bits, row, in_group) << 2;
    }
    case WeightType::kQ2_K:
    case WeightType::kTQ2_0:
    case WeightType::kQ2_0:
      return pair_at(record + group * kPairBytes, row, in_group);
    case WeightType::kIQ4_NL:
    case WeightType::kIQ4_XS:
    case WeightType::kMXFP4: {
      const int nibble = nibble_at(nibbles, row, in_group);
      return nibble_value(static_cast<unsigned>(type), static_cast<unsigned>(nibble));
    }
    default:
      return nibble_at(nibbles, row, in_group);
  }
}

}  // namespace

const Products& products() {
  static std::atomic<const ProductSet*> chosen{nullptr};
  return *chosen_set(kSets, chosen).products;
}

const ProductSet* product_sets(unsigned* count) {
  *count = sizeof(kSets) / sizeof(kSets[0]);
  return kSets;
}

void decode_panel_row(WeightType type, const uint8_t* panels, uint64_t row, uint64_t k,
                      float* out) {
  constexpr uint64_t kRun = 16;  // weights that share factors
  const uint64_t elements = block_shape(type).elements;
  const uint8_t* panel = panels + row / kPanelRows * panel_bytes(type, k);
  const uint64_t r = row % kPanelRows;
  for (uint64_t i = 0; i < k; i += kRun) {
    const uint8_t* record = panel + i / elements * panel_record_bytes(type);
    const Factors factors = factors_at(type, record, r, i % elements);
    for (uint64_t j = i; j < i + kRun; ++j) {
      const int quant = quant_at(type, record, r, j % elements);
      out[j] = factors.scale * static_cast<float>(quant) - factors.minimum;
    }
  }
}

}  // namespace jllm::host

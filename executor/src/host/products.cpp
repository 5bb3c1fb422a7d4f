// Chooses the instruction set of integer products once, and decodes single rows of panels.
#include "executor/src/host/products.h"

#include <cstring>

#include "executor/src/host/half.h"
#include "schema/panel_layout.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <atomic>

namespace jllm::host {
namespace {

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() {
  // F16C has a flag of its own, which not every compiler's __builtin_cpu_supports knows.
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool f16c = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
  return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool has_avx_vnni() {
  constexpr unsigned kAvxVnni = 1u << 4;  // leaf 7.1, eax
  unsigned a = 0, b = 0, c = 0, d = 0;
  return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvxVnni) != 0;
}

bool has_avx512_vnni() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
#elif defined(__aarch64__)
bool has_dotprod() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#endif

constexpr ProductSet kSets[] = {
#if defined(__x86_64__)
    {"avx512_vnni", has_avx512_vnni, &avx512_vnni::kProducts},
    {"avx_vnni", has_avx_vnni, &avx_vnni::kProducts},
    {"avx2", has_avx2, &avx2::kProducts},
#elif defined(__aarch64__)
    {"dotprod", has_dotprod, &dotprod::kProducts},
#endif
    {"portable", always, &portable::kProducts},
};

const Products& choose() {
  for (const ProductSet& set : kSets) {
    if (set.supported()) return *set.products;
  }
  return portable::kProducts;
}

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

// Scale and minimum of sub-block `j` of a q4_k record.
void q4_k_factors(const uint8_t* behind_quants, uint64_t row, uint64_t j, float* scale,
                  float* minimum) {
  const auto byte = [&](uint64_t i) {
    return static_cast<int>(behind_quants[i / 4 * 4 * kPanelRows + 4 * row + i % 4]);
  };
  const int s = j < 4 ? byte(j) & 63 : (byte(j + 4) & 15) | byte(j - 4) >> 6 << 4;
  const int m = j < 4 ? byte(j + 4) & 63 : byte(j + 4) >> 4 | byte(j) >> 6 << 4;
  const uint8_t* halves = behind_quants + kPackedBytes + 2 * row;
  *scale = half_at(halves) * static_cast<float>(s);
  *minimum = half_at(halves + kHalvesBytes) * static_cast<float>(m);
}

// Weight `i` of row `row` in a record.
float weight_at(WeightType type, const uint8_t* record, uint64_t row, uint64_t i) {
  const uint64_t group = i / kPanelGroup, in_group = i % kPanelGroup;
  const uint64_t groups = block_shape(type).elements / kPanelGroup;
  const uint8_t* nibbles = record + group * kNibbleBytes;
  const float d = half_at(record + panel_record_bytes(type) - kHalvesBytes + 2 * row);
  switch (type) {
    case WeightType::kQ4_0:
      return d * static_cast<float>(nibble_at(nibbles, row, in_group) - 8);
    case WeightType::kQ5_0: {
      const int high = bit_at(record + kNibbleBytes, row, in_group);
      return d * static_cast<float>((nibble_at(nibbles, row, in_group) | high << 4) - 16);
    }
    case WeightType::kQ8_0:
      return d * static_cast<float>(static_cast<int8_t>(byte_at(record, in_group / 4, row, i)));
    case WeightType::kQ1_0:
      return bit_at(record + group * kPanelVector, row, in_group) != 0 ? d : -d;
    case WeightType::kQ4_K: {
      float scale, minimum;
      q4_k_factors(record + groups * kNibbleBytes, row, group, &scale, &minimum);
      return scale * static_cast<float>(nibble_at(nibbles, row, in_group)) - minimum;
    }
    case WeightType::kQ6_K: {
      const uint8_t* pairs = record + groups * kNibbleBytes + group * kPairBytes;
      const auto factor = static_cast<int8_t>(
          record[groups * (kNibbleBytes + kPairBytes) + i / 16 * kPanelRows + row]);
      const int quant = nibble_at(nibbles, row, in_group) | pair_at(pairs, row, in_group) << 4;
      return d * static_cast<float>(factor) * static_cast<float>(quant - 32);
    }
    default:
      return 0;
  }
}

}  // namespace

const Products& products() {
  // As kernels().
  static std::atomic<const Products*> chosen{nullptr};
  const Products* set = chosen.load(std::memory_order_relaxed);
  if (set == nullptr) {
    set = &choose();
    chosen.store(set, std::memory_order_relaxed);
  }
  return *set;
}

const ProductSet* product_sets(unsigned* count) {
  *count = sizeof(kSets) / sizeof(kSets[0]);
  return kSets;
}

void decode_panel_row(WeightType type, const uint8_t* panels, uint64_t row, uint64_t k,
                      float* out) {
  const uint64_t elements = block_shape(type).elements;
  const uint8_t* panel = panels + row / kPanelRows * panel_bytes(type, k);
  for (uint64_t i = 0; i < k; ++i) {
    const uint8_t* record = panel + i / elements * panel_record_bytes(type);
    out[i] = weight_at(type, record, row % kPanelRows, i % elements);
  }
}

}  // namespace jllm::host

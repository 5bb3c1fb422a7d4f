// Repacked rows decode to exactly what the GGUF blocks decode to: random bits of every type, the
// row layout's reference decoder on one side and the GGUF decoder on the other.
#include "compiler/emit/repack.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "compiler/gguf/quants.h"
#include "kernels/reference/reference.h"
#include "schema/row_layout.h"

namespace jllm {
namespace {

constexpr WeightType kTypes[] = {
    WeightType::kF32,   WeightType::kF16,   WeightType::kBF16,   WeightType::kQ4_0,
    WeightType::kQ4_1,  WeightType::kQ5_0,  WeightType::kQ5_1,   WeightType::kQ8_0,
    WeightType::kQ4_K,  WeightType::kQ5_K,  WeightType::kQ6_K,   WeightType::kQ1_0,
    WeightType::kQ2_K,  WeightType::kQ3_K,  WeightType::kIQ4_NL, WeightType::kIQ4_XS,
    WeightType::kMXFP4, WeightType::kTQ2_0, WeightType::kQ2_0};

std::vector<uint8_t> random_bytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> out(size);
  for (uint8_t& byte : out) byte = static_cast<uint8_t>(random());
  return out;
}

uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

class Repack : public testing::TestWithParam<WeightType> {};

TEST_P(Repack, DecodesBitExactly) {
  const WeightType type = GetParam();
  const BlockShape shape = block_shape(type);
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  for (uint64_t blocks : {1, 2, 3, 43}) {
    const uint64_t k = shape.elements * (shape.elements == 1 ? 4 * blocks : blocks), rows = 5;
    const uint64_t row_bytes = k / shape.elements * shape.bytes;
    const RowLayout layout = row_layout(static_cast<unsigned>(type), k);
    const uint64_t stride = layout.stride;
    const std::vector<uint8_t> gguf = random_bytes(rows * row_bytes, seed + blocks);
    std::vector<uint8_t> packed(rows * stride + 16, 0xee);
    repack_rows(type, gguf.data(), rows, k, packed.data());
    for (size_t i = 0; i < 16; ++i) ASSERT_EQ(packed[rows * stride + i], 0xee) << "overrun";
    std::vector<float> expected(k);
    for (uint64_t r = 0; r < rows; ++r) {
      gguf::dequantise(type, gguf.data() + r * row_bytes, expected.data(), k);
      const std::span<const uint8_t> row(packed.data() + r * stride, stride);
      const reference::Vector got = reference::dequantise_row(static_cast<unsigned>(type), row, k);
      for (uint64_t i = 0; i < k; ++i) {
        if (std::isnan(expected[i]) && std::isnan(got[i])) continue;
        // Each formula rounds once, whatever the order of its factors: the products are exact.
        ASSERT_EQ(bits_of(got[i]), bits_of(expected[i])) << "row " << r << " weight " << i;
      }
      for (uint64_t i = layout.end; i < stride; ++i) ASSERT_EQ(row[i], 0) << "padding";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Repack, testing::ValuesIn(kTypes), [](const auto& test) {
  return std::string(weight_type_name(test.param));
});

}  // namespace
}  // namespace jllm

// Random weights: reproducible piece by piece, and of the promised mean and deviation.
#include "compiler/synth/random_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "compiler/gguf/quants.h"

namespace jllm::synth {
namespace {

constexpr WeightType kTypes[] = {
    WeightType::kF32,   WeightType::kF16,   WeightType::kBF16,   WeightType::kQ4_0,
    WeightType::kQ4_1,  WeightType::kQ5_0,  WeightType::kQ5_1,   WeightType::kQ8_0,
    WeightType::kQ4_K,  WeightType::kQ5_K,  WeightType::kQ6_K,   WeightType::kQ1_0,
    WeightType::kQ2_K,  WeightType::kQ3_K,  WeightType::kIQ4_NL, WeightType::kIQ4_XS,
    WeightType::kMXFP4, WeightType::kTQ2_0, WeightType::kQ2_0,   WeightType::kTQ1_0};

std::vector<uint8_t> make(const RandomTensor& tensor, uint64_t first, uint64_t count) {
  std::vector<uint8_t> bytes(count * block_shape(tensor.type).bytes);
  fill_blocks(tensor, first, count, bytes.data());
  return bytes;
}

TEST(RandomWeights, HaveTheWantedDeviation) {
  constexpr uint64_t kElements = 1 << 20;
  for (WeightType type : kTypes) {
    SCOPED_TRACE(weight_type_name(type));
    const RandomTensor tensor = {type, 0, 0.02f, tensor_key(1, "t")};
    const std::vector<uint8_t> blocks = make(tensor, 0, kElements / block_shape(type).elements);
    std::vector<float> values(kElements);
    gguf::dequantise(type, blocks.data(), values.data(), kElements);
    double sum = 0;
    double squares = 0;
    for (float value : values) {
      ASSERT_TRUE(std::isfinite(value));
      sum += value;
      squares += double{value} * value;
    }
    EXPECT_NEAR(sum / kElements, 0, 0.02 * 0.005);
    EXPECT_NEAR(std::sqrt(squares / kElements), 0.02, 0.02 * 0.01);
  }
}

TEST(RandomWeights, AnyPieceIsTheSameByItself) {
  for (WeightType type : kTypes) {
    const RandomTensor tensor = {type, 0, 1, tensor_key(1, "t")};
    const uint32_t bytes = block_shape(type).bytes;
    const std::vector<uint8_t> whole = make(tensor, 0, 10);
    const std::vector<uint8_t> piece = make(tensor, 3, 4);
    EXPECT_EQ(piece, std::vector<uint8_t>(whole.begin() + 3 * bytes, whole.begin() + 7 * bytes))
        << weight_type_name(type);
  }
}

TEST(RandomWeights, DifferBySeedAndName) {
  EXPECT_EQ(tensor_key(1, "a"), tensor_key(1, "a"));
  EXPECT_NE(tensor_key(1, "a"), tensor_key(2, "a"));
  EXPECT_NE(tensor_key(1, "a"), tensor_key(1, "b"));
  EXPECT_NE(tensor_key(1, "ab"), tensor_key(1, "ba"));
}

}  // namespace
}  // namespace jllm::synth

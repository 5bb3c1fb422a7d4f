// Matrices for tests of the host's products: GGUF blocks beside the values that the compiler's own
// decoder gives them.
#pragma once

#include <cstring>
#include <vector>

#include "compiler/gguf/quants.h"
#include "tests/kernels/host/host_op_runner.h"

namespace jllm::test {

struct Weights {
  std::vector<uint8_t> blocks;
  Vector values;  // what the blocks decode to
};

inline std::vector<uint8_t> blocks_of(WeightType type, size_t count) {
  const BlockShape shape = block_shape(type);
  return std::vector<uint8_t>(count / shape.elements * shape.bytes);
}

inline Weights quantised(WeightType type, const Vector& values) {
  Weights weights{blocks_of(type, values.size()), Vector(values.size())};
  gguf::quantise(type, values.data(), weights.blocks.data(), values.size());
  gguf::dequantise(type, weights.blocks.data(), weights.values.data(), values.size());
  return weights;
}

// Offsets of the f16 fields of a type's block.
inline std::vector<size_t> half_fields(WeightType type) {
  switch (type) {
    case WeightType::kQ4_1:
    case WeightType::kQ5_1:
    case WeightType::kQ4_K:
    case WeightType::kQ5_K:
      return {0, 2};
    case WeightType::kQ2_K:
      return {80, 82};
    case WeightType::kQ3_K:
      return {108};
    case WeightType::kQ6_K:
      return {208};
    case WeightType::kTQ2_0:
      return {64};
    case WeightType::kMXFP4:
      return {};
    default:
      return {0};
  }
}

// Random bits exercise every field of a quantised type's block; the scales are within 1.
inline Weights random_blocks(WeightType type, size_t count, Random& random) {
  Weights weights{blocks_of(type, count), Vector(count)};
  for (uint8_t& byte : weights.blocks) byte = uint8_t(random.integer(0, 255));
  for (size_t block = 0; block < weights.blocks.size(); block += block_shape(type).bytes) {
    for (const size_t offset : half_fields(type)) {
      const uint16_t half = gguf::f32_to_f16(random.uniform(-1, 1));
      std::memcpy(&weights.blocks[block + offset], &half, sizeof(half));
    }
    // An exponent e of 2^(e - 128).
    if (type == WeightType::kMXFP4) weights.blocks[block] = uint8_t(random.integer(118, 128));
  }
  gguf::dequantise(type, weights.blocks.data(), weights.values.data(), count);
  return weights;
}

}  // namespace jllm::test

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

// Types whose blocks begin with two f16: scale and minimum.
inline bool has_second_half(WeightType type) {
  return type == WeightType::kQ4_1 || type == WeightType::kQ5_1 || type == WeightType::kQ4_K ||
         type == WeightType::kQ5_K;
}

// Random bits exercise every field of a quantised type's block; the scales are within 1.
inline Weights random_blocks(WeightType type, size_t count, Random& random) {
  Weights weights{blocks_of(type, count), Vector(count)};
  for (uint8_t& byte : weights.blocks) byte = uint8_t(random.integer(0, 255));
  for (size_t block = 0; block < weights.blocks.size(); block += block_shape(type).bytes) {
    const auto put = [&](size_t offset) {
      const uint16_t half = gguf::f32_to_f16(random.uniform(-1, 1));
      std::memcpy(&weights.blocks[block + offset], &half, sizeof(half));
    };
    put(type == WeightType::kQ6_K ? 208 : 0);
    if (has_second_half(type)) put(2);
  }
  gguf::dequantise(type, weights.blocks.data(), weights.values.data(), count);
  return weights;
}

}  // namespace jllm::test

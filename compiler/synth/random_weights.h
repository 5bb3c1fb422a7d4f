// Random weights straight in storage format: any part of a tensor can be made by itself, because
// the generator is a function of (seed, tensor name, index).
#pragma once

#include <llvm/ADT/StringRef.h>

#include <cstdint>

#include "schema/weight_type.h"

namespace jllm::synth {

struct RandomTensor {
  WeightType type;
  float mean;       // 0 for the quantised types
  float deviation;  // standard deviation of the weights
  uint64_t key;     // from tensor_key()
};

uint64_t tensor_key(uint64_t seed, llvm::StringRef tensor_name);

// Writes blocks [first, first + count) of the tensor to `out`.
void fill_blocks(const RandomTensor& tensor, uint64_t first, uint64_t count, uint8_t* out);

}  // namespace jllm::synth

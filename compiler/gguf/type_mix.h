// Which type each tensor gets when a model is quantised, by the rules that llama.cpp's quantiser
// follows: the same for models made at random and for asking what another quantisation would take.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/StringRef.h>

#include <cstdint>

#include "schema/weight_type.h"

namespace jllm::gguf {

struct TypeMix {
  const char* name;    // "q4_k_m"
  uint32_t file_type;  // general.file_type
  WeightType base;
  WeightType output;  // of the output matrix, or of the embedding where they are tied
  bool more_bits;     // Q6_K for attn_v and ffn_down of some layers
};

llvm::ArrayRef<TypeMix> type_mixes();
const TypeMix* find_type_mix(llvm::StringRef name);  // in any case; null when unknown

// What the rules look at beside a tensor's name.
struct MixedModel {
  uint32_t block_count = 0;
  bool tied = false;  // the output matrix is the token embedding
};

// Type of a matrix with rows of `row` elements.
WeightType mixed_type(const TypeMix& mix, const MixedModel& model, llvm::StringRef tensor,
                      uint64_t row);

}  // namespace jllm::gguf

// The models whose logits are compared with llama.cpp's: every optional part of the llama
// architecture and every weight type, small enough to be made anew by each test.
#pragma once

#include <string>
#include <vector>

#include "tests/compiler/model/tiny_llama.h"

namespace jllm::oracle {

struct OracleModel {
  std::string name;
  TinyLlama model;
};

// Names ending in ".as_f32" hold the values of the quantised model of that name as F32: llama.cpp
// then computes without rounding activations to the weights' type.
std::vector<OracleModel> oracle_models();

// Those whose embeddings are compared. "pooled" says itself that it makes some.
std::vector<OracleModel> embedding_models();

}  // namespace jllm::oracle

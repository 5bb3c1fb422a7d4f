// Writes small llama models with random weights: every optional tensor can be switched on, keys and
// tensors can be left out or misshaped. The same fields give the same bytes on every machine.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "compiler/gguf/file.h"
#include "compiler/gguf/writer.h"
#include "schema/weight_type.h"

namespace jllm {

struct TinyLlama {
  std::string architecture = "llama";
  uint32_t layers = 2;
  uint32_t embedding = 64;
  uint32_t ffn = 96;
  uint32_t heads = 4;
  uint32_t kv_heads = 2;
  uint32_t head_dim = 16;
  uint32_t vocab = 512;  // at least 512 with a tokenizer
  uint32_t context = 128;
  float rope_base = 10000;
  float epsilon = 1e-5f;
  WeightType type = WeightType::kF32;         // matrices
  WeightType vector_type = WeightType::kF32;  // norm weights and biases
  std::map<std::string, WeightType> types;    // exceptions, by tensor name
  bool tied = true;                           // no output.weight
  bool qkv_bias = false;
  bool fused_qkv = false;           // attn_qkv in place of attn_q, attn_k, attn_v
  bool output_bias = false;         // attn_output.bias
  bool ffn_bias = false;            // ffn_gate.bias, ffn_up.bias, ffn_down.bias
  std::vector<float> rope_factors;  // rope_freqs.weight; empty: the model has none
  bool dequantise = false;          // store the matrices' values as F32 instead of their blocks
  bool tokenizer = false;
  uint64_t seed = 1;

  // Damage.
  std::set<std::string> without;                        // tensors and llama.* keys to leave out
  std::map<std::string, std::vector<uint64_t>> shapes;  // by tensor name, [0] contiguous
  std::function<void(gguf::Writer&)> more_keys;

  // Elements of all tensors.
  uint64_t parameters() const;
};

// Throws std::runtime_error when the file cannot be written or opened.
void write_model(const TinyLlama& model, const std::string& path);
gguf::File write_and_open(const TinyLlama& model, const std::string& path);

}  // namespace jllm

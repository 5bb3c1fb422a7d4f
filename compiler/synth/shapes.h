// Hyper-parameters of the models that `jllmc synth --like` knows.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/StringRef.h>

#include <cstdint>

namespace jllm::synth {

enum class Tokenizer { kLlamaBpe, kSmolBpe, kSpm };

// A model of the llama architecture. Names follow the GGUF keys.
struct ModelShape {
  const char* name;
  uint32_t block_count;
  uint32_t embedding_length;
  uint32_t feed_forward_length;
  uint32_t head_count;
  uint32_t head_count_kv;
  uint32_t head_dim;
  uint32_t vocab_size;
  uint32_t context_length;
  float rope_freq_base;
  float rope_factor;  // of the Llama 3 frequency scaling; 0: the model has no rope_freqs tensor
  bool tied;          // the output matrix is the token embedding
  Tokenizer tokenizer;
};

llvm::ArrayRef<ModelShape> model_shapes();
const ModelShape* find_shape(llvm::StringRef name);  // null when unknown

}  // namespace jllm::synth

// The tokenizer metadata of synthetic models: the family that the real model has, with a vocabulary
// of its size that is made up.
#pragma once

#include <cstdint>

#include "compiler/gguf/writer.h"

namespace jllm::synth {

enum class Tokenizer {
  kLlamaBpe,
  kSmolBpe,
  kQwenBpe,
  kQwenEmbeddingBpe,  // the same, but every text ends with <|endoftext|>
  kStableLmBpe,
  kGpt4oBpe,
  kPhi4Bpe,
  kTekkenBpe,
  kSpm,
  kPhi3Spm,
  kGemmaSpm,
};

// Sets the keys tokenizer.ggml.*.
void set_tokenizer(Tokenizer tokenizer, uint32_t vocab_size, gguf::Writer& writer);

}  // namespace jllm::synth

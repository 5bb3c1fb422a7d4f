// The names that GGUF files give to pre-tokenizers (tokenizer.ggml.pre), and what follows from
// each.
#pragma once

#include <llvm/ADT/StringRef.h>

#include <optional>

#include "schema/tokenizer_generated.h"

namespace jllm::emit {

struct PreTokenizerTraits {
  fb::PreTokenizer kind = fb::PreTokenizer::None;
  bool whole_words = false;  // "ignore_merges": a word that is a token is taken without merging
  bool adds_bos = false;     // where tokenizer.ggml.add_bos_token is absent
};

// None for a name that is not known.
std::optional<PreTokenizerTraits> pre_tokenizer_traits(llvm::StringRef name);

}  // namespace jllm::emit

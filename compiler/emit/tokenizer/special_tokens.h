// Tokens with a meaning: the ends of texts and replies, what is added to a text, and what swallows
// white space.
#pragma once

#include <llvm/Support/Error.h>

#include "compiler/emit/tokenizer/draft.h"
#include "compiler/gguf/file.h"

namespace jllm::emit {

// What the keys tokenizer.ggml.*_token_id and add_* say; *draft has the defaults.
llvm::Error read_special_ids(const gguf::File& file, Draft* draft);

// Fills draft->end_of_generation, behind the merges; what ends a reply becomes a control token.
void find_end_of_generation(Draft* draft);

llvm::Error find_strips_right(const gguf::File& file, Draft* draft);

}  // namespace jllm::emit

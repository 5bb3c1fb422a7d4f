// Turns a GGUF's tokenizer.ggml.* metadata into the plan's tokenizer segment
// (schema/tokenizer.fbs).
#pragma once

#include <llvm/Support/Error.h>

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/gguf/file.h"

namespace jllm::emit {

// Errors: kUnsupported names an unknown tokenizer model or pre-tokenizer; kInvalidFile for
// inconsistent metadata. Duplicate token strings are tolerated (the first id wins when encoding).
llvm::Expected<std::vector<uint8_t>> build_tokenizer_segment(const gguf::File& file);

// What the user should know about the tokenizer of a file that it was built from; empty: nothing.
std::string tokenizer_warning(const gguf::File& file);

}  // namespace jllm::emit

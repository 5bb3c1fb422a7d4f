// A model's chat format: its own template reduced and proven, or a built-in one, or none.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/gguf/file.h"

namespace jllm::chat {

struct ChosenFormat {
  std::vector<uint8_t> segment;  // empty: none
  std::string name;              // "template", a built-in format's name, or "none"
  std::string summary;           // one line for people: what it is and what is covered
  std::string warning;           // why the model's own template is not used
};

// `choice`: "auto" (the model's template, else the built-in format that it resembles, else none),
// "template" (that or an error), "none", or a built-in format's name. `tokenizer` is the plan's
// segment.
llvm::Expected<ChosenFormat> choose_format(const gguf::File& file,
                                           llvm::ArrayRef<uint8_t> tokenizer,
                                           llvm::StringRef choice);

// What a format covers, one line.
std::string describe(llvm::ArrayRef<uint8_t> segment);

}  // namespace jllm::chat

// A model's chat format: its own template reduced and proven, or a built-in one, or none.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/gguf/file.h"

namespace jllm::chat {

// For people: what a format is, and what it is for and what not.
struct Description {
  std::string what;
  std::vector<std::string> covers;
  std::vector<std::string> lacks;  // each with its reason

  std::string covers_text() const;  // one line, empty for none
  std::string lacks_text() const;
};

struct ChosenFormat {
  std::vector<uint8_t> segment;  // empty: none
  std::string name;              // "template", a built-in format's name, or "none"
  Description description;
  std::string warning;  // why the model's own template is not used
};

// `choice`: "auto" (the model's template, else the built-in format that it resembles, else none),
// "template" (that or an error), "none", a built-in format's name, or a file FILE.jinja with
// another template. `tokenizer` is the plan's segment.
llvm::Expected<ChosenFormat> choose_format(const gguf::File& file,
                                           llvm::ArrayRef<uint8_t> tokenizer,
                                           llvm::StringRef choice);

Description describe(llvm::ArrayRef<uint8_t> segment);

}  // namespace jllm::chat

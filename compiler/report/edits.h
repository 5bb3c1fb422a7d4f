// What --weights, --lora and their like have made of the file's weights, and what that has cost.
#pragma once

#include <llvm/Support/JSON.h>
#include <llvm/Support/raw_ostream.h>

#include "compiler/gguf/requantise.h"

namespace jllm::report {

// Lines of the text report; attributes of the object that is open.
void print_edits(const gguf::Edits& edits, llvm::raw_ostream& os);
void write_edits(const gguf::Edits& edits, llvm::json::OStream& json);

}  // namespace jllm::report

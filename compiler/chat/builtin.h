// Chat formats that need no template: for models without one, and where a template cannot be
// reduced.
#pragma once

#include <llvm/ADT/StringRef.h>

#include <optional>
#include <string>

#include "compiler/chat/grammar.h"

namespace jllm::chat {

// Null for an unknown name.
std::optional<Grammar> builtin(llvm::StringRef name, llvm::StringRef bos, llvm::StringRef eos);

// "chatml, gemma, ...".
std::string builtin_names();

// The built-in format whose marks stand in a template; empty when there is none.
std::string recognise(llvm::StringRef jinja);

}  // namespace jllm::chat

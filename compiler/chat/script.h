// reduce.py, embedded at build time.
#pragma once

#include <llvm/ADT/ArrayRef.h>

namespace jllm::chat {

struct Script {
  const char* name;
  const char* text;
};

llvm::ArrayRef<Script> scripts();

}  // namespace jllm::chat

// The program of reduce.py, reduce_tools.py and reduce_main.py, embedded at build time.
#pragma once

#include <llvm/ADT/ArrayRef.h>

namespace jllm::chat {

struct Script {
  const char* name;
  const char* text;
};

llvm::ArrayRef<Script> scripts();  // in the program's order

}  // namespace jllm::chat

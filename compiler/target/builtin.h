// The built-in target files, embedded at build time.
#pragma once

#include <llvm/ADT/ArrayRef.h>

namespace jllm::target {

struct BuiltinTarget {
  const char* name;
  const char* json;
};

llvm::ArrayRef<BuiltinTarget> builtin_targets();

}  // namespace jllm::target

// The tables that the compiler comes with, embedded at build time.
#pragma once

#include <llvm/ADT/ArrayRef.h>

namespace jllm::tuning {

struct ShippedTable {
  const char* name;
  const char* json;
};

llvm::ArrayRef<ShippedTable> shipped_tables();

}  // namespace jllm::tuning

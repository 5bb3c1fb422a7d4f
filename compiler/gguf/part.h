// One GGUF file on disk, parsed and verified: the index of its metadata and its tensors. A model is
// one part or several (gguf::File puts them together).
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/gguf/file.h"
#include "compiler/gguf/mapping.h"

namespace jllm::gguf {

// Where a metadata value lies; its bytes stay in the mapping until somebody asks for them.
struct Value {
  llvm::StringRef key;
  ValueType type;
  ValueType element_type;  // same as `type` unless it is kArray
  uint64_t count;          // elements of an array, 1 otherwise
  uint64_t offset;         // of the (first) element, from the start of the file
};

struct Part {
  std::string path;
  Mapping mapping;
  uint32_t version = 0;
  uint64_t alignment = 32;
  std::vector<Value> values;           // in file order
  std::vector<uint32_t> value_by_key;  // indices into `values`, sorted by key
  std::vector<TensorInfo> tensors;     // in file order

  const Value* find(llvm::StringRef key) const;  // null when absent
};

llvm::Expected<Part> read_part(llvm::StringRef path, uint32_t index, const OpenOptions& options);

// Bytes of one value of a type of fixed size, 0 for strings and arrays.
uint64_t value_size(ValueType type);
// "string", "u32", ...
const char* value_type_name(ValueType type);
// `text` from a file, made fit for a message: unprintable bytes escaped, long text cut.
std::string printable(llvm::StringRef text);

}  // namespace jllm::gguf

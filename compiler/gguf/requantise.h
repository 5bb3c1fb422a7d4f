// A model with other weight types than its file has: to ask what that would take, or to compile it
// so.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <vector>

#include "compiler/gguf/file.h"
#include "compiler/gguf/type_mix.h"

namespace jllm::gguf {

// With every matrix in the type that the quantiser would give it, whatever the file has.
File with_mix(const File& file, const TypeMix& mix, uint32_t block_count);

// The same for the matrices that hold floats and would have fewer bits; others stay as they are,
// since quantising what was quantised before loses twice. kUsage for an unknown mix, or where
// nothing would change.
llvm::Expected<File> requantised(const File& file, llvm::StringRef mix);

// Rows `first` .. of the `count` elements behind `offset` of a tensor, in blocks of its type: as
// they stand in the file, or converted from what it has there, by several threads.
class RowReader {
 public:
  RowReader(const File& file, const TensorInfo& tensor, uint64_t offset, uint64_t row);
  // Valid until the next call.
  const uint8_t* read(uint64_t first, uint64_t rows);

 private:
  const uint8_t* stored_row(uint64_t row) const { return stored_ + row * stored_row_bytes_; }

  WeightType stored_type_, type_;
  uint64_t row_;  // elements
  uint64_t stored_row_bytes_, row_bytes_;
  const uint8_t* stored_;
  std::vector<uint8_t> converted_;
};

}  // namespace jllm::gguf

// A file mapped read-only into memory. Pages are read when they are first used, so opening a model
// of any size costs nothing. What changes while it is mapped watch.h finds.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>

namespace jllm::gguf {

struct Watched;

class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  // An empty file gives an empty mapping. Errors have exit code kFailed.
  static llvm::Expected<Mapping> open(llvm::StringRef path);

  llvm::ArrayRef<uint8_t> bytes() const { return {data_, size_}; }
  // Drops the pages of [offset, offset + size) from this process; they are read again when needed.
  void release(uint64_t offset, uint64_t size) const;

 private:
  const uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
  Watched* watched_ = nullptr;
};

}  // namespace jllm::gguf

// A bounded reader over mapped bytes: no read passes the end, whatever the file claims.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/StringRef.h>

#include <cstdint>

#include "compiler/gguf/load.h"

namespace jllm::gguf {

class Cursor {
 public:
  explicit Cursor(llvm::ArrayRef<uint8_t> bytes, uint64_t position = 0)
      : bytes_(bytes), position_(position) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }

  // Each of these returns false, and does not move, when the bytes end first.
  template <typename T>
  [[nodiscard]] bool read(T* out) {
    if (remaining() < sizeof(T)) return false;
    *out = load<T>(bytes_.data() + position_);
    position_ += sizeof(T);
    return true;
  }

  [[nodiscard]] bool skip(uint64_t count) {
    if (remaining() < count) return false;
    position_ += count;
    return true;
  }

  // A u64 length and that many bytes; the text stays in the mapping.
  [[nodiscard]] bool read_string(llvm::StringRef* out) {
    if (remaining() < sizeof(uint64_t)) return false;
    const uint64_t length = load<uint64_t>(bytes_.data() + position_);
    if (length > remaining() - sizeof(uint64_t)) return false;
    position_ += sizeof(uint64_t);
    *out = llvm::StringRef(reinterpret_cast<const char*>(bytes_.data()) + position_, length);
    position_ += length;
    return true;
  }

 private:
  llvm::ArrayRef<uint8_t> bytes_;
  uint64_t position_;
};

}  // namespace jllm::gguf

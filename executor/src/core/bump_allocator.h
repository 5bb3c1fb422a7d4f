// Carves objects out of the caller's block, in order. Used twice with the same sequence of calls:
// once with no block to learn the size, once to place.
#pragma once

#include <cstdint>

namespace jllm {

class BumpAllocator {
 public:
  BumpAllocator(void* memory, uint64_t size)
      : memory_(static_cast<uint8_t*>(memory)), size_(size) {}

  // 64-byte aligned if the block is. Null when the block is too small (or absent); used() counts
  // all the same.
  void* take(uint64_t bytes) {
    const uint64_t offset = used_;
    used_ += (bytes + 63) / 64 * 64;
    return memory_ != nullptr && used_ <= size_ ? memory_ + offset : nullptr;
  }
  template <typename T>
  T* take_array(uint64_t n) {
    // T may be a pointer.  NOLINTNEXTLINE(bugprone-sizeof-expression)
    return static_cast<T*>(take(n * sizeof(T)));
  }
  uint64_t used() const { return used_; }
  bool fits() const { return memory_ != nullptr && used_ <= size_; }

 private:
  uint8_t* memory_;
  uint64_t size_;
  uint64_t used_ = 0;
};

}  // namespace jllm

// Overflow-checked arithmetic on sizes. Every size that comes from a file goes through these.
#pragma once

#include <cstdint>

namespace jllm {

// out = a + b; false when it does not fit 64 bits.
[[nodiscard]] inline bool checked_add(uint64_t a, uint64_t b, uint64_t* out) {
  return !__builtin_add_overflow(a, b, out);
}

// out = a * b; false when it does not fit 64 bits.
[[nodiscard]] inline bool checked_mul(uint64_t a, uint64_t b, uint64_t* out) {
  return !__builtin_mul_overflow(a, b, out);
}

// Smallest multiple of `alignment` (a power of two) that is >= a; false on overflow.
[[nodiscard]] inline bool checked_align_up(uint64_t a, uint64_t alignment, uint64_t* out) {
  uint64_t sum = 0;
  if (!checked_add(a, alignment - 1, &sum)) return false;
  *out = sum & ~(alignment - 1);
  return true;
}

// True when [offset, offset + size) lies inside [0, total).
[[nodiscard]] inline bool range_inside(uint64_t offset, uint64_t size, uint64_t total) {
  return offset <= total && size <= total - offset;
}

// Unchecked form for values that are already known to be small.
constexpr uint64_t align_up(uint64_t a, uint64_t alignment) {
  return (a + alignment - 1) & ~(alignment - 1);
}

}  // namespace jllm

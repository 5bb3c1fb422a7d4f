// Placing buffers with known lifetimes in one arena. Greedy by size into the best-fitting gap,
// tried in several orders; deterministic; proved afterwards by brute force.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <vector>

namespace jllm::memory {

// A buffer that is live from launch `first` to launch `last`, both inclusive.
struct Interval {
  uint64_t size = 0;
  uint32_t first = 0;
  uint32_t last = 0;
};

struct Placement {
  std::vector<uint64_t> offsets;  // one per interval, multiples of the alignment
  uint64_t size = 0;              // of the arena
  uint64_t lower_bound =
      0;  // largest sum of (aligned) sizes live at one launch: no layout is smaller
};

// Alignment is a power of two. Fails (kDoesNotFit) when sizes overflow 64 bits.
llvm::Expected<Placement> place(llvm::ArrayRef<Interval> intervals, uint64_t alignment);

// Checks every pair: buffers that are live at the same time must not share bytes, all lie in the
// arena and are aligned. Independent of place(); quadratic on purpose.
llvm::Error verify(llvm::ArrayRef<Interval> intervals, const Placement& placement,
                   uint64_t alignment);

}  // namespace jllm::memory

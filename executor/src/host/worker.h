// A share of a launch's work, which one thread does, and the fixed way in which work is shared. How
// many shares there are is the plan's; which thread does which is nobody's business.
#pragma once

#include <cstdint>

namespace jllm::host {

struct Worker {
  unsigned index;  // < count
  unsigned count;  // >= 1
};

struct Range {
  uint64_t begin;
  uint64_t end;
};

// The contiguous share of `total` items; shares differ by one item at most. Each item is computed
// in one share alone, so that no result depends on the number of shares or threads.
constexpr Range share_of(uint64_t total, const Worker& worker) {
  const uint64_t each = total / worker.count, rest = total % worker.count;
  const uint64_t index = worker.index;
  const uint64_t begin = each * index + (index < rest ? index : rest);
  return {begin, begin + each + (index < rest ? 1 : 0)};
}

}  // namespace jllm::host

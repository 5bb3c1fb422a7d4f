#include "compiler/memory/placement.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "compiler/support/error.h"
#include "schema/checked_math.h"

namespace jllm::memory {
namespace {

bool overlap_in_time(const Interval& a, const Interval& b) {
  return a.first <= b.last && b.first <= a.last;
}

// Places in the given order, each buffer into the smallest gap between already placed buffers that
// are live with it, or behind the last of them. Sizes are aligned and their sum fits 64 bits.
Placement place_in_order(llvm::ArrayRef<Interval> intervals, llvm::ArrayRef<uint32_t> order) {
  Placement result;
  result.offsets.assign(intervals.size(), 0);
  std::vector<uint32_t> placed;  // by offset
  for (const uint32_t id : order) {
    const Interval& interval = intervals[id];
    uint64_t end = 0;  // of the buffers passed so far
    uint64_t best = UINT64_MAX;
    uint64_t best_gap = UINT64_MAX;
    for (const uint32_t other : placed) {
      if (!overlap_in_time(interval, intervals[other])) continue;
      const uint64_t start = result.offsets[other];
      if (start > end && start - end >= interval.size && start - end < best_gap) {
        best = end;
        best_gap = start - end;
      }
      end = std::max(end, start + intervals[other].size);
    }
    result.offsets[id] = best != UINT64_MAX ? best : end;
    result.size = std::max(result.size, result.offsets[id] + interval.size);
    const auto position =
        std::upper_bound(placed.begin(), placed.end(), id, [&](uint32_t a, uint32_t b) {
          return result.offsets[a] != result.offsets[b] ? result.offsets[a] < result.offsets[b]
                                                        : a < b;
        });
    placed.insert(position, id);
  }
  return result;
}

uint64_t peak_live_bytes(llvm::ArrayRef<Interval> intervals) {
  std::map<uint64_t, int64_t>
      change;  // launch -> bytes that appear (or, behind the last use, vanish)
  for (const Interval& interval : intervals) {
    change[interval.first] += static_cast<int64_t>(interval.size);
    change[uint64_t{interval.last} + 1] -= static_cast<int64_t>(interval.size);
  }
  int64_t live = 0;
  int64_t peak = 0;
  for (const auto& [launch, bytes] : change) {
    live += bytes;
    peak = std::max(peak, live);
  }
  return static_cast<uint64_t>(peak);
}

}  // namespace

llvm::Expected<Placement> place(llvm::ArrayRef<Interval> intervals, uint64_t alignment) {
  std::vector<Interval> aligned(intervals.begin(), intervals.end());
  uint64_t total = 0;
  for (Interval& interval : aligned) {
    if (!checked_align_up(interval.size, alignment, &interval.size) ||
        !checked_add(total, interval.size, &total) || total > uint64_t{1} << 62) {
      return fail(ExitCode::kDoesNotFit, "the buffers of the model exceed 64-bit sizes");
    }
  }
  using Less = bool (*)(const Interval&, const Interval&);
  const Less orders[] = {
      [](const Interval& a, const Interval& b) { return a.size > b.size; },
      [](const Interval& a, const Interval& b) {
        return double(a.size) * (double(a.last) - a.first + 1) >
               double(b.size) * (double(b.last) - b.first + 1);
      },
      [](const Interval& a, const Interval& b) { return a.first < b.first; },
  };
  const uint64_t lower_bound = peak_live_bytes(aligned);
  Placement best;
  for (const Less less : orders) {
    std::vector<uint32_t> order(aligned.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return less(aligned[a], aligned[b]); });
    Placement placement = place_in_order(aligned, order);
    if (best.offsets.empty() || placement.size < best.size) best = std::move(placement);
    if (best.size == lower_bound) break;
  }
  best.lower_bound = lower_bound;
  return best;
}

llvm::Error verify(llvm::ArrayRef<Interval> intervals, const Placement& placement,
                   uint64_t alignment) {
  if (placement.offsets.size() != intervals.size()) {
    return fail(ExitCode::kFailed, "internal: {0} offsets for {1} buffers",
                placement.offsets.size(), intervals.size());
  }
  for (size_t i = 0; i < intervals.size(); ++i) {
    const uint64_t offset = placement.offsets[i];
    if (offset % alignment != 0 || !range_inside(offset, intervals[i].size, placement.size)) {
      return fail(ExitCode::kFailed, "internal: buffer {0} lies outside its arena", i);
    }
    for (size_t j = 0; j < i; ++j) {
      const bool same_time = overlap_in_time(intervals[i], intervals[j]);
      const bool same_place = offset < placement.offsets[j] + intervals[j].size &&
                              placement.offsets[j] < offset + intervals[i].size;
      if (same_time && same_place) {
        return fail(ExitCode::kFailed, "internal: buffers {0} and {1} overlap", j, i);
      }
    }
  }
  return llvm::Error::success();
}

}  // namespace jllm::memory

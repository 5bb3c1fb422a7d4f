#include "tests/support/fake_cuda/race.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include "tests/support/fake_cuda/books.h"
#include "tests/support/fake_cuda/report.h"
#include "tests/support/fake_cuda/simt_runtime.h"

namespace jllm::fake {
namespace {

bool checking = false;

// Who touched a byte last. Of readers the last one, the lanes of its warp that read in the same
// stretch, and whether threads of another warp, or another block, did so before it.
struct Touch {
  uint64_t block = 0;
  uint32_t epoch = 0, warp_epoch = 0, thread = 0;
};
struct Cell {
  Touch write, read;
  uint32_t read_lanes = 0;
  bool write_was_atomic = false, other_warps_read = false;
  uint64_t other_block_read = 0;
};

constexpr uint64_t kPage = 1024;
std::unordered_map<uint64_t, std::unique_ptr<Cell[]>> pages;
std::vector<Cell> shared_cells;
// By ticket: until which of its epochs each block's accesses came before. And what the running
// block knows of others.
std::unordered_map<const void*, std::unordered_map<uint64_t, uint32_t>> tickets;
std::unordered_map<uint64_t, uint32_t> before_us;
uint64_t known_block = 0;

Cell& global_cell(uint64_t address) {
  std::unique_ptr<Cell[]>& page = pages[address / kPage];
  if (page == nullptr) page = std::make_unique<Cell[]>(kPage);
  return page[address % kPage];
}

// Whether the touch came before what the running thread does now.
bool is_before(const Touch& touch, const Position& now) {
  if (touch.block < now.first) return true;  // an earlier launch, or nobody
  if (touch.block != now.block) {
    const auto it = before_us.find(touch.block);
    return it != before_us.end() && touch.epoch <= it->second;
  }
  if (touch.epoch != now.epoch || touch.thread == now.thread) return true;
  return touch.thread / 32 == now.thread / 32 && touch.warp_epoch != now.warp_epoch;
}

// A write over another thread's write, which is no harm where both write the same: known once it
// is done.
struct Overwrite {
  const char* at = nullptr;
  uint64_t bytes = 0;
  char before[64];
  char report[256];
} overwrite;

std::string conflict_text(const char* what, const Touch& touch, const Position& now,
                          const char* kind) {
  return std::string("race: ") + what + " " + kind + " memory, and thread " +
         std::to_string(touch.thread) + (touch.block != now.block ? " of another block" : "") +
         " has touched it with no barrier between";
}

void conflict(const char* what, const Touch& touch, const Position& now, const char* kind) {
  violation("%s", conflict_text(what, touch, now, kind).c_str());
}

void note_overwrite(const void* at, uint64_t bytes, const std::string& report) {
  if (overwrite.at != nullptr) return;
  overwrite.at = static_cast<const char*>(at);
  overwrite.bytes = std::min<uint64_t>(bytes, sizeof overwrite.before);
  std::memcpy(overwrite.before, at, overwrite.bytes);
  std::snprintf(overwrite.report, sizeof overwrite.report, "%s [%s]", report.c_str(), where());
}

// Of byte `at`, which is the first of `bytes` of the access that are left.
bool touch_cell(Cell& cell, const void* at, uint64_t bytes, const Position& now, Access access,
                const char* kind, bool is_shared) {
  const bool writes = access != Access::kRead;
  // Another block's shared memory is another memory.
  if (is_shared && std::max(cell.write.block, cell.read.block) != now.block) cell = {};
  const bool both_atomic = access == Access::kAtomic && cell.write_was_atomic;
  if (is_shared && !writes && cell.write.block != now.block) {
    violation("reads shared memory that the block has not written");
    cell.write.block = now.block;
    return false;
  }
  if (!both_atomic && !is_before(cell.write, now)) {
    if (access != Access::kWrite) {
      conflict(writes ? "writes" : "reads", cell.write, now, kind);
      return false;
    }
    note_overwrite(at, bytes, conflict_text("writes", cell.write, now, kind));
  }
  const bool same_stretch = cell.read.block == now.block && cell.read.epoch == now.epoch;
  if (writes && !both_atomic) {
    const bool other_block = cell.other_block_read >= now.first &&
                             cell.other_block_read != now.block &&
                             !is_before({cell.other_block_read, ~0u, 0, 0}, now);
    const bool other_lanes = same_stretch && cell.read.thread / 32 == now.thread / 32 &&
                             cell.read.warp_epoch == now.warp_epoch &&
                             (cell.read_lanes & ~(1u << now.thread % 32)) != 0;
    if (!is_before(cell.read, now) || other_block || other_lanes ||
        (same_stretch && cell.other_warps_read)) {
      conflict("writes", cell.read, now, kind);
      return false;
    }
  }
  const Touch touch = {now.block, now.epoch, now.warp_epoch, now.thread};
  if (writes) {
    cell.write = touch;
    cell.write_was_atomic = access == Access::kAtomic;
  }
  if (access == Access::kWrite) return true;
  if (access == Access::kAtomic) return true;
  if (!same_stretch) {
    if (cell.read.block >= now.first && cell.read.block != now.block) {
      cell.other_block_read = cell.read.block;
    }
    cell.other_warps_read = false;
    cell.read_lanes = 0;
  } else if (cell.read.thread / 32 != now.thread / 32) {
    cell.other_warps_read = true;
    cell.read_lanes = 0;
  } else if (cell.read.warp_epoch != now.warp_epoch) {
    cell.read_lanes = 0;
  }
  cell.read = touch;
  cell.read_lanes |= 1u << now.thread % 32;
  return true;
}

}  // namespace

void check_races(bool on) { checking = on; }
bool checks_races() { return checking; }

void begin_checked_launch() {
  if (!checking) return;
  tickets.clear();
  before_us.clear();
}

void finish_overwrite() {
  if (overwrite.at == nullptr) return;
  const bool same = std::memcmp(overwrite.before, overwrite.at, overwrite.bytes) == 0;
  overwrite.at = nullptr;
  if (!same) violation("%s, seen", overwrite.report);
}

void note_access(const void* at, uint64_t bytes, Access access) {
  if (!checking || !is_running()) return;
  finish_overwrite();
  if (bytes == 0 || is_private(at)) return;
  const char* const first = static_cast<const char*>(at);
  const Position now = position();
  if (known_block != now.block) {
    known_block = now.block;
    before_us.clear();
  }
  uint64_t offset = 0;
  if (is_shared(at, &offset)) {
    if (shared_cells.size() < offset + bytes) shared_cells.resize(offset + bytes);
    for (uint64_t i = 0; i < bytes; ++i) {
      Cell& cell = shared_cells[offset + i];
      if (!touch_cell(cell, first + i, bytes - i, now, access, "shared", true)) return;
    }
    return;
  }
  const auto address = reinterpret_cast<uint64_t>(at);
  bool known = false;
  {
    const std::lock_guard<std::mutex> lock(books().mutex);
    known = books().find(address, bytes, false) != nullptr;
  }
  if (!known) {
    // Constants of the kernel's own library.
    Dl_info info;
    if (access == Access::kRead && dladdr(at, &info) != 0) return;
    violation("%s %llu bytes at %p, which nothing was allocated for",
              access == Access::kRead ? "reads" : "writes", static_cast<unsigned long long>(bytes),
              at);
    return;
  }
  for (uint64_t i = 0; i < bytes; ++i) {
    Cell& cell = global_cell(address + i);
    if (!touch_cell(cell, first + i, bytes - i, now, access, "global", false)) return;
  }
}

void note_ticket(const void* at) {
  if (!checking || !is_running()) return;
  const Position now = position();
  auto& ticket = tickets[at];
  for (const auto& [block, epoch] : ticket) {
    uint32_t& known = before_us[block];
    if (known < epoch) known = epoch;
  }
  // What the block's other threads did since its last barrier is not published.
  if (now.epoch > 0) ticket[now.block] = now.epoch - 1;
}

}  // namespace jllm::fake

// --- What -fsanitize=thread calls ---

#pragma GCC visibility push(default)
extern "C" {

using jllm::fake::Access;
using jllm::fake::note_access;

void __tsan_init(void) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit(void) {}
#define FAKE_ACCESS(size)                                                                \
  void __tsan_read##size(void* at) { note_access(at, size, Access::kRead); }             \
  void __tsan_write##size(void* at) { note_access(at, size, Access::kWrite); }           \
  void __tsan_unaligned_read##size(void* at) { note_access(at, size, Access::kRead); }   \
  void __tsan_unaligned_write##size(void* at) { note_access(at, size, Access::kWrite); } \
  void __tsan_volatile_read##size(void* at) { note_access(at, size, Access::kRead); }    \
  void __tsan_volatile_write##size(void* at) { note_access(at, size, Access::kWrite); }
FAKE_ACCESS(1)
FAKE_ACCESS(2)
FAKE_ACCESS(4)
FAKE_ACCESS(8)
FAKE_ACCESS(16)
void __tsan_read_range(void* at, unsigned long size) { note_access(at, size, Access::kRead); }
void __tsan_write_range(void* at, unsigned long size) { note_access(at, size, Access::kWrite); }
void __tsan_atomic32_store(volatile unsigned* at, unsigned value, int) {
  note_access(const_cast<unsigned*>(at), 4, Access::kAtomic);
  __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

}  // extern "C"
#pragma GCC visibility pop

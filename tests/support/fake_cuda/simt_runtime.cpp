#include "tests/support/fake_cuda/simt_runtime.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "tests/support/fake_cuda/fiber.h"
#include "tests/support/fake_cuda/race.h"
#include "tests/support/fake_cuda/report.h"
#include "tests/support/fake_cuda/warp_ops.h"

extern "C" {
SimtThread* simt_current;
SimtBlock simt_block;
}

namespace jllm::fake {
namespace {

constexpr uint32_t kMaxThreads = 1024;
constexpr uint32_t kWarpSize = 32;
constexpr uint32_t kDynamicAddress = 1024;      // of shared memory, as kernels see it
constexpr uint32_t kStaticAddress = 0x1000000;  // behind any dynamic size
// Neither a power of two nor whole pages: stacks would share few lines of the caches, and few
// entries of the page tables'.
constexpr size_t kStackBytes = (256 << 10) + 4096 + 256;
constexpr uint32_t kMostCopies = 64;

enum class State : uint8_t { kReady, kWarp, kBarrier, kGone };

struct Copy {
  void* to;
  const void* from;
  uint32_t bytes, size;
};

struct Thread : SimtThread {
  Fiber fiber;
  State state;
  SimtCollective kind;
  uint32_t mask;
  void* arguments;
  uint32_t result;  // of a barrier
  // Copies under way, oldest first, and where its groups end.
  Copy copies[kMostCopies];
  uint32_t copy_count, group_ends[kMostCopies], group_count;
};

struct Warp {
  uint32_t ready, alive, waiting;
  uint32_t epoch;
};

class Runtime {
 public:
  bool run(const Launch& launch, uint64_t seed);
  void wait_for_warp(SimtCollective kind, uint32_t mask, void* arguments);
  uint32_t wait_for_block(uint32_t value);
  void thread_ends();
  Thread& self() { return *static_cast<Thread*>(simt_current); }

  const Launch* launch = nullptr;
  unsigned char* dynamic = nullptr;
  uint64_t block_number = 0, first_block = 0;
  uint32_t epoch = 0;
  uint32_t warp_epoch(uint32_t warp) const { return warps_[warp].epoch; }
  char* stacks() const { return stacks_; }

 private:
  void run_block();
  void fill_shared();
  void next_fiber();
  uint32_t pick_warp();
  void report_stuck();
  static void entry();

  std::vector<Thread> threads_ = std::vector<Thread>(kMaxThreads);
  Warp warps_[kMaxThreads / kWarpSize] = {};
  uint32_t thread_count_ = 0, warp_count_ = 0, warp_ = 0;
  uint32_t alive_ = 0, at_barrier_ = 0, barrier_sum_ = 0;
  Fiber main_;
  char* stacks_ = nullptr;
  bool shuffled_ = false, stuck_ = false, failed_ = false;
  std::minstd_rand random_;
};

Runtime& runtime() {
  static Runtime* const the_runtime = new Runtime;
  return *the_runtime;
}

void junk(unsigned char* from, const unsigned char* to) {
  // Not memset: with AddressSanitizer there are zones between variables that it must not see.
  for (volatile unsigned char* at = from; at < to; ++at) *at = 0xff;
}

// The fields of `grid` that block `index` has.
uint3 index_in(uint64_t index, uint3 size) {
  return {uint32_t(index % size.x), uint32_t(index / size.x % size.y),
          uint32_t(index / size.x / size.y)};
}

bool Runtime::run(const Launch& l, uint64_t seed) {
  launch = &l;
  thread_count_ = l.block.x * l.block.y * l.block.z;
  warp_count_ = (thread_count_ + kWarpSize - 1) / kWarpSize;
  simt_block.size = l.block;
  simt_block.grid = l.grid;
  shuffled_ = seed != 0;
  failed_ = false;
  random_.seed(static_cast<uint32_t>(seed));
  if (stacks_ == nullptr) {
    stacks_ = static_cast<char*>(mmap(nullptr, kMaxThreads * kStackBytes, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  }
  const uint64_t room = (l.shared_bytes + 1023) / 1024 * 1024 + 1024;
  unsigned char* const memory =
      static_cast<unsigned char*>(std::aligned_alloc(1024, static_cast<size_t>(room)));
  // What was asked for ends where the zone of AddressSanitizer begins.
  dynamic = memory + (room - 1024 - (l.shared_bytes + 15) / 16 * 16) / 1024 * 1024;
  poison(dynamic + l.shared_bytes, static_cast<size_t>(memory + room - dynamic) - l.shared_bytes);
  const uint64_t blocks = uint64_t{l.grid.x} * l.grid.y * l.grid.z;
  first_block = block_number + 1;
  // A step coprime to the number of blocks visits each once.
  uint64_t step = 1, block = 0;
  if (shuffled_ && blocks > 1) {
    block = random_() % blocks;
    step = 1 + random_() % (blocks - 1);
    while (std::gcd(step, blocks) != 1) ++step;
  }
  begin_checked_launch();
  for (uint64_t i = 0; i < blocks && !failed_; ++i, block = (block + step) % blocks) {
    simt_block.index = index_in(block, l.grid);
    run_block();
  }
  unpoison(memory, static_cast<size_t>(room));
  std::free(memory);
  launch = nullptr;
  simt_current = nullptr;
  return !failed_;
}

void Runtime::fill_shared() {
  junk(launch->kernel->shared, launch->kernel->shared_end);
  junk(dynamic, dynamic + launch->shared_bytes);
}

void Runtime::run_block() {
  ++block_number;
  fill_shared();
  alive_ = thread_count_;
  at_barrier_ = barrier_sum_ = epoch = 0;
  stuck_ = false;
  for (uint32_t i = 0; i < thread_count_; ++i) {
    Thread& thread = threads_[i];
    thread.index = index_in(i, launch->block);
    thread.lane = i % kWarpSize;
    thread.warp = i / kWarpSize;
    thread.state = State::kReady;
    thread.copy_count = thread.group_count = 0;
    thread.fiber.prepare(stacks_ + i * kStackBytes, kStackBytes, &Runtime::entry);
  }
  for (uint32_t w = 0; w < warp_count_; ++w) {
    const uint32_t lanes = std::min(kWarpSize, thread_count_ - w * kWarpSize);
    warps_[w] = {};
    warps_[w].ready = warps_[w].alive = lanes == kWarpSize ? ~0u : (1u << lanes) - 1;
  }
  warp_ = 0;
  // The first fiber; it comes back here when no fiber can go on.
  const uint32_t first = pick_warp() * kWarpSize;
  warps_[warp_].ready &= warps_[warp_].ready - 1;
  simt_current = &threads_[first];
  main_.switch_to(threads_[first].fiber);
  if (alive_ == 0) return;
  report_stuck();
  failed_ = true;
  unpoison(stacks_, kMaxThreads * kStackBytes);  // of frames that nobody leaves
}

uint32_t Runtime::pick_warp() {
  uint32_t start = warp_;
  if (shuffled_ && random_() % 4 == 0) start = static_cast<uint32_t>(random_() % warp_count_);
  for (uint32_t i = 0; i < warp_count_; ++i) {
    const uint32_t w = start + i < warp_count_ ? start + i : start + i - warp_count_;
    if (warps_[w].ready != 0) return warp_ = w;
  }
  return kMaxThreads;
}

// Leaves the running fiber for one that can run, or for the main one.
void Runtime::next_fiber() {
  Thread& from = self();
  const uint32_t w = pick_warp();
  if (w == kMaxThreads) {
    from.fiber.switch_to(main_);
    return;
  }
  uint32_t lane = static_cast<uint32_t>(__builtin_ctz(warps_[w].ready));
  if (shuffled_) {
    const uint32_t turn = static_cast<uint32_t>(random_() % kWarpSize);
    const uint32_t rotated = warps_[w].ready >> turn | warps_[w].ready << (32 - turn) % 32;
    lane = (static_cast<uint32_t>(__builtin_ctz(rotated)) + turn) % kWarpSize;
  }
  warps_[w].ready &= ~(1u << lane);
  Thread& to = threads_[w * kWarpSize + lane];
  simt_current = &to;
  if (&to != &from) from.fiber.switch_to(to.fiber);
}

void Runtime::entry() {
  Runtime& r = runtime();
  r.self().fiber.arrived();
  r.launch->kernel->call(r.launch->arguments);
  r.thread_ends();
}

void Runtime::thread_ends() {
  finish_overwrite();
  Thread& thread = self();
  if (thread.copy_count > 0) violation("a thread ends with copies under way");
  thread.state = State::kGone;
  warps_[thread.warp].alive &= ~(1u << thread.lane);
  --alive_;
  next_fiber();
  std::abort();  // nobody comes back
}

void Runtime::wait_for_warp(SimtCollective kind, uint32_t mask, void* arguments) {
  finish_overwrite();
  Thread& thread = self();
  Warp& warp = warps_[thread.warp];
  if ((mask >> thread.lane & 1) == 0) violation("a thread is not in the mask that it gives");
  thread.kind = kind;
  thread.mask = mask;
  thread.arguments = arguments;
  thread.state = State::kWarp;
  warp.waiting |= 1u << thread.lane;
  bool all = (warp.waiting & mask) == mask;
  Thread* const lanes = &threads_[thread.warp * kWarpSize];
  for (uint32_t lane = 0; all && lane < kWarpSize; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    all = lanes[lane].mask == mask;
    if (all && lanes[lane].kind != kind) violation("lanes of one warp wait for different things");
  }
  if (!all) return next_fiber();
  void* everyone[kWarpSize] = {};
  for (uint32_t lane = 0; lane < kWarpSize; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    everyone[lane] = lanes[lane].arguments;
    lanes[lane].state = State::kReady;
  }
  // Lanes read shared memory each for itself: as the thread that gave the address.
  if (kind == kSimtMatrices && checks_races()) {
    for (uint32_t lane = 0; lane < kWarpSize; ++lane) {
      simt_current = &lanes[lane];
      note_access(static_cast<SimtMatrices*>(everyone[lane])->row, 16, Access::kRead);
    }
    simt_current = &thread;
  }
  combine(kind, mask, everyone);
  if (kind == kSimtSync && mask == ~0u) ++warp.epoch;
  warp.waiting &= ~mask;
  warp.ready |= mask & ~(1u << thread.lane);
}

uint32_t Runtime::wait_for_block(uint32_t value) {
  finish_overwrite();
  Thread& thread = self();
  thread.state = State::kBarrier;
  barrier_sum_ += value != 0;
  if (++at_barrier_ == thread_count_) {
    for (uint32_t i = 0; i < thread_count_; ++i) {
      threads_[i].state = State::kReady;
      threads_[i].result = barrier_sum_;
    }
    for (uint32_t w = 0; w < warp_count_; ++w) warps_[w].ready = warps_[w].alive;
    warps_[thread.warp].ready &= ~(1u << thread.lane);
    at_barrier_ = barrier_sum_ = 0;
    ++epoch;
  } else {
    next_fiber();
  }
  return thread.result;
}

void Runtime::report_stuck() {
  uint32_t gone = 0, barrier = 0, warp = 0;
  for (uint32_t i = 0; i < thread_count_; ++i) {
    gone += threads_[i].state == State::kGone;
    barrier += threads_[i].state == State::kBarrier;
    warp += threads_[i].state == State::kWarp;
  }
  violation(
      "divergent: of %u threads %u wait at a barrier of the block, %u for lanes of their warp, "
      "and %u have ended",
      thread_count_, barrier, warp, gone);
}

}  // namespace

bool run_launch(const Launch& launch, uint64_t seed) { return runtime().run(launch, seed); }

bool is_running() { return simt_current != nullptr; }

const char* where() {
  static char text[256];
  const Launch* launch = runtime().launch;
  if (launch == nullptr || simt_current == nullptr) return "host";
  const uint3 b = simt_block.index, t = simt_current->index;
  std::snprintf(text, sizeof text, "%s block (%u,%u,%u) thread (%u,%u,%u)", launch->name, b.x, b.y,
                b.z, t.x, t.y, t.z);
  return text;
}

Position position() {
  Runtime& r = runtime();
  const Thread& thread = r.self();
  return {r.block_number, r.first_block, r.epoch, r.warp_epoch(thread.warp),
          thread.warp * kWarpSize + thread.lane};
}

bool is_shared(const void* at, uint64_t* offset) {
  const Runtime& r = runtime();
  const auto* p = static_cast<const unsigned char*>(at);
  if (p >= r.dynamic && p < r.dynamic + r.launch->shared_bytes) {
    *offset = static_cast<uint64_t>(p - r.dynamic);
    return true;
  }
  const SimtKernel& kernel = *r.launch->kernel;
  if (p < kernel.shared || p >= kernel.shared_end) return false;
  *offset = r.launch->shared_bytes + static_cast<uint64_t>(p - kernel.shared);
  return true;
}

bool is_private(const void* at) {
  const char* const stacks = runtime().stacks();
  const auto* p = static_cast<const char*>(at);
  const auto inside = [p](const void* from, size_t bytes) {
    const auto* begin = static_cast<const char*>(from);
    return p >= begin && p < begin + bytes;
  };
  return inside(stacks, kMaxThreads * kStackBytes) || inside(&simt_current, sizeof simt_current) ||
         inside(&simt_block, sizeof simt_block) || inside(&runtime().self(), sizeof(SimtThread));
}

}  // namespace jllm::fake

// --- What kernels call ---

using jllm::fake::Access;
using jllm::fake::note_access;
using jllm::fake::runtime;
using jllm::fake::violation;

extern "C" {

void simt_warp(SimtCollective kind, unsigned mask, void* arguments) {
  runtime().wait_for_warp(kind, mask, arguments);
}
unsigned simt_barrier(unsigned value) { return runtime().wait_for_block(value); }
void* simt_dynamic_shared(void) { return runtime().dynamic; }

unsigned simt_shared_address(const void* at) {
  const auto& r = runtime();
  const auto* p = static_cast<const unsigned char*>(at);
  if (p >= r.dynamic && p <= r.dynamic + r.launch->shared_bytes) {
    return jllm::fake::kDynamicAddress + static_cast<unsigned>(p - r.dynamic);
  }
  const SimtKernel& kernel = *r.launch->kernel;
  if (p < kernel.shared || p > kernel.shared_end) violation("no address of shared memory");
  return jllm::fake::kStaticAddress + static_cast<unsigned>(p - kernel.shared);
}

void* simt_shared_pointer(unsigned address, unsigned bytes) {
  const auto& r = runtime();
  if (address % bytes != 0) violation("shared address %u is not aligned to %u", address, bytes);
  if (address >= jllm::fake::kStaticAddress) {
    unsigned char* p = r.launch->kernel->shared + (address - jllm::fake::kStaticAddress);
    if (p + bytes > r.launch->kernel->shared_end) violation("beyond static shared memory");
    return p;
  }
  if (address < jllm::fake::kDynamicAddress ||
      address - jllm::fake::kDynamicAddress + uint64_t{bytes} > r.launch->shared_bytes) {
    violation("beyond the %u bytes of dynamic shared memory: offset %d", r.launch->shared_bytes,
              static_cast<int>(address - jllm::fake::kDynamicAddress));
    return r.dynamic;
  }
  return r.dynamic + (address - jllm::fake::kDynamicAddress);
}

// As late as allowed: the bytes move when the thread waits for them.
void simt_copy_async(unsigned to, const void* from, unsigned bytes, unsigned size) {
  auto& thread = runtime().self();
  if (thread.copy_count == jllm::fake::kMostCopies) {
    violation("more than %u copies under way in one thread", jllm::fake::kMostCopies);
    return;
  }
  if (size > bytes) violation("a copy of %u bytes reads %u", bytes, size);
  if (size > 0 && reinterpret_cast<uintptr_t>(from) % bytes != 0) {
    violation("a copy of %u bytes reads from an address that is not aligned", bytes);
  }
  void* const target = simt_shared_pointer(to, bytes);
  note_access(target, bytes, Access::kWrite);
  thread.copies[thread.copy_count++] = {target, from, bytes, size};
}

void simt_end_copies(void) {
  auto& thread = runtime().self();
  if (thread.group_count == jllm::fake::kMostCopies) return violation("too many groups of copies");
  thread.group_ends[thread.group_count++] = thread.copy_count;
}

void simt_wait_for_copies(unsigned pending) {
  auto& thread = runtime().self();
  if (thread.group_count <= pending) return;
  const uint32_t groups = thread.group_count - pending;
  const uint32_t done = thread.group_ends[groups - 1];
  for (uint32_t i = 0; i < done; ++i) {
    const auto& copy = thread.copies[i];
    note_access(copy.from, copy.size, Access::kRead);
    note_access(copy.to, copy.bytes, Access::kWrite);
    std::memcpy(copy.to, copy.from, copy.size);
    std::memset(static_cast<char*>(copy.to) + copy.size, 0, copy.bytes - copy.size);
  }
  std::copy(thread.copies + done, thread.copies + thread.copy_count, thread.copies);
  thread.copy_count -= done;
  for (uint32_t i = groups; i < thread.group_count; ++i) {
    thread.group_ends[i - groups] = thread.group_ends[i] - done;
  }
  thread.group_count = pending;
}

uint64_t simt_atomic_add(void* at, uint64_t value, unsigned bytes) {
  note_access(at, bytes, Access::kAtomic);
  uint64_t old = 0;
  std::memcpy(&old, at, bytes);
  value += old;
  std::memcpy(at, &value, bytes);
  return old;
}

unsigned simt_atomic_increment(unsigned* at, unsigned last) {
  note_access(at, 4, Access::kAtomic);
  jllm::fake::note_ticket(at);
  const unsigned old = *at;
  *at = old >= last ? 0 : old + 1;
  return old;
}

}  // extern "C"

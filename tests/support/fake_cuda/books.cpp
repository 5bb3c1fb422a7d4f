#include "tests/support/fake_cuda/books.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdlib>
#include <cstring>

#include "tests/support/fake_cuda/fake_cuda.h"
#include "tests/support/fake_cuda/queue.h"
#include "tests/support/fake_cuda/report.h"

namespace jllm::fake {
namespace {

constexpr uint64_t kGuard = 4096;
constexpr unsigned char kGuardByte = 0xa5;
std::atomic<unsigned char> junk{0xff};  // as floats: NaN

struct Counters {
  std::atomic<uint64_t> of[static_cast<size_t>(Entry::kCount)] = {};
  std::atomic<uint64_t> all{0}, fail_at{0}, unwanted{0};
  std::atomic<bool> from_then_on{false}, sealed{false};
  std::atomic<const char*> failed{nullptr};
};
Counters counters;

bool takes_something(Entry entry) {
  switch (entry) {
    case Entry::cuMemAlloc_v2:
    case Entry::cuMemHostAlloc:
    case Entry::cuModuleLoadData:
    case Entry::cuStreamCreate:
    case Entry::cuEventCreate:
    case Entry::cuStreamBeginCapture_v2:
    case Entry::cuStreamEndCapture:
    case Entry::cuGraphInstantiateWithFlags:
    case Entry::cuDevicePrimaryCtxRetain:
    case Entry::cuFuncSetAttribute:
    case Entry::cuCtxSetLimit:
      return true;
    default:
      return false;
  }
}

bool gives_back(Entry entry) {
  switch (entry) {
    case Entry::cuMemFree_v2:
    case Entry::cuMemFreeHost:
    case Entry::cuModuleUnload:
    case Entry::cuStreamDestroy_v2:
    case Entry::cuEventDestroy_v2:
    case Entry::cuGraphExecDestroy:
    case Entry::cuGraphDestroy:
    case Entry::cuDevicePrimaryCtxRelease_v2:
    case Entry::cuGetErrorName:
    case Entry::cuGetErrorString:
      return true;
    default:
      return false;
  }
}

// A status that the call may return.
cuda::Status failure_of(Entry entry) {
  switch (entry) {
    case Entry::cuMemAlloc_v2:
    case Entry::cuMemHostAlloc:
      return cuda::kErrorOutOfMemory;
    case Entry::cuInit:
    case Entry::cuDeviceGetCount:
      return cuda::kErrorNoDevice;
    case Entry::cuGetErrorName:
    case Entry::cuGetErrorString:
      return 1;  // invalid value
    default:
      return 719;  // launch failed: what any call reports of a device that has failed
  }
}

}  // namespace

const char* entry_name(Entry entry) {
  static const char* const names[] = {
#define JLLM_NAME(field, symbol, parameters) #symbol,
      JLLM_CUDA_API(JLLM_NAME) JLLM_CUDA_OPTIONAL_API(JLLM_NAME)
#undef JLLM_NAME
  };
  return names[static_cast<uint32_t>(entry)];
}

Books& books() {
  static Books* const the_books = [] {
    auto* made = new Books;
    const char* capability = std::getenv("JLLM_FAKE_CUDA_CAPABILITY");
    if (capability != nullptr) made->capability = static_cast<uint32_t>(std::atoi(capability));
    return made;
  }();
  return *the_books;
}

Call::Call(Entry entry) : entry_(entry) {
  ++counters.of[static_cast<size_t>(entry)];
  if (counters.sealed && takes_something(entry)) ++counters.unwanted;
  const uint64_t number = ++counters.all, at = counters.fail_at;
  if (at == 0 || number < at) return;
  if (number > at && (!counters.from_then_on || gives_back(entry))) return;
  injected_ = failure_of(entry);
  if (number == at) counters.failed = entry_name(entry);
}

cuda::Status Call::wrong(cuda::Status status, const char* format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  violation("%s: %s", entry_name(entry_), text);
  return status;
}

// Two views of the same pages: a kernel that is given the CPU's address is found out. What was
// given back is taken again: the system takes long to make pages.
bool Books::map_pinned(Allocation* a) {
  if (const auto it = spare_.find(a->raw_bytes); it != spare_.end()) {
    a->raw = it->second.first;
    a->host = it->second.second + kGuard;
    spare_.erase(it);
    return true;
  }
  const int file = memfd_create("pinned", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, static_cast<off_t>(a->raw_bytes)) != 0) return false;
  const auto map = [&] {
    return static_cast<char*>(
        mmap(nullptr, a->raw_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
  };
  a->raw = map();
  a->host = map() + kGuard;
  close(file);
  return true;
}

bool Books::allocate(uint64_t bytes, bool pinned_memory, Allocation* out) {
  if (bytes > total - used) return false;
  Allocation a = {};
  a.bytes = bytes;
  a.raw_bytes = (bytes + 4095) / 4096 * 4096 + 2 * kGuard;
  if (pinned_memory) {
    if (!map_pinned(&a)) return false;
    a.address = reinterpret_cast<uint64_t>(a.raw + kGuard);
  } else {
    a.raw = static_cast<char*>(std::aligned_alloc(4096, a.raw_bytes));
    if (a.raw == nullptr) return false;
    a.address = reinterpret_cast<uint64_t>(a.raw + kGuard);
  }
  std::memset(a.raw, kGuardByte, a.raw_bytes);
  std::memset(a.raw + kGuard, junk, bytes);
  if (!pinned_memory) {
    poison(a.raw, kGuard);
    poison(a.raw + kGuard + bytes, a.raw_bytes - kGuard - bytes);
  }
  device[a.address] = a;
  if (pinned_memory) pinned[reinterpret_cast<uint64_t>(a.host)] = a.address;
  used += bytes;
  *out = a;
  return true;
}

const Allocation* Books::find(uint64_t address, uint64_t bytes, bool host) const {
  if (host) {
    auto it = pinned.upper_bound(address);
    if (it == pinned.begin()) return nullptr;
    --it;
    const Allocation& a = device.at(it->second);
    const uint64_t offset = address - it->first;
    return offset <= a.bytes && bytes <= a.bytes - offset ? &a : nullptr;
  }
  auto it = device.upper_bound(address);
  if (it == device.begin()) return nullptr;
  const Allocation& a = (--it)->second;
  const uint64_t offset = address - a.address;
  return offset <= a.bytes && bytes <= a.bytes - offset ? &a : nullptr;
}

bool Books::release(uint64_t address, bool host) {
  if (host) {
    const auto it = pinned.find(address);
    if (it == pinned.end()) return false;
    address = it->second;
    pinned.erase(it);
  }
  const auto it = device.find(address);
  if (it == device.end() || (it->second.host != nullptr) != host) return false;
  check_guards();
  const Allocation a = it->second;
  device.erase(it);
  used -= a.bytes;
  if (a.host != nullptr) {
    spare_.emplace(a.raw_bytes, std::pair(a.raw, static_cast<char*>(a.host) - kGuard));
  } else {
    unpoison(a.raw, a.raw_bytes);
    std::free(a.raw);
  }
  return true;
}

void Books::check_guards() {
  for (const auto& [address, a] : device) {
    if (a.host == nullptr) unpoison(a.raw, a.raw_bytes);
    const uint64_t end = a.raw_bytes;
    for (uint64_t i = 0; i < end; ++i) {
      if (i == kGuard) i += a.bytes;
      if (i >= end || static_cast<unsigned char>(a.raw[i]) == kGuardByte) continue;
      violation("written beside an allocation of %llu bytes, at offset %lld",
                static_cast<unsigned long long>(a.bytes), static_cast<long long>(i - kGuard));
      a.raw[i] = static_cast<char>(kGuardByte);
    }
    if (a.host != nullptr) continue;
    poison(a.raw, kGuard);
    poison(a.raw + kGuard + a.bytes, a.raw_bytes - kGuard - a.bytes);
  }
}

uint64_t Books::live(std::string* text) const {
  uint64_t count = 0;
  const auto add = [&](uint64_t n, const char* what) {
    count += n;
    if (n > 0) *text += std::to_string(n) + " " + what + "\n";
  };
  add(device.size() - pinned.size(), "device allocations");
  add(pinned.size(), "pinned allocations");
  add(streams.size(), "streams");
  add(events.size(), "events");
  add(modules.size(), "modules");
  add(graphs.size(), "graphs");
  add(execs.size(), "executable graphs");
  add(static_cast<uint64_t>(contexts), "retained contexts");
  return count;
}

}  // namespace jllm::fake

// --- Control ---

using jllm::fake::books;
using jllm::fake::counters;
using jllm::fake::queue;

#pragma GCC visibility push(default)
extern "C" {

void fake_cuda_fail_at(uint64_t k, int from_then_on) {
  queue().wait_for_all();
  queue().repair();
  counters.all = 0;
  counters.fail_at = k;
  counters.from_then_on = from_then_on != 0;
  counters.failed = nullptr;
}
const char* fake_cuda_failed_call(void) { return counters.failed; }
void fake_cuda_set_junk(uint8_t byte) { jllm::fake::junk = byte; }
void fake_cuda_break_kernel(uint64_t k) { queue().break_kernel = k; }
uint64_t fake_cuda_calls(void) { return counters.all; }
uint64_t fake_cuda_calls_of(const char* symbol) {
  for (uint32_t i = 0; i < static_cast<uint32_t>(jllm::fake::Entry::kCount); ++i) {
    if (std::strcmp(jllm::fake::entry_name(static_cast<jllm::fake::Entry>(i)), symbol) == 0) {
      return counters.of[i];
    }
  }
  return UINT64_MAX;
}
uint64_t fake_cuda_kernels_run(void) { return queue().kernels_run; }
void fake_cuda_seal(int on) {
  counters.unwanted = 0;
  counters.sealed = on != 0;
}
uint64_t fake_cuda_unwanted_calls(void) { return counters.unwanted; }

uint64_t fake_cuda_live(char* out, uint64_t size) {
  const std::lock_guard<std::mutex> lock(books().mutex);
  std::string text;
  const uint64_t count = books().live(&text);
  if (size > 0) std::snprintf(out, size, "%s", text.c_str());
  return count;
}
void fake_cuda_collect_violations(int on) {
  jllm::fake::collect_violations(on != 0);
  if (on == 0) queue().repair();
}
uint64_t fake_cuda_violations(char* out, uint64_t size) {
  queue().wait_for_all();
  const uint64_t count = jllm::fake::violation_count();
  const std::string text = jllm::fake::violation_text();
  if (size > 0) std::snprintf(out, size, "%s", text.c_str());
  queue().repair();
  return count;
}
void fake_cuda_set_seed(uint64_t seed) { queue().seed = seed; }
void fake_cuda_execute_only(const char* names) { queue().only = names; }
void fake_cuda_set_delay(uint32_t microseconds) { queue().delay_us = microseconds; }
void fake_cuda_set_memory(uint64_t bytes) {
  const std::lock_guard<std::mutex> lock(books().mutex);
  books().total = bytes;
}
void fake_cuda_set_capability(uint32_t capability) { books().capability = capability; }

}  // extern "C"
#pragma GCC visibility pop

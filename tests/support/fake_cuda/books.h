// What the fake driver keeps account of: allocations and objects, calls, injected faults.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "executor/src/cuda/driver_api.h"
#include "tests/support/fake_cuda/simt_runtime.h"

namespace jllm::fake {

enum class Entry : uint32_t {
#define JLLM_NAME(field, symbol, parameters) symbol,
  JLLM_CUDA_API(JLLM_NAME) JLLM_CUDA_OPTIONAL_API(JLLM_NAME)
#undef JLLM_NAME
      kCount
};
const char* entry_name(Entry entry);

struct Allocation {
  uint64_t address;  // for kernels
  uint64_t bytes;
  void* host;  // for the CPU; null: device memory
  char* raw;
  uint64_t raw_bytes;
};

struct Kernel {
  std::string name;
  SimtKernel code;
  int most_dynamic_shared = 48 << 10;
};
struct LoadedModule {
  void* library;
  std::string build_name;
  std::map<std::string, std::unique_ptr<Kernel>> functions;
};
struct EventState {
  unsigned flags;
  uint64_t recorded = 0;  // operation that it waits for
  double time = 0;        // ms
  bool was_recorded = false;
};

class Books {
 public:
  std::mutex mutex;

  bool allocate(uint64_t bytes, bool pinned, Allocation* out);
  // What covers [address, address + bytes); null: nothing does. Of host memory by its host address
  // with `host`.
  const Allocation* find(uint64_t address, uint64_t bytes, bool host) const;
  bool release(uint64_t address, bool host);
  void check_guards();

  uint64_t total = uint64_t{8} << 30, used = 0;
  uint32_t capability = 87;
  int contexts = 0;
  std::map<uint64_t, Allocation> device;  // by address for kernels
  std::map<uint64_t, uint64_t> pinned;    // host address -> address for kernels
  std::set<void*> streams, graphs, execs;
  std::map<void*, std::unique_ptr<EventState>> events;
  std::map<void*, std::unique_ptr<LoadedModule>> modules;
  std::set<const void*> kernels;
  uint64_t live(std::string* text) const;

 private:
  bool map_pinned(Allocation* a);

  std::multimap<uint64_t, std::pair<char*, char*>> spare_;  // by size
};
Books& books();

// Counts a call, and says whether it is to fail.
class Call {
 public:
  explicit Call(Entry entry);
  cuda::Status injected() const { return injected_; }
  // A violation of the API: the status that the call returns.
  cuda::Status wrong(cuda::Status status, const char* format, ...)
      __attribute__((format(printf, 3, 4)));
  // The call's result: `status`, unless a fault is injected.
  cuda::Status done(cuda::Status status = cuda::kSuccess) const {
    return injected_ != cuda::kSuccess ? injected_ : status;
  }

 private:
  Entry entry_;
  cuda::Status injected_ = cuda::kSuccess;
};

}  // namespace jllm::fake

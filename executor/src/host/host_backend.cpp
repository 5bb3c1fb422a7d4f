#include "executor/src/host/host_backend.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <new>

#include "executor/src/core/bump_allocator.h"
#include "executor/src/host/cpu_features.h"
#include "executor/src/host/host_op.h"
#include "executor/src/host/launch_proof.h"
#include "executor/src/host/thread_pool.h"

namespace jllm {
namespace {

constexpr uint32_t kMaxArenas = 64;

struct Mapping {
  void* memory;
  uint64_t size;
};

constexpr uint64_t kArenaAlignment = 64;  // a cache line, and the widest vector

// What an arena takes of the caller's block.
uint64_t block_part(uint64_t size) {
  return (size + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

class HostBackend final : public Backend {
 public:
  HostBackend(const ExecutorOptions& options, double* marks, Message* message)
      : has_block_(options.arena_memory != nullptr),
        block_(static_cast<uint8_t*>(options.arena_memory)),
        marks_(marks),
        message_(*message) {}

  Error open(const PlanView& view, const ExecutorOptions& options);

  const char* device_name() const override { return name_; }
  Error memory_in_use(uint64_t* used, uint64_t* total) override {
    *used = *total = 0;
    return Error::kOk;
  }
  bool shares_host_memory() const override { return true; }
  Error allocate(fb::ArenaKind kind, uint64_t size, uint64_t* address, void** host_view) override;
  Error load(PlanSource& source, uint64_t offset, uint64_t size, uint64_t address) override;
  Error find_kernel(const PlanView& view, PlanSource& source, const fb::Kernel& kernel,
                    uint64_t* handle) override;
  Error launch(uint64_t kernel, const fb::Kernel& info, Grid grid, const uint64_t* args,
               uint32_t arg_count) override;
  Error begin_capture() override { return Error::kOk; }
  Error end_capture(uint64_t* graph) override {
    *graph = 0;
    return Error::kOk;
  }
  Error replay(uint64_t) override { return Error::kBadArgument; }
  Error mark(uint32_t index) override;
  Error time_between_marks(uint32_t index, float* microseconds) override;
  void seal() override {}
  Error write(uint64_t address, const void* data, uint64_t size) override;
  Error read(uint64_t address, void* data, uint64_t size) override;
  Error zero(uint64_t address, uint64_t size) override;
  Error copy(uint64_t from, uint64_t to, uint64_t size) override;
  Error synchronise() override { return Error::kOk; }
  Error poll(uint32_t turn, uint32_t graph, bool may_be_late) override;
  void destroy() override;

 private:
  Error start_threads(unsigned threads);
  Error map(fb::ArenaKind kind, uint64_t size, void** memory);

  bool has_block_;  // arenas lie in the caller's block, else they are mapped
  uint8_t* block_;  // what is left of it
  double* marks_;   // when each was passed, microseconds
  Message& message_;
  char name_[32] = "CPU";
  host::ThreadPool pool_;
  Mapping mappings_[kMaxArenas] = {};
  uint32_t mapping_count_ = 0;
};

Error HostBackend::open(const PlanView& view, const ExecutorOptions& options) {
#ifdef JLLM_HOST_NEEDS_AVX2
  if (!host::has_avx2()) {
    message_.format(
        "this library was built for processors with AVX2: link libjllm_executor.a, or "
        "build with -DJLLM_LIBRARY_ISA=portable");
    return Error::kTargetMismatch;
  }
#endif
  const uint64_t needed = host_arena_bytes(view);
  if (has_block_ && (options.arena_memory_size < needed ||
                     reinterpret_cast<uintptr_t>(options.arena_memory) % kArenaAlignment != 0)) {
    message_.format("the arenas need a 64-byte aligned block of %" PRIu64 " bytes, got %" PRIu64,
                    needed, options.arena_memory_size);
    return Error::kHostMemoryTooSmall;
  }
  return start_threads(options.threads);
}

Error HostBackend::start_threads(unsigned threads) {
  if (threads == 0) {
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    threads = online > 0 ? static_cast<unsigned>(online) : 1;
  }
  if (threads > host::ThreadPool::kMaxWorkers) threads = host::ThreadPool::kMaxWorkers;
  const int error = pool_.start(threads);
  if (error != 0) {
    message_.format("cannot start %u worker threads: %s", threads, strerror(error));
    return Error::kThreads;
  }
  snprintf(name_, sizeof name_, "CPU, %u threads", threads);
  return Error::kOk;
}

Error HostBackend::allocate(fb::ArenaKind kind, uint64_t size, uint64_t* address,
                            void** host_view) {
  Error error = Error::kOk;
  if (has_block_) {
    memset(block_, 0, size);  // as mapped memory is
    *host_view = block_;
    block_ += block_part(size);
  } else {
    error = map(kind, size, host_view);
  }
  *address = reinterpret_cast<uint64_t>(*host_view);
  return error;
}

Error HostBackend::map(fb::ArenaKind kind, uint64_t size, void** memory) {
  const uint64_t bytes = size > 0 ? size : 1;
  *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (*memory == MAP_FAILED) {
    message_.format("%s: no memory for an arena of %" PRIu64 " MiB: %s",
                    fb::EnumNameArenaKind(kind), bytes >> 20, strerror(errno));
    return Error::kDeviceMemory;
  }
  mappings_[mapping_count_++] = {*memory, bytes};
  return Error::kOk;
}

Error HostBackend::load(PlanSource& source, uint64_t offset, uint64_t size, uint64_t address) {
  const Error error = source.read(offset, size, reinterpret_cast<void*>(address));
  if (error != Error::kOk) {
    message_.format("cannot read %" PRIu64 " bytes of weights at %" PRIu64
                    " from the plan: it failed, or the file has changed since it was opened",
                    size, offset);
  }
  return error;
}

Error HostBackend::find_kernel(const PlanView&, PlanSource&, const fb::Kernel& kernel,
                               uint64_t* handle) {
  const host::HostOp* op = host::find_host_op(kernel.name()->c_str());
  if (op == nullptr || !op->takes(kernel.arg_count())) {
    message_.format(
        "the plan asks for operation '%.64s' with %u arguments, which this program does "
        "not have; was it compiled by a newer jllmc?",
        kernel.name()->c_str(), kernel.arg_count());
    return Error::kUnknownKernel;
  }
  *handle = reinterpret_cast<uint64_t>(op);
  return Error::kOk;
}

Error HostBackend::launch(uint64_t kernel, const fb::Kernel&, Grid grid, const uint64_t* args,
                          uint32_t arg_count) {
  struct Call {
    const host::HostOp* op;
    const uint64_t* args;
  } call = {reinterpret_cast<const host::HostOp*>(kernel), args};
  uint64_t filled[host::kMaxHostArgs] = {};
  if (arg_count < call.op->arg_count) {
    memcpy(filled, args, arg_count * sizeof(uint64_t));
    call.args = filled;
  }
  pool_.run(
      grid.x,
      [](void* context, const host::Worker& worker) {
        const Call& c = *static_cast<const Call*>(context);
        c.op->run(c.args, worker);
      },
      &call);
  return Error::kOk;
}

Error HostBackend::write(uint64_t address, const void* data, uint64_t size) {
  memcpy(reinterpret_cast<void*>(address), data, size);
  return Error::kOk;
}

Error HostBackend::read(uint64_t address, void* data, uint64_t size) {
  memcpy(data, reinterpret_cast<const void*>(address), size);
  return Error::kOk;
}

Error HostBackend::zero(uint64_t address, uint64_t size) {
  memset(reinterpret_cast<void*>(address), 0, size);
  return Error::kOk;
}

Error HostBackend::copy(uint64_t from, uint64_t to, uint64_t size) {
  memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), size);
  return Error::kOk;
}

Error HostBackend::mark(uint32_t index) {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  marks_[index] = static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
  return Error::kOk;
}

Error HostBackend::time_between_marks(uint32_t index, float* microseconds) {
  *microseconds = static_cast<float>(marks_[index + 1] - marks_[index]);
  return Error::kOk;
}

Error HostBackend::poll(uint32_t, uint32_t, bool) {
  // Launches have run to their end before anybody waits: an absent token will never come.
  message_.format("the step finished without handing out a token");
  return Error::kPlanInvalid;
}

void HostBackend::destroy() {
  pool_.stop();
  for (uint32_t i = 0; i < mapping_count_; ++i) munmap(mappings_[i].memory, mappings_[i].size);
  mapping_count_ = 0;
}

struct Blocks {
  void* backend;
  double* marks;
};

Blocks carve(BumpAllocator& bump, const PlanView& view, const ExecutorOptions& options) {
  return {bump.take(sizeof(HostBackend)), bump.take_array<double>(mark_count(view, options))};
}

}  // namespace

uint64_t host_backend_bytes(const PlanView& view, const ExecutorOptions& options) {
  BumpAllocator bump(nullptr, 0);
  carve(bump, view, options);
  return bump.used();
}

uint64_t host_arena_bytes(const PlanView& view) {
  uint64_t total = 0;
  for (const fb::Arena* arena : *view.plan().arenas()) {
    total += block_part(allocation_bytes(view.plan(), *arena));
  }
  return total;
}

Result<Backend*> create_host_backend(const PlanView& view, const ExecutorOptions& options,
                                     void* memory, Message* message) {
  const Error inside = host::prove_launches(view.plan(), message);
  if (inside != Error::kOk) return inside;
  BumpAllocator bump(memory, host_backend_bytes(view, options));
  const Blocks blocks = carve(bump, view, options);
  auto* backend = new (blocks.backend) HostBackend(options, blocks.marks, message);
  const Error error = backend->open(view, options);
  if (error == Error::kOk) return static_cast<Backend*>(backend);
  backend->destroy();
  return error;
}

}  // namespace jllm

#include "executor/src/cuda/cuda_backend.h"

#include <sched.h>
#include <time.h>

#include <cinttypes>
#include <cstring>
#include <new>

#include "executor/src/core/bump_allocator.h"
#include "executor/src/cuda/driver_api.h"
#include "executor/src/cuda/token_wait.h"

namespace jllm {
namespace {

constexpr uint64_t kStagingBytes = 4u << 20;  // one half of the upload double buffer
constexpr uint32_t kMaxArenas = 64;
constexpr int kOverlapDriver = 12030;  // CUDA 12.3: programmatic edges in graphs

// A module segment that has been loaded, by its index in the plan.
struct LoadedModule {
  uint32_t segment;
  cuda::Module module;
};

uint64_t now_ns() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
}

void sleep_ns(uint64_t time) {
  const timespec length = {static_cast<time_t>(time / 1000000000),
                           static_cast<long>(time % 1000000000)};
  nanosleep(&length, nullptr);
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(const PlanView& view, const ExecutorOptions& options, LoadedModule* modules,
              uint64_t* graphs, TokenWait* waits, cuda::Event* marks, Message* message)
      : view_(view),
        options_(options),
        modules_(modules),
        graphs_(graphs),
        waits_(waits),
        marks_(marks),
        message_(*message) {
    for (uint32_t i = 0; i < view.plan().graphs()->size(); ++i) new (&waits_[i]) TokenWait();
  }

  Error open();

  const char* device_name() const override { return name_; }
  Error memory_in_use(uint64_t* used, uint64_t* total) override;
  bool shares_host_memory() const override { return integrated_ != 0; }
  Error allocate(fb::ArenaKind kind, uint64_t size, uint64_t* address, void** host_view) override;
  Error load(PlanSource& source, uint64_t offset, uint64_t size, uint64_t address) override;
  Error find_kernel(const PlanView& view, PlanSource& source, const fb::Kernel& kernel,
                    uint64_t* handle) override;
  Error launch(uint64_t kernel, const fb::Kernel& info, Grid grid, const uint64_t* args,
               uint32_t arg_count) override;
  Error begin_capture() override;
  Error end_capture(uint64_t* graph) override;
  Error replay(uint64_t graph) override;
  Error mark(uint32_t index) override;
  Error time_between_marks(uint32_t index, float* microseconds) override;
  void seal() override { cuda::seal_cuda_api(&api_); }
  Error write(uint64_t address, const void* data, uint64_t size) override;
  Error read(uint64_t address, void* data, uint64_t size) override;
  Error zero(uint64_t address, uint64_t size) override;
  Error copy(uint64_t from, uint64_t to, uint64_t size) override;
  Error synchronise() override;
  Error poll(uint32_t turn, uint32_t graph, bool may_be_late) override;
  void destroy() override;

 private:
  Error check(cuda::Status status, const char* call);
  Error check_device();
  Error load_module(PlanSource& source, uint32_t index, cuda::Module* out);

  const PlanView& view_;
  const ExecutorOptions& options_;
  LoadedModule* modules_;
  uint64_t* graphs_;  // every instantiated graph, for destroy()
  TokenWait* waits_;  // by the graph's index in the plan
  cuda::Event* marks_;
  Message& message_;

  cuda::CudaApi api_ = {};
  cuda::Device device_ = 0;
  cuda::Context context_ = nullptr;
  cuda::Stream stream_ = nullptr;
  char name_[128] = {0};
  int integrated_ = 0;
  uint32_t module_count_ = 0;
  uint32_t graph_count_ = 0;
  uint32_t marks_made_ = 0;
  cuda::DevicePtr device_memory_[kMaxArenas] = {0};
  uint32_t device_memory_count_ = 0;
  void* pinned_memory_[kMaxArenas] = {nullptr};
  uint32_t pinned_memory_count_ = 0;
  uint8_t* staging_ = nullptr;  // pinned, 2 * kStagingBytes, while loading; later for small copies
  cuda::Event staged_[2] = {nullptr, nullptr};
  bool overlap_ = false;  // the driver captures programmatic launches into graphs
  bool capturing_ = false;
  uint64_t next_query_ = 0;    // when the driver is asked whether the stream has failed, ns
  uint32_t idle_queries_ = 0;  // in a row that found the stream empty
};

Error CudaBackend::check(cuda::Status status, const char* call) {
  if (status == cuda::kSuccess) return Error::kOk;
  const char* name = "unknown error";
  const char* text = "";
  if (api_.get_error_name(status, &name) != cuda::kSuccess) name = "unknown error";
  if (api_.get_error_string(status, &text) != cuda::kSuccess) text = "";
  message_.format("%s failed: %s (%u): %s", call, name, status, text);
  return Error::kDriverCall;
}

#define JLLM_CHECK(call)                          \
  do {                                            \
    const Error error_ = check(api_.call, #call); \
    if (error_ != Error::kOk) return error_;      \
  } while (false)

Error CudaBackend::open() {
  const char* reason = cuda::load_cuda_api(&api_);
  if (reason != nullptr) {
    message_.format(
        "this plan needs an NVIDIA GPU: %s; a plan for this machine's CPU is made with "
        "jllmc compile --target host",
        reason);
    return Error::kNoDriver;
  }
  int count = 0;
  if (api_.init(0) != cuda::kSuccess || api_.device_get_count(&count) != cuda::kSuccess ||
      options_.device >= count) {
    message_.format("no CUDA device %d: the driver reports %d", options_.device, count);
    return Error::kNoDevice;
  }
  JLLM_CHECK(device_get(&device_, options_.device));
  JLLM_CHECK(device_get_name(name_, sizeof name_, device_));
  JLLM_CHECK(device_get_attribute(&integrated_, cuda::kAttributeIntegrated, device_));
  const Error error = check_device();
  if (error != Error::kOk) return error;
  JLLM_CHECK(primary_ctx_retain(&context_, device_));
  JLLM_CHECK(ctx_set_current(context_));
  // No kernel of ours prints or allocates: do not reserve device memory for it.
  JLLM_CHECK(ctx_set_limit(cuda::kLimitPrintfFifoSize, 64u << 10));
  JLLM_CHECK(ctx_set_limit(cuda::kLimitMallocHeapSize, 64u << 10));
  JLLM_CHECK(stream_create(&stream_, cuda::kStreamNonBlocking));
  void* staging = nullptr;
  if (api_.mem_host_alloc(&staging, 2 * kStagingBytes, 0) != cuda::kSuccess) {
    message_.format("no pinned memory for the upload buffer (%" PRIu64 " MiB)",
                    2 * kStagingBytes >> 20);
    return Error::kPinnedMemory;
  }
  staging_ = static_cast<uint8_t*>(staging);
  JLLM_CHECK(event_create(&staged_[0], cuda::kEventDisableTiming));
  JLLM_CHECK(event_create(&staged_[1], cuda::kEventDisableTiming));
  for (const uint32_t marks = mark_count(view_, options_); marks_made_ < marks; ++marks_made_) {
    JLLM_CHECK(event_create(&marks_[marks_made_], cuda::kEventDefault));
  }
  return Error::kOk;
}

// A cubin runs on exactly the chip it was made for; say so before the driver does.
Error CudaBackend::check_device() {
  const fb::Target& target = *view_.plan().target();
  int major = 0;
  int minor = 0;
  int driver = 0;
  JLLM_CHECK(device_get_attribute(&major, cuda::kAttributeComputeCapabilityMajor, device_));
  JLLM_CHECK(device_get_attribute(&minor, cuda::kAttributeComputeCapabilityMinor, device_));
  JLLM_CHECK(driver_get_version(&driver));
  const auto found = static_cast<uint32_t>(major * 10 + minor);
  const bool accepted = found == target.compute_capability() ||
                        (options_.newer_device && found > target.compute_capability());
  if (!accepted) {
    message_.format(
        "the plan was made for %.64s (sm_%u), this device is %.64s (sm_%u); compile the "
        "model with --target sm_%u or the name of this device",
        target.device_name()->c_str(), target.compute_capability(), name_, found, found);
    return Error::kTargetMismatch;
  }
  overlap_ =
      driver >= kOverlapDriver && api_.launch_kernel_ex != nullptr && !options_.time_launches;
  // Machine code of a newer CUDA major version is not promised to load.
  if (target.cuda_version() / 1000 > static_cast<uint32_t>(driver) / 1000) {
    message_.format(
        "the plan's code was made by CUDA %u.%u, the driver supports %d.%d; compile with "
        "an older NVRTC (--nvrtc)",
        target.cuda_version() / 1000, target.cuda_version() % 1000 / 10, driver / 1000,
        driver % 1000 / 10);
    return Error::kDriverTooOld;
  }
  return Error::kOk;
}

Error CudaBackend::memory_in_use(uint64_t* used, uint64_t* total) {
  size_t free = 0;
  size_t all = 0;
  JLLM_CHECK(mem_get_info(&free, &all));
  *total = all;
  *used = all - free;
  return Error::kOk;
}

Error CudaBackend::allocate(fb::ArenaKind kind, uint64_t size, uint64_t* address,
                            void** host_view) {
  const uint64_t bytes = size > 0 ? size : 1;  // the driver refuses empty allocations
  if (kind == fb::ArenaKind::HostPinned) {
    void* memory = nullptr;
    cuda::DevicePtr mapped = 0;
    const unsigned flags = cuda::kMemHostAllocPortable | cuda::kMemHostAllocDeviceMap;
    if (api_.mem_host_alloc(&memory, bytes, flags) != cuda::kSuccess) {
      message_.format("no pinned host memory: %" PRIu64 " bytes", bytes);
      return Error::kPinnedMemory;
    }
    pinned_memory_[pinned_memory_count_++] = memory;
    JLLM_CHECK(mem_host_get_device_pointer(&mapped, memory, 0));
    *address = mapped;
    *host_view = memory;
    return Error::kOk;
  }
  cuda::DevicePtr memory = 0;
  if (api_.mem_alloc(&memory, bytes) != cuda::kSuccess) {
    size_t free = 0;
    size_t total = 0;
    (void)api_.mem_get_info(&free, &total);
    message_.format("%s: no device memory for an arena of %" PRIu64 " MiB (%zu of %zu MiB free)",
                    fb::EnumNameArenaKind(kind), bytes >> 20, free >> 20, total >> 20);
    return Error::kDeviceMemory;
  }
  device_memory_[device_memory_count_++] = memory;
  *address = memory;
  *host_view = nullptr;
  return Error::kOk;
}

Error CudaBackend::load(PlanSource& source, uint64_t offset, uint64_t size, uint64_t address) {
  for (uint32_t half = 0; size > 0; half ^= 1) {
    const uint64_t n = size < kStagingBytes ? size : kStagingBytes;
    uint8_t* staging = staging_ + half * kStagingBytes;
    JLLM_CHECK(event_synchronize(staged_[half]));  // the copy that last used this half
    if (source.read(offset, n, staging) != Error::kOk) {
      message_.format("cannot read %" PRIu64 " bytes of weights at %" PRIu64
                      " from the plan: it failed, or the file has changed since it was opened",
                      n, offset);
      return Error::kReadFailed;
    }
    JLLM_CHECK(memcpy_htod_async(address, staging, n, stream_));
    JLLM_CHECK(event_record(staged_[half], stream_));
    offset += n;
    address += n;
    size -= n;
  }
  return synchronise();
}

Error CudaBackend::load_module(PlanSource& source, uint32_t index, cuda::Module* out) {
  for (uint32_t i = 0; i < module_count_; ++i) {
    if (modules_[i].segment == index) {
      *out = modules_[i].module;
      return Error::kOk;
    }
  }
  const fb::Segment& segment = *view_.plan().segments()->Get(index);
  if (segment.size() > 2 * kStagingBytes) {
    message_.format("a code module is %" PRIu64 " bytes long, at most %" PRIu64 " are supported",
                    segment.size(), 2 * kStagingBytes);
    return Error::kPlanInvalid;
  }
  Error error = synchronise();  // the staging buffer is free
  if (error != Error::kOk) return error;
  if (source.read(segment.offset(), segment.size(), staging_) != Error::kOk) {
    message_.format("cannot read the code at %" PRIu64
                    " from the plan: it failed, or the file has changed since it was opened",
                    segment.offset());
    return Error::kReadFailed;
  }
  JLLM_CHECK(module_load_data(out, staging_));
  modules_[module_count_++] = {index, *out};
  return Error::kOk;
}

Error CudaBackend::find_kernel(const PlanView&, PlanSource& source, const fb::Kernel& kernel,
                               uint64_t* handle) {
  cuda::Module module = nullptr;
  const Error error = load_module(source, static_cast<uint32_t>(kernel.module_segment()), &module);
  if (error != Error::kOk) return error;
  cuda::Function function = nullptr;
  JLLM_CHECK(module_get_function(&function, module, kernel.name()->c_str()));
  if (kernel.shared_bytes() > 0) {
    JLLM_CHECK(func_set_attribute(function, cuda::kFunctionMaxDynamicSharedSizeBytes,
                                  static_cast<int>(kernel.shared_bytes())));
  }
  *handle = reinterpret_cast<uint64_t>(function);
  return Error::kOk;
}

Error CudaBackend::launch(uint64_t kernel, const fb::Kernel& info, Grid grid, const uint64_t* args,
                          uint32_t arg_count) {
  JLLM_CHECK(ctx_set_current(context_));
  void* pointers[32];
  for (uint32_t i = 0; i < arg_count; ++i) pointers[i] = const_cast<uint64_t*>(&args[i]);
  const auto function = reinterpret_cast<cuda::Function>(kernel);
  if (overlap_ && info.programmatic()) {
    cuda::LaunchAttribute attribute = {cuda::kLaunchProgrammaticStreamSerialization, 0, {1}};
    const cuda::LaunchConfig config = {grid.x,
                                       grid.y,
                                       grid.z,
                                       info.block_x(),
                                       info.block_y(),
                                       info.block_z(),
                                       info.shared_bytes(),
                                       stream_,
                                       &attribute,
                                       1};
    return check(api_.launch_kernel_ex(&config, function, pointers, nullptr), info.name()->c_str());
  }
  const cuda::Status status =
      api_.launch_kernel(function, grid.x, grid.y, grid.z, info.block_x(), info.block_y(),
                         info.block_z(), info.shared_bytes(), stream_, pointers, nullptr);
  return check(status, info.name()->c_str());
}

Error CudaBackend::begin_capture() {
  JLLM_CHECK(stream_begin_capture(stream_, cuda::kStreamCaptureThreadLocal));
  capturing_ = true;
  return Error::kOk;
}

Error CudaBackend::end_capture(uint64_t* graph) {
  cuda::Graph captured = nullptr;
  cuda::GraphExec executable = nullptr;
  capturing_ = false;
  JLLM_CHECK(stream_end_capture(stream_, &captured));
  const cuda::Status status = api_.graph_instantiate(&executable, captured, 0);
  (void)api_.graph_destroy(captured);
  const Error error = check(status, "graph_instantiate");
  if (error != Error::kOk) return error;
  *graph = reinterpret_cast<uint64_t>(executable);
  graphs_[graph_count_++] = *graph;
  JLLM_CHECK(graph_upload(executable, stream_));
  return Error::kOk;
}

Error CudaBackend::replay(uint64_t graph) {
  JLLM_CHECK(ctx_set_current(context_));
  JLLM_CHECK(graph_launch(reinterpret_cast<cuda::GraphExec>(graph), stream_));
  return Error::kOk;
}

Error CudaBackend::mark(uint32_t index) {
  JLLM_CHECK(ctx_set_current(context_));
  const unsigned flags = capturing_ ? cuda::kEventRecordExternal : cuda::kEventRecordDefault;
  JLLM_CHECK(event_record_with_flags(marks_[index], stream_, flags));
  return Error::kOk;
}

Error CudaBackend::time_between_marks(uint32_t index, float* microseconds) {
  float milliseconds = 0;
  JLLM_CHECK(event_elapsed_time(&milliseconds, marks_[index], marks_[index + 1]));
  *microseconds = milliseconds * 1e3f;
  return Error::kOk;
}

Error CudaBackend::write(uint64_t address, const void* data, uint64_t size) {
  const auto* from = static_cast<const uint8_t*>(data);
  for (uint32_t i = 0; i < view_.plan().graphs()->size(); ++i) {
    waits_[i].forget();  // a new sequence, or another place in it
  }
  while (size > 0) {
    const uint64_t n = size < kStagingBytes ? size : kStagingBytes;
    const Error error = synchronise();  // the staging buffer is free
    if (error != Error::kOk) return error;
    memcpy(staging_, from, n);
    JLLM_CHECK(memcpy_htod_async(address, staging_, n, stream_));
    from += n;
    address += n;
    size -= n;
  }
  return Error::kOk;
}

Error CudaBackend::read(uint64_t address, void* data, uint64_t size) {
  auto* to = static_cast<uint8_t*>(data);
  while (size > 0) {
    const uint64_t n = size < kStagingBytes ? size : kStagingBytes;
    Error error = synchronise();
    if (error != Error::kOk) return error;
    JLLM_CHECK(memcpy_dtoh_async(staging_, address, n, stream_));
    error = synchronise();
    if (error != Error::kOk) return error;
    memcpy(to, staging_, n);
    to += n;
    address += n;
    size -= n;
  }
  return Error::kOk;
}

Error CudaBackend::copy(uint64_t from, uint64_t to, uint64_t size) {
  JLLM_CHECK(ctx_set_current(context_));
  if (size > 0) JLLM_CHECK(memcpy_dtod_async(to, from, size, stream_));
  return Error::kOk;
}

Error CudaBackend::zero(uint64_t address, uint64_t size) {
  JLLM_CHECK(ctx_set_current(context_));
  if (size > 0) JLLM_CHECK(memset_d8_async(address, 0, size, stream_));
  return Error::kOk;
}

Error CudaBackend::synchronise() {
  // Whichever thread calls: a context is current in those only that have made it so.
  JLLM_CHECK(ctx_set_current(context_));
  JLLM_CHECK(stream_synchronize(stream_));
  return Error::kOk;
}

// The ring is read from memory; the driver is asked only now and then whether the stream has
// failed.
Error CudaBackend::poll(uint32_t turn, uint32_t graph, bool may_be_late) {
  constexpr uint64_t kQueryInterval = 500000000;
  const uint64_t now = now_ns();
  if (turn == 0) {
    next_query_ = now + kQueryInterval;
    idle_queries_ = 0;
  }
  const uint64_t sleep = waits_[graph].sleep_for(turn, may_be_late, now);
  if (sleep > 0) {
    sleep_ns(sleep);
  } else if (turn % 64 == 63) {
    sched_yield();
  }
  if (now < next_query_) return Error::kOk;
  next_query_ = now + kQueryInterval;
  JLLM_CHECK(ctx_set_current(context_));
  const cuda::Status status = api_.stream_query(stream_);
  if (status == cuda::kErrorNotReady) {
    idle_queries_ = 0;
    return Error::kOk;
  }
  if (++idle_queries_ > 2 && status == cuda::kSuccess) {
    message_.format("the device finished its work without handing out a token");
    return Error::kDriverCall;
  }
  return check(status, "stream_query");
}

void CudaBackend::destroy() {
  if (context_ == nullptr) return;
  (void)api_.ctx_set_current(context_);
  cuda::Graph unfinished = nullptr;  // of a capture that something has interrupted
  if (capturing_) (void)api_.stream_end_capture(stream_, &unfinished);
  if (unfinished != nullptr) (void)api_.graph_destroy(unfinished);
  capturing_ = false;
  if (stream_ != nullptr) (void)api_.stream_synchronize(stream_);
  for (uint32_t i = 0; i < graph_count_; ++i) {
    (void)api_.graph_exec_destroy(reinterpret_cast<cuda::GraphExec>(graphs_[i]));
  }
  for (uint32_t i = 0; i < module_count_; ++i) (void)api_.module_unload(modules_[i].module);
  for (uint32_t i = 0; i < device_memory_count_; ++i) (void)api_.mem_free(device_memory_[i]);
  for (uint32_t i = 0; i < pinned_memory_count_; ++i) (void)api_.mem_free_host(pinned_memory_[i]);
  for (uint32_t i = 0; i < marks_made_; ++i) (void)api_.event_destroy(marks_[i]);
  for (const cuda::Event event : staged_) {
    if (event != nullptr) (void)api_.event_destroy(event);
  }
  if (staging_ != nullptr) (void)api_.mem_free_host(staging_);
  if (stream_ != nullptr) (void)api_.stream_destroy(stream_);
  (void)api_.primary_ctx_release(device_);
  context_ = nullptr;
}

#undef JLLM_CHECK

struct Blocks {
  void* backend;
  LoadedModule* modules;
  uint64_t* graphs;
  TokenWait* waits;
  cuda::Event* marks;
};

Blocks carve(BumpAllocator& bump, const PlanView& view, const ExecutorOptions& options) {
  return {bump.take(sizeof(CudaBackend)),
          bump.take_array<LoadedModule>(view.plan().segments()->size()),
          bump.take_array<uint64_t>(view.plan().graphs()->size() + view.plan().slots()),
          bump.take_array<TokenWait>(view.plan().graphs()->size()),
          bump.take_array<cuda::Event>(mark_count(view, options))};
}

}  // namespace

uint64_t cuda_backend_bytes(const PlanView& view, const ExecutorOptions& options) {
  BumpAllocator bump(nullptr, 0);
  carve(bump, view, options);
  return bump.used();
}

Result<Backend*> create_cuda_backend(const PlanView& view, const ExecutorOptions& options,
                                     void* memory, Message* message) {
  BumpAllocator bump(memory, cuda_backend_bytes(view, options));
  const Blocks blocks = carve(bump, view, options);
  auto* backend = new (blocks.backend) CudaBackend(view, options, blocks.modules, blocks.graphs,
                                                   blocks.waits, blocks.marks, message);
  const Error error = backend->open();
  if (error == Error::kOk) return static_cast<Backend*>(backend);
  backend->destroy();
  return error;
}

}  // namespace jllm

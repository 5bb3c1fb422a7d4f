// The driver API: every entry point checks its arguments against the books before it does anything.
#include <dlfcn.h>
#include <pthread.h>

#include <cstdio>
#include <cstring>
#include <type_traits>

#include "tests/support/fake_cuda/books.h"
#include "tests/support/fake_cuda/module_images.h"
#include "tests/support/fake_cuda/queue.h"
#include "tests/support/fake_cuda/report.h"

using namespace jllm;
using namespace jllm::cuda;
using namespace jllm::fake;

namespace {

constexpr Status kInvalidValue = 1, kNotInitialised = 3, kInvalidContext = 201, kInvalidImage = 200,
                 kInvalidHandle = 400, kNotFound = 500, kCaptureUnsupported = 900;
constexpr uint64_t kContextBytes = uint64_t{64} << 20;  // what a context takes for itself
constexpr int kDriverVersion = 12990;

char the_context;
bool initialised = false;
thread_local bool is_current = false;

struct Capture {
  void* stream = nullptr;
  std::unique_ptr<std::vector<Operation>> nodes;
} capture;

using Lock = std::lock_guard<std::mutex>;
using Nodes = std::vector<Operation>;

// To the graph that the stream is captured into, or to the device. The number of the operation.
uint64_t put(void* stream, const Operation& operation) {
  if (capture.stream != stream) return queue().put(operation);
  capture.nodes->push_back(operation);
  return 0;
}

bool knows_stream(void* stream) {
  const Lock lock(books().mutex);
  return books().streams.count(stream) != 0;
}

}  // namespace

// The start of every entry point but those that a driver answers without a context.
#define ENTRY(symbol) Call call(Entry::symbol)
#define NEEDS_CONTEXT()                                                           \
  do {                                                                            \
    if (books().contexts == 0 || !is_current) {                                   \
      return call.wrong(kInvalidContext, "no context is current in this thread"); \
    }                                                                             \
    if (queue().broken() != kSuccess) return queue().broken();                    \
    if (call.injected() != kSuccess) return call.injected();                      \
  } while (false)
#define NEEDS_STREAM(stream)                                                                      \
  do {                                                                                            \
    NEEDS_CONTEXT();                                                                              \
    if (!knows_stream(stream)) return call.wrong(kInvalidHandle, "no stream: %p", (void*)stream); \
  } while (false)
// What may not stand inside a capture: it would be lost, or ends the capture.
#define NOT_CAPTURED(stream)                                                      \
  do {                                                                            \
    if (capture.stream == (void*)(stream)) {                                      \
      return call.wrong(kCaptureUnsupported, "not while the stream is captured"); \
    }                                                                             \
  } while (false)

#pragma GCC visibility push(default)
extern "C" {

Status cuInit(unsigned flags) {
  ENTRY(cuInit);
  if (flags != 0) return call.wrong(kInvalidValue, "flags %u", flags);
  initialised = call.injected() == kSuccess;
  return call.done();
}

Status cuDriverGetVersion(int* version) {
  ENTRY(cuDriverGetVersion);
  *version = kDriverVersion;
  return call.done();
}

Status cuGetErrorName(Status status, const char** name) {
  ENTRY(cuGetErrorName);
  *name = status == kErrorOutOfMemory ? "CUDA_ERROR_OUT_OF_MEMORY"
          : status == 719             ? "CUDA_ERROR_LAUNCH_FAILED"
                                      : "CUDA_ERROR_OF_THE_FAKE_DRIVER";
  return call.done();
}
Status cuGetErrorString(Status status, const char** text) {
  ENTRY(cuGetErrorString);
  *text = status == kErrorOutOfMemory ? "out of memory" : "the fake driver was told to fail";
  return call.done();
}

Status cuDeviceGet(Device* device, int ordinal) {
  ENTRY(cuDeviceGet);
  if (!initialised) return call.wrong(kNotInitialised, "before cuInit");
  if (ordinal != 0) return call.wrong(101, "ordinal %d of 1 device", ordinal);
  *device = 0;
  return call.done();
}
Status cuDeviceGetCount(int* count) {
  ENTRY(cuDeviceGetCount);
  if (!initialised) return call.wrong(kNotInitialised, "before cuInit");
  *count = 1;
  return call.done();
}
Status cuDeviceGetName(char* name, int size, Device) {
  ENTRY(cuDeviceGetName);
  std::snprintf(name, static_cast<size_t>(size), "fake device");
  return call.done();
}
Status cuDeviceGetPCIBusId(char* id, int size, Device) {
  ENTRY(cuDeviceGetPCIBusId);
  std::snprintf(id, static_cast<size_t>(size), "0000:00:00.0");
  return call.done();
}

Status cuDeviceGetAttribute(int* value, unsigned attribute, Device device) {
  ENTRY(cuDeviceGetAttribute);
  if (device != 0) return call.wrong(101, "device %d", device);
  const int capability = static_cast<int>(books().capability);
  switch (attribute) {
    case kAttributeClockRate:
      *value = 1020000;
      break;
    case kAttributeMultiprocessorCount:
      *value = 8;
      break;
    case kAttributeIntegrated:
      *value = 1;
      break;
    case kAttributeCanMapHostMemory:
      *value = 1;
      break;
    case kAttributeMemoryClockRate:
      *value = 3199000;
      break;
    case kAttributeGlobalMemoryBusWidth:
      *value = 128;
      break;
    case kAttributeL2CacheSize:
      *value = 2 << 20;
      break;
    case kAttributeUnifiedAddressing:
      *value = 1;
      break;
    case kAttributeComputeCapabilityMajor:
      *value = capability / 10;
      break;
    case kAttributeComputeCapabilityMinor:
      *value = capability % 10;
      break;
    case kAttributeMaxSharedMemoryPerMultiprocessor:
      *value = 164 << 10;
      break;
    case kAttributeMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(most_shared());
      break;
    default:
      return call.wrong(kInvalidValue, "attribute %u is not known", attribute);
  }
  return call.done();
}
Status cuDeviceTotalMem_v2(size_t* bytes, Device) {
  ENTRY(cuDeviceTotalMem_v2);
  *bytes = books().total;
  return call.done();
}

Status cuDevicePrimaryCtxRetain(Context* context, Device device) {
  ENTRY(cuDevicePrimaryCtxRetain);
  if (!initialised || device != 0) return call.wrong(kNotInitialised, "before cuInit");
  if (call.injected() != kSuccess) return call.injected();
  const Lock lock(books().mutex);
  ++books().contexts;
  *context = reinterpret_cast<Context>(&the_context);
  return kSuccess;
}
Status cuDevicePrimaryCtxRelease_v2(Device) {
  ENTRY(cuDevicePrimaryCtxRelease_v2);
  queue().wait_for_all();
  const Lock lock(books().mutex);
  if (books().contexts == 0) return call.wrong(kInvalidContext, "released more than retained");
  if (--books().contexts == 0) {
    std::string left;
    if (books().live(&left) != 0) call.wrong(kSuccess, "the context ends with\n%s", left.c_str());
    is_current = false;
    queue().repair();  // a new context is a new beginning
  }
  return call.done();
}
Status cuCtxSetCurrent(Context context) {
  ENTRY(cuCtxSetCurrent);
  if (context != nullptr && reinterpret_cast<char*>(context) != &the_context) {
    return call.wrong(kInvalidContext, "no context: %p", static_cast<void*>(context));
  }
  if (call.injected() != kSuccess) return call.injected();
  is_current = context != nullptr;
  return kSuccess;
}
Status cuCtxSetLimit(unsigned limit, size_t) {
  ENTRY(cuCtxSetLimit);
  NEEDS_CONTEXT();
  if (limit > kLimitMallocHeapSize) return call.wrong(kInvalidValue, "limit %u", limit);
  return kSuccess;
}
Status cuCtxSynchronize() {
  ENTRY(cuCtxSynchronize);
  NEEDS_CONTEXT();
  queue().wait_for_all();
  return call.done(queue().broken());
}

Status cuMemGetInfo_v2(size_t* free, size_t* total) {
  ENTRY(cuMemGetInfo_v2);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  const uint64_t used = books().used + kContextBytes;
  *total = books().total;
  *free = used < books().total ? books().total - used : 0;
  return kSuccess;
}

Status cuMemAlloc_v2(DevicePtr* out, size_t bytes) {
  ENTRY(cuMemAlloc_v2);
  NEEDS_CONTEXT();
  if (bytes == 0) return call.wrong(kInvalidValue, "of 0 bytes");
  const Lock lock(books().mutex);
  Allocation a;
  if (!books().allocate(bytes, false, &a)) return kErrorOutOfMemory;
  *out = a.address;
  return kSuccess;
}
Status cuMemFree_v2(DevicePtr memory) {
  ENTRY(cuMemFree_v2);
  queue().wait_for_all();
  const Lock lock(books().mutex);
  if (memory != 0 && !books().release(memory, false)) {
    return call.wrong(kInvalidValue, "nothing is allocated at %llx", memory);
  }
  return call.done();
}
Status cuMemHostAlloc(void** out, size_t bytes, unsigned flags) {
  ENTRY(cuMemHostAlloc);
  NEEDS_CONTEXT();
  if (bytes == 0 || flags > 7)
    return call.wrong(kInvalidValue, "%zu bytes, flags %u", bytes, flags);
  const Lock lock(books().mutex);
  Allocation a;
  if (!books().allocate(bytes, true, &a)) return kErrorOutOfMemory;
  *out = a.host;
  return kSuccess;
}
Status cuMemFreeHost(void* memory) {
  ENTRY(cuMemFreeHost);
  queue().wait_for_all();
  const Lock lock(books().mutex);
  if (!books().release(reinterpret_cast<uint64_t>(memory), true)) {
    return call.wrong(kInvalidValue, "no pinned memory at %p", memory);
  }
  return call.done();
}
Status cuMemHostGetDevicePointer_v2(DevicePtr* out, void* memory, unsigned flags) {
  ENTRY(cuMemHostGetDevicePointer_v2);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  const Allocation* a = books().find(reinterpret_cast<uint64_t>(memory), 1, true);
  if (a == nullptr || flags != 0) {
    return call.wrong(kInvalidValue, "no pinned memory at %p, or flags %u", memory, flags);
  }
  *out =
      a->address + static_cast<uint64_t>(static_cast<char*>(memory) - static_cast<char*>(a->host));
  return kSuccess;
}

Status cuMemcpyHtoDAsync_v2(DevicePtr to, const void* from, size_t bytes, Stream stream) {
  ENTRY(cuMemcpyHtoDAsync_v2);
  NEEDS_STREAM(stream);
  NOT_CAPTURED(stream);
  bool pinned = false;
  {
    const Lock lock(books().mutex);
    if (books().find(to, bytes, false) == nullptr) {
      return call.wrong(kInvalidValue, "%zu bytes at %llx are not allocated", bytes, to);
    }
    pinned = books().find(reinterpret_cast<uint64_t>(from), bytes, true) != nullptr;
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kCopy;
  operation.to = reinterpret_cast<void*>(to);
  operation.from = from;
  operation.bytes = bytes;
  // Of pinned memory it is read when the device comes to it, of other memory before this returns.
  const uint64_t number = queue().put(operation);
  if (!pinned) queue().wait_for(number);
  return kSuccess;
}
Status cuMemcpyDtoHAsync_v2(void* to, DevicePtr from, size_t bytes, Stream stream) {
  ENTRY(cuMemcpyDtoHAsync_v2);
  NEEDS_STREAM(stream);
  NOT_CAPTURED(stream);
  bool pinned = false;
  {
    const Lock lock(books().mutex);
    if (books().find(from, bytes, false) == nullptr) {
      return call.wrong(kInvalidValue, "%zu bytes at %llx are not allocated", bytes, from);
    }
    pinned = books().find(reinterpret_cast<uint64_t>(to), bytes, true) != nullptr;
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kCopy;
  operation.to = to;
  operation.from = reinterpret_cast<const void*>(from);
  operation.bytes = bytes;
  const uint64_t number = queue().put(operation);
  if (!pinned) queue().wait_for(number);
  return kSuccess;
}
Status cuMemcpyDtoDAsync_v2(DevicePtr to, DevicePtr from, size_t bytes, Stream stream) {
  ENTRY(cuMemcpyDtoDAsync_v2);
  NEEDS_STREAM(stream);
  NOT_CAPTURED(stream);
  {
    const Lock lock(books().mutex);
    for (const DevicePtr memory : {to, from}) {
      if (books().find(memory, bytes, false) == nullptr) {
        return call.wrong(kInvalidValue, "%zu bytes at %llx are not allocated", bytes, memory);
      }
    }
  }
  if (from < to + bytes && to < from + bytes) {
    return call.wrong(kInvalidValue, "%zu bytes at %llx and %llx overlap", bytes, from, to);
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kCopy;
  operation.to = reinterpret_cast<void*>(to);
  operation.from = reinterpret_cast<const void*>(from);
  operation.bytes = bytes;
  queue().put(operation);
  return kSuccess;
}
Status cuMemsetD8Async(DevicePtr to, unsigned char value, size_t bytes, Stream stream) {
  ENTRY(cuMemsetD8Async);
  NEEDS_STREAM(stream);
  {
    const Lock lock(books().mutex);
    if (books().find(to, bytes, false) == nullptr) {
      return call.wrong(kInvalidValue, "%zu bytes at %llx are not allocated", bytes, to);
    }
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kSet;
  operation.to = reinterpret_cast<void*>(to);
  operation.value = value;
  operation.bytes = bytes;
  put(stream, operation);
  return kSuccess;
}

Status cuModuleLoadData(Module* out, const void* image) {
  ENTRY(cuModuleLoadData);
  NEEDS_CONTEXT();
  std::string problem;
  std::unique_ptr<LoadedModule> module = load_image(image, books().capability, &problem);
  if (module == nullptr) {
    return problem.empty() ? kErrorNoBinaryForGpu
                           : call.wrong(kInvalidImage, "%s", problem.c_str());
  }
  const Lock lock(books().mutex);
  LoadedModule* const address = module.get();
  books().modules[address] = std::move(module);
  *out = reinterpret_cast<Module>(address);
  return kSuccess;
}
Status cuModuleUnload(Module module) {
  ENTRY(cuModuleUnload);
  queue().wait_for_all();
  const Lock lock(books().mutex);
  const auto it = books().modules.find(module);
  if (it == books().modules.end()) return call.wrong(kInvalidHandle, "no module");
  for (const auto& [name, kernel] : it->second->functions) books().kernels.erase(kernel.get());
  books().modules.erase(it);  // the library stays: it is loaded again and again
  return call.done();
}
Status cuModuleGetFunction(Function* out, Module module, const char* name) {
  ENTRY(cuModuleGetFunction);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  const auto it = books().modules.find(module);
  if (it == books().modules.end()) return call.wrong(kInvalidHandle, "no module");
  const Kernel* kernel = find_function(*it->second, name);
  if (kernel == nullptr) return kNotFound;
  books().kernels.insert(kernel);
  *out = reinterpret_cast<Function>(const_cast<Kernel*>(kernel));
  return kSuccess;
}

Status cuFuncSetAttribute(Function function, unsigned attribute, int value) {
  ENTRY(cuFuncSetAttribute);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  if (books().kernels.count(function) == 0) return call.wrong(kInvalidHandle, "no function");
  auto* kernel = reinterpret_cast<Kernel*>(function);
  const auto fixed = static_cast<int>(kernel->code.shared_end - kernel->code.shared);
  if (attribute == kFunctionMaxDynamicSharedSizeBytes) {
    if (value < 0 || value + fixed > static_cast<int>(most_shared())) {
      return call.wrong(kInvalidValue, "%d + %d bytes of shared memory, the device has %u", value,
                        fixed, most_shared());
    }
    kernel->most_dynamic_shared = value;
  } else if (attribute != kFunctionPreferredSharedMemoryCarveout) {
    return call.wrong(kInvalidValue, "attribute %u cannot be set", attribute);
  }
  return kSuccess;
}
Status cuFuncGetAttribute(int* value, unsigned attribute, Function function) {
  ENTRY(cuFuncGetAttribute);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  if (books().kernels.count(function) == 0) return call.wrong(kInvalidHandle, "no function");
  const SimtKernel& code = reinterpret_cast<const Kernel*>(function)->code;
  switch (attribute) {
    case kFunctionMaxThreadsPerBlock:
      *value = code.most_threads != 0 ? static_cast<int>(code.most_threads) : 1024;
      break;
    case kFunctionSharedSizeBytes:
      *value = static_cast<int>(code.shared_end - code.shared);
      break;
    case kFunctionLocalSizeBytes:
      *value = 0;
      break;
    case kFunctionNumRegs:
      *value = 32;
      break;
    default:
      return call.wrong(kInvalidValue, "attribute %u", attribute);
  }
  return kSuccess;
}

static Status launch(Call& call, Function function, uint3 grid, uint3 block, unsigned shared_bytes,
                     Stream stream, void** arguments, void** extra) {
  NEEDS_STREAM(stream);
  const auto* kernel = reinterpret_cast<const Kernel*>(function);
  {
    const Lock lock(books().mutex);
    if (books().kernels.count(function) == 0) return call.wrong(kInvalidHandle, "no function");
  }
  const SimtKernel& code = kernel->code;
  const char* const name = kernel->name.c_str();
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const uint64_t most = code.most_threads != 0 ? code.most_threads : 1024;
  if (threads == 0 || threads > most || block.z > 64) {
    return call.wrong(kInvalidValue, "%s: a block of %u x %u x %u, at most %u threads", name,
                      block.x, block.y, block.z, static_cast<unsigned>(most));
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 ||
      grid.z > 65535) {
    return call.wrong(kInvalidValue, "%s: a grid of %u x %u x %u", name, grid.x, grid.y, grid.z);
  }
  const auto fixed = static_cast<unsigned>(code.shared_end - code.shared);
  if (shared_bytes > static_cast<unsigned>(kernel->most_dynamic_shared) ||
      (kernel->most_dynamic_shared <= 48 << 10 && shared_bytes + fixed > 48 << 10)) {
    return call.wrong(kInvalidValue, "%s: %u + %u bytes of shared memory, %d were asked for", name,
                      shared_bytes, fixed, kernel->most_dynamic_shared);
  }
  if (extra != nullptr || code.argument_count > kMaxArguments) {
    return call.wrong(kInvalidValue, "%s: arguments in a form that is not known", name);
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kLaunch;
  operation.kernel = kernel;
  operation.grid = grid;
  operation.block = block;
  operation.shared_bytes = shared_bytes;
  for (unsigned i = 0; i < code.argument_count; ++i) {
    if (arguments[i] == nullptr) return call.wrong(kInvalidValue, "%s: argument %u", name, i);
    std::memcpy(&operation.arguments[i], arguments[i], code.argument_bytes[i]);
    if (!code.argument_is_pointer[i]) continue;
    const uint64_t pointer = operation.arguments[i];
    const Lock lock(books().mutex);
    if (pointer != 0 && (books().find(pointer, 0, false) == nullptr || pointer % 16 != 0)) {
      return call.wrong(kInvalidValue, "%s: argument %u, %llx, is not allocated or not aligned",
                        name, i, static_cast<unsigned long long>(pointer));
    }
  }
  put(stream, operation);
  return kSuccess;
}

Status cuLaunchKernel(Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                      unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                      Stream stream, void** arguments, void** extra) {
  ENTRY(cuLaunchKernel);
  return launch(call, function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes,
                stream, arguments, extra);
}
Status cuLaunchKernelEx(const LaunchConfig* c, Function function, void** arguments, void** extra) {
  ENTRY(cuLaunchKernelEx);
  for (unsigned i = 0; i < c->attribute_count; ++i) {
    if (c->attributes[i].id != kLaunchProgrammaticStreamSerialization) {
      return call.wrong(kInvalidValue, "launch attribute %u", c->attributes[i].id);
    }
    if (books().capability < 90) return call.wrong(801, "programmatic launches need sm_90");
  }
  return launch(call, function, {c->grid_x, c->grid_y, c->grid_z},
                {c->block_x, c->block_y, c->block_z}, c->shared_bytes, c->stream, arguments, extra);
}

Status cuStreamCreate(Stream* out, unsigned flags) {
  ENTRY(cuStreamCreate);
  NEEDS_CONTEXT();
  if (flags > kStreamNonBlocking) return call.wrong(kInvalidValue, "flags %u", flags);
  const Lock lock(books().mutex);
  void* const stream = new char;
  books().streams.insert(stream);
  *out = static_cast<Stream>(stream);
  return kSuccess;
}
Status cuStreamDestroy_v2(Stream stream) {
  ENTRY(cuStreamDestroy_v2);
  queue().wait_for_all();
  if (capture.stream == stream) capture = {};
  const Lock lock(books().mutex);
  if (books().streams.erase(stream) == 0) return call.wrong(kInvalidHandle, "no stream");
  delete reinterpret_cast<char*>(stream);
  return call.done();
}
Status cuStreamSynchronize(Stream stream) {
  ENTRY(cuStreamSynchronize);
  if (call.injected() != kSuccess) queue().wait_for_all();
  NEEDS_STREAM(stream);
  NOT_CAPTURED(stream);
  queue().wait_for_all();
  return call.done(queue().broken());
}
Status cuStreamQuery(Stream stream) {
  ENTRY(cuStreamQuery);
  NEEDS_STREAM(stream);
  NOT_CAPTURED(stream);
  const bool idle = queue().is_idle();
  if (queue().broken() != kSuccess) return queue().broken();
  return idle ? kSuccess : kErrorNotReady;
}

Status cuStreamBeginCapture_v2(Stream stream, unsigned mode) {
  ENTRY(cuStreamBeginCapture_v2);
  NEEDS_STREAM(stream);
  if (mode > 2) return call.wrong(kInvalidValue, "mode %u", mode);
  if (capture.stream != nullptr) return call.wrong(kInvalidValue, "a capture is under way");
  capture.stream = stream;
  capture.nodes = std::make_unique<Nodes>();
  return kSuccess;
}
Status cuStreamEndCapture(Stream stream, Graph* out) {
  ENTRY(cuStreamEndCapture);
  if (call.injected() != kSuccess && capture.stream == stream) capture = {};
  NEEDS_STREAM(stream);
  if (capture.stream != stream) return call.wrong(kInvalidValue, "nothing is captured");
  void* const graph = capture.nodes.release();
  capture = {};
  const Lock lock(books().mutex);
  books().graphs.insert(graph);
  *out = static_cast<Graph>(graph);
  return kSuccess;
}
Status cuGraphInstantiateWithFlags(GraphExec* out, Graph graph, unsigned long long flags) {
  ENTRY(cuGraphInstantiateWithFlags);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  if (books().graphs.count(graph) == 0 || flags != 0) {
    return call.wrong(kInvalidHandle, "no graph, or flags %llu", flags);
  }
  void* const exec = new Nodes(*reinterpret_cast<Nodes*>(graph));
  books().execs.insert(exec);
  *out = static_cast<GraphExec>(exec);
  return kSuccess;
}
Status cuGraphUpload(GraphExec graph, Stream stream) {
  ENTRY(cuGraphUpload);
  NEEDS_STREAM(stream);
  const Lock lock(books().mutex);
  if (books().execs.count(graph) == 0) return call.wrong(kInvalidHandle, "no executable graph");
  return kSuccess;
}
Status cuGraphLaunch(GraphExec graph, Stream stream) {
  ENTRY(cuGraphLaunch);
  NEEDS_STREAM(stream);
  NOT_CAPTURED(stream);
  {
    const Lock lock(books().mutex);
    if (books().execs.count(graph) == 0) return call.wrong(kInvalidHandle, "no executable graph");
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kGraph;
  operation.nodes = reinterpret_cast<const Nodes*>(graph);
  queue().put(operation);
  return kSuccess;
}
Status cuGraphExecDestroy(GraphExec graph) {
  ENTRY(cuGraphExecDestroy);
  queue().wait_for_all();
  const Lock lock(books().mutex);
  if (books().execs.erase(graph) == 0) return call.wrong(kInvalidHandle, "no executable graph");
  delete reinterpret_cast<Nodes*>(graph);
  return call.done();
}
Status cuGraphDestroy(Graph graph) {
  ENTRY(cuGraphDestroy);
  const Lock lock(books().mutex);
  if (books().graphs.erase(graph) == 0) return call.wrong(kInvalidHandle, "no graph");
  delete reinterpret_cast<Nodes*>(graph);
  return call.done();
}

Status cuEventCreate(Event* out, unsigned flags) {
  ENTRY(cuEventCreate);
  NEEDS_CONTEXT();
  if (flags > 7) return call.wrong(kInvalidValue, "flags %u", flags);
  const Lock lock(books().mutex);
  auto event = std::make_unique<EventState>();
  event->flags = flags;
  *out = reinterpret_cast<Event>(event.get());
  void* const address = event.get();
  books().events[address] = std::move(event);
  return kSuccess;
}
Status cuEventDestroy_v2(Event event) {
  ENTRY(cuEventDestroy_v2);
  queue().wait_for_all();
  const Lock lock(books().mutex);
  if (books().events.erase(event) == 0) return call.wrong(kInvalidHandle, "no event");
  return call.done();
}

static Status record(Call& call, Event event, Stream stream, unsigned flags) {
  NEEDS_STREAM(stream);
  EventState* state = nullptr;
  {
    const Lock lock(books().mutex);
    const auto it = books().events.find(event);
    if (it == books().events.end()) return call.wrong(kInvalidHandle, "no event");
    state = it->second.get();
  }
  const bool captured = capture.stream == stream;
  if (flags == kEventRecordExternal && !captured) {
    return call.wrong(kInvalidValue, "an external record outside of a capture");
  }
  Operation operation = {};
  operation.kind = Operation::Kind::kRecord;
  operation.event = state;
  state->recorded = put(stream, operation);
  return kSuccess;
}
Status cuEventRecord(Event event, Stream stream) {
  ENTRY(cuEventRecord);
  return record(call, event, stream, kEventRecordDefault);
}
Status cuEventRecordWithFlags(Event event, Stream stream, unsigned flags) {
  ENTRY(cuEventRecordWithFlags);
  return record(call, event, stream, flags);
}
Status cuEventSynchronize(Event event) {
  ENTRY(cuEventSynchronize);
  NEEDS_CONTEXT();
  uint64_t number = 0;
  {
    const Lock lock(books().mutex);
    const auto it = books().events.find(event);
    if (it == books().events.end()) return call.wrong(kInvalidHandle, "no event");
    number = it->second->recorded;
  }
  queue().wait_for(number);
  return queue().broken();
}
Status cuEventElapsedTime(float* milliseconds, Event start, Event end) {
  ENTRY(cuEventElapsedTime);
  NEEDS_CONTEXT();
  const Lock lock(books().mutex);
  double times[2] = {};
  for (int i = 0; i < 2; ++i) {
    const auto it = books().events.find(i == 0 ? start : end);
    if (it == books().events.end()) return call.wrong(kInvalidHandle, "no event");
    if (!it->second->was_recorded || it->second->flags & kEventDisableTiming) {
      return call.wrong(kInvalidHandle, "an event that has no time");
    }
    times[i] = it->second->time;
  }
  *milliseconds = static_cast<float>(times[1] - times[0]);
  return kSuccess;
}

// Each entry point is what the table expects of it.
#define JLLM_SAME(field, symbol, parameters) \
  static_assert(std::is_same_v<decltype(&symbol), Status(*) parameters>, #symbol);
JLLM_CUDA_API(JLLM_SAME)
JLLM_CUDA_OPTIONAL_API(JLLM_SAME)

}  // extern "C"
#pragma GCC visibility pop

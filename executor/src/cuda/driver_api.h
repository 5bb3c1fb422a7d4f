// The CUDA driver API as a table of function pointers, filled from libcuda.so.1 at run time, so
// that neither building nor starting needs CUDA. One list names every entry point that is used; the
// few types and constants are declared here and a test holds them against cuda.h where that header
// is present.
#pragma once

#include <cstddef>
#include <cstdint>

// Opaque driver objects, under the names that cuda.h gives them.
struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;

namespace jllm::cuda {

using Context = CUctx_st*;
using Module = CUmod_st*;
using Function = CUfunc_st*;
using Stream = CUstream_st*;
using Event = CUevent_st*;
using Graph = CUgraph_st*;
using GraphExec = CUgraphExec_st*;
using Device = int;
using DevicePtr = unsigned long long;  // 64-bit hosts only
using Status = unsigned;               // CUresult; the values below are those that code looks at

constexpr Status kSuccess = 0;
constexpr Status kErrorOutOfMemory = 2;
constexpr Status kErrorNoDevice = 100;
constexpr Status kErrorNoBinaryForGpu = 209;
constexpr Status kErrorNotReady = 600;
constexpr Status kErrorNotPermitted = 800;

// CUdevice_attribute
constexpr unsigned kAttributeClockRate = 13;  // kHz
constexpr unsigned kAttributeMultiprocessorCount = 16;
constexpr unsigned kAttributeIntegrated = 18;
constexpr unsigned kAttributeCanMapHostMemory = 19;
constexpr unsigned kAttributeMemoryClockRate = 36;       // kHz
constexpr unsigned kAttributeGlobalMemoryBusWidth = 37;  // bits
constexpr unsigned kAttributeL2CacheSize = 38;           // bytes
constexpr unsigned kAttributeUnifiedAddressing = 41;
constexpr unsigned kAttributeComputeCapabilityMajor = 75;
constexpr unsigned kAttributeComputeCapabilityMinor = 76;
constexpr unsigned kAttributeMaxSharedMemoryPerMultiprocessor = 81;  // bytes
constexpr unsigned kAttributeMaxSharedMemoryPerBlockOptin = 97;      // bytes

// CUfunction_attribute
constexpr unsigned kFunctionMaxThreadsPerBlock = 0;
constexpr unsigned kFunctionSharedSizeBytes = 1;  // static shared memory
constexpr unsigned kFunctionLocalSizeBytes = 3;   // per thread: spills and stack
constexpr unsigned kFunctionNumRegs = 4;
constexpr unsigned kFunctionMaxDynamicSharedSizeBytes = 8;
constexpr unsigned kFunctionPreferredSharedMemoryCarveout = 9;  // percent

// CUlaunchAttributeID
constexpr unsigned kLaunchProgrammaticStreamSerialization = 6;

// CUlaunchAttribute: the value is a union of 64 bytes, of which a flag takes the first four.
struct LaunchAttribute {
  unsigned id;
  unsigned padding;
  int value[16];
};

// CUlaunchConfig
struct LaunchConfig {
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
  Stream stream;
  const LaunchAttribute* attributes;
  unsigned attribute_count;
};

// Flags
constexpr unsigned kLimitStackSize = 0;
constexpr unsigned kLimitPrintfFifoSize = 1;
constexpr unsigned kLimitMallocHeapSize = 2;
constexpr unsigned kMemHostAllocPortable = 1;
constexpr unsigned kMemHostAllocDeviceMap = 2;
constexpr unsigned kStreamNonBlocking = 1;
constexpr unsigned kStreamCaptureThreadLocal = 1;
constexpr unsigned kEventDefault = 0;
constexpr unsigned kEventDisableTiming = 2;
constexpr unsigned kEventRecordDefault = 0;
constexpr unsigned kEventRecordExternal = 1;  // while capturing: a node of its own

// X(field, symbol, parameters): every entry point returns Status. All exist from CUDA 11.4 (JetPack
// 5) on. The symbol carries the version suffix that cuda.h maps the plain name to.
// clang-format off
#define JLLM_CUDA_API(X)                                                                           \
  X(init, cuInit, (unsigned flags))                                                                \
  X(driver_get_version, cuDriverGetVersion, (int* version))                                        \
  X(get_error_name, cuGetErrorName, (Status status, const char** name))                            \
  X(get_error_string, cuGetErrorString, (Status status, const char** text))                        \
  X(device_get, cuDeviceGet, (Device* device, int ordinal))                                        \
  X(device_get_count, cuDeviceGetCount, (int* count))                                              \
  X(device_get_name, cuDeviceGetName, (char* name, int size, Device device))                       \
  X(device_get_pci_bus_id, cuDeviceGetPCIBusId, (char* id, int size, Device device))               \
  X(device_get_attribute, cuDeviceGetAttribute, (int* value, unsigned attribute, Device device))   \
  X(device_total_mem, cuDeviceTotalMem_v2, (size_t* bytes, Device device))                         \
  X(primary_ctx_retain, cuDevicePrimaryCtxRetain, (Context* context, Device device))               \
  X(primary_ctx_release, cuDevicePrimaryCtxRelease_v2, (Device device))                            \
  X(ctx_set_current, cuCtxSetCurrent, (Context context))                                           \
  X(ctx_set_limit, cuCtxSetLimit, (unsigned limit, size_t value))                                  \
  X(ctx_synchronize, cuCtxSynchronize, ())                                                         \
  X(mem_get_info, cuMemGetInfo_v2, (size_t* free, size_t* total))                                  \
  X(mem_alloc, cuMemAlloc_v2, (DevicePtr* out, size_t bytes))                                      \
  X(mem_free, cuMemFree_v2, (DevicePtr memory))                                                    \
  X(mem_host_alloc, cuMemHostAlloc, (void** out, size_t bytes, unsigned flags))                    \
  X(mem_free_host, cuMemFreeHost, (void* memory))                                                  \
  X(mem_host_get_device_pointer, cuMemHostGetDevicePointer_v2,                                     \
    (DevicePtr* out, void* memory, unsigned flags))                                                \
  X(memcpy_htod_async, cuMemcpyHtoDAsync_v2,                                                       \
    (DevicePtr to, const void* from, size_t bytes, Stream stream))                                 \
  X(memcpy_dtoh_async, cuMemcpyDtoHAsync_v2,                                                       \
    (void* to, DevicePtr from, size_t bytes, Stream stream))                                       \
  X(memcpy_dtod_async, cuMemcpyDtoDAsync_v2,                                                       \
    (DevicePtr to, DevicePtr from, size_t bytes, Stream stream))                                   \
  X(memset_d8_async, cuMemsetD8Async,                                                              \
    (DevicePtr to, unsigned char value, size_t bytes, Stream stream))                              \
  X(module_load_data, cuModuleLoadData, (Module* out, const void* image))                          \
  X(module_unload, cuModuleUnload, (Module module))                                                \
  X(module_get_function, cuModuleGetFunction, (Function* out, Module module, const char* name))    \
  X(func_set_attribute, cuFuncSetAttribute, (Function function, unsigned attribute, int value))    \
  X(func_get_attribute, cuFuncGetAttribute, (int* value, unsigned attribute, Function function))   \
  X(launch_kernel, cuLaunchKernel,                                                                 \
    (Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,       \
     unsigned block_y, unsigned block_z, unsigned shared_bytes, Stream stream, void** arguments,   \
     void** extra))                                                                                \
  X(stream_create, cuStreamCreate, (Stream* out, unsigned flags))                                  \
  X(stream_destroy, cuStreamDestroy_v2, (Stream stream))                                           \
  X(stream_synchronize, cuStreamSynchronize, (Stream stream))                                      \
  X(stream_query, cuStreamQuery, (Stream stream))                                                  \
  X(stream_begin_capture, cuStreamBeginCapture_v2, (Stream stream, unsigned mode))                 \
  X(stream_end_capture, cuStreamEndCapture, (Stream stream, Graph* out))                           \
  X(graph_instantiate, cuGraphInstantiateWithFlags,                                                \
    (GraphExec* out, Graph graph, unsigned long long flags))                                       \
  X(graph_upload, cuGraphUpload, (GraphExec graph, Stream stream))                                 \
  X(graph_launch, cuGraphLaunch, (GraphExec graph, Stream stream))                                 \
  X(graph_exec_destroy, cuGraphExecDestroy, (GraphExec graph))                                     \
  X(graph_destroy, cuGraphDestroy, (Graph graph))                                                  \
  X(event_create, cuEventCreate, (Event* out, unsigned flags))                                     \
  X(event_record, cuEventRecord, (Event event, Stream stream))                                     \
  X(event_record_with_flags, cuEventRecordWithFlags, (Event event, Stream stream, unsigned flags)) \
  X(event_synchronize, cuEventSynchronize, (Event event))                                          \
  X(event_elapsed_time, cuEventElapsedTime, (float* milliseconds, Event start, Event end))         \
  X(event_destroy, cuEventDestroy_v2, (Event event))
// clang-format on

// Entry points that older drivers lack: null there.
#define JLLM_CUDA_OPTIONAL_API(X)       \
  X(launch_kernel_ex, cuLaunchKernelEx, \
    (const LaunchConfig* config, Function function, void** arguments, void** extra))

// NOLINTBEGIN(bugprone-macro-parentheses): names and lists of parameters take none.
struct CudaApi {
#define JLLM_FIELD(field, symbol, parameters) Status(*field) parameters;
  JLLM_CUDA_API(JLLM_FIELD)
  JLLM_CUDA_OPTIONAL_API(JLLM_FIELD)
#undef JLLM_FIELD
};
// NOLINTEND(bugprone-macro-parentheses)

// Fills every pointer of `api`. Null on success, else why not: a string that lives as long as the
// process.
[[nodiscard]] const char* load_cuda_api(CudaApi* api);

// From now on the entries of `api` that take memory or make objects refuse to, with
// kErrorNotPermitted, and are counted: what runs after start-up needs none of them.
void seal_cuda_api(CudaApi* api);
// Calls of sealed entries by the whole process so far.
uint64_t sealed_cuda_calls();

}  // namespace jllm::cuda

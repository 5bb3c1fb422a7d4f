// The driver API: every entry point checks its arguments against the books before it does anything.
// Here the device and its context.
#include "tests/support/fake_cuda/driver.h"

#include <cstdio>
#include <string>

#include "tests/support/fake_cuda/module_images.h"

namespace jllm {

thread_local bool fake::is_current = false;

namespace cuda {

using namespace fake;

namespace {

constexpr int kDriverVersion = 12990;

char the_context;
bool initialised = false;

// Every entry point is there: else the library cannot be loaded.
#define JLLM_ADDRESS(field, symbol, parameters) reinterpret_cast<void (*)()>(&symbol),
[[gnu::used]] void (*const kEntryPoints[])() = {JLLM_CUDA_API(JLLM_ADDRESS)
                                                    JLLM_CUDA_OPTIONAL_API(JLLM_ADDRESS)};
#undef JLLM_ADDRESS

}  // namespace

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

}  // namespace cuda
}  // namespace jllm

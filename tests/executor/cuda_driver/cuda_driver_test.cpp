// Holds our declarations of the CUDA driver API against cuda.h, where that header is present, and
// checks that loading either works or says why not.
#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <type_traits>

#include "executor/src/cuda/driver_api.h"

#if __has_include(<cuda.h>)
#define JLLM_HAVE_CUDA_H 1
#include <cuda.h>
#else
#define JLLM_HAVE_CUDA_H 0
#endif

namespace jllm::cuda {
namespace {

#if JLLM_HAVE_CUDA_H

// The same type, or an enum of cuda.h that we pass as an integer of its size.
template <typename Ours, typename Theirs>
constexpr bool same_argument() {
  return std::is_same_v<Ours, Theirs> ||
         (std::is_integral_v<Ours> && std::is_enum_v<Theirs> && sizeof(Ours) == sizeof(Theirs));
}

template <typename Ours, typename Theirs>
struct SameSignature : std::false_type {};

template <typename R, typename... A, typename S, typename... B>
struct SameSignature<R (*)(A...), S (*)(B...)> {
  static constexpr bool compare() {
    if constexpr (sizeof...(A) != sizeof...(B)) {
      return false;
    } else {
      return same_argument<R, S>() && (same_argument<A, B>() && ...);
    }
  }
  static constexpr bool value = compare();
};

#define JLLM_CHECK(field, symbol, parameters)                                        \
  static_assert(SameSignature<decltype(CudaApi::field), decltype(&::symbol)>::value, \
                #symbol " differs from cuda.h");
JLLM_CUDA_API(JLLM_CHECK)
#undef JLLM_CHECK

#if CUDA_VERSION >= 11080  // the first with cuLaunchKernelEx
// It takes a structure, whose layout is compared instead of the signature.
static_assert(offsetof(LaunchConfig, grid_x) == offsetof(CUlaunchConfig, gridDimX));
static_assert(offsetof(LaunchConfig, grid_y) == offsetof(CUlaunchConfig, gridDimY));
static_assert(offsetof(LaunchConfig, grid_z) == offsetof(CUlaunchConfig, gridDimZ));
static_assert(offsetof(LaunchConfig, block_x) == offsetof(CUlaunchConfig, blockDimX));
static_assert(offsetof(LaunchConfig, block_y) == offsetof(CUlaunchConfig, blockDimY));
static_assert(offsetof(LaunchConfig, block_z) == offsetof(CUlaunchConfig, blockDimZ));
static_assert(offsetof(LaunchConfig, shared_bytes) == offsetof(CUlaunchConfig, sharedMemBytes));
static_assert(offsetof(LaunchConfig, stream) == offsetof(CUlaunchConfig, hStream));
static_assert(offsetof(LaunchConfig, attributes) == offsetof(CUlaunchConfig, attrs));
static_assert(offsetof(LaunchConfig, attribute_count) == offsetof(CUlaunchConfig, numAttrs));
static_assert(sizeof(LaunchConfig) == sizeof(CUlaunchConfig));
static_assert(alignof(LaunchConfig) == alignof(CUlaunchConfig));
static_assert(offsetof(LaunchAttribute, id) == offsetof(CUlaunchAttribute, id));
static_assert(sizeof(LaunchAttribute::id) == sizeof(CUlaunchAttribute::id));
static_assert(offsetof(LaunchAttribute, value) == offsetof(CUlaunchAttribute, value));
static_assert(sizeof(LaunchAttribute::value) == sizeof(CUlaunchAttribute::value));
static_assert(sizeof(LaunchAttribute) == sizeof(CUlaunchAttribute));
static_assert(offsetof(CUlaunchAttributeValue, programmaticStreamSerializationAllowed) == 0 &&
              sizeof(CUlaunchAttributeValue::programmaticStreamSerializationAllowed) ==
                  sizeof(LaunchAttribute::value[0]));
static_assert(kLaunchProgrammaticStreamSerialization ==
              CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);
#endif

static_assert(std::is_same_v<DevicePtr, CUdeviceptr> && std::is_same_v<Device, CUdevice>);
static_assert(kSuccess == CUDA_SUCCESS);
static_assert(kErrorOutOfMemory == CUDA_ERROR_OUT_OF_MEMORY);
static_assert(kErrorNoDevice == CUDA_ERROR_NO_DEVICE);
static_assert(kErrorNoBinaryForGpu == CUDA_ERROR_NO_BINARY_FOR_GPU);
static_assert(kErrorNotReady == CUDA_ERROR_NOT_READY);
static_assert(kAttributeClockRate == CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
static_assert(kAttributeMultiprocessorCount == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(kAttributeIntegrated == CU_DEVICE_ATTRIBUTE_INTEGRATED);
static_assert(kAttributeCanMapHostMemory == CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY);
static_assert(kAttributeMemoryClockRate == CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
static_assert(kAttributeGlobalMemoryBusWidth == CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
static_assert(kAttributeL2CacheSize == CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
static_assert(kAttributeUnifiedAddressing == CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING);
static_assert(kAttributeComputeCapabilityMajor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(kAttributeComputeCapabilityMinor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(kAttributeMaxSharedMemoryPerMultiprocessor ==
              CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
static_assert(kAttributeMaxSharedMemoryPerBlockOptin ==
              CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
static_assert(kFunctionMaxThreadsPerBlock == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
static_assert(kFunctionSharedSizeBytes == CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
static_assert(kFunctionLocalSizeBytes == CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
static_assert(kFunctionNumRegs == CU_FUNC_ATTRIBUTE_NUM_REGS);
static_assert(kFunctionMaxDynamicSharedSizeBytes ==
              CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
static_assert(kFunctionPreferredSharedMemoryCarveout ==
              CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT);
static_assert(kLimitStackSize == CU_LIMIT_STACK_SIZE);
static_assert(kLimitPrintfFifoSize == CU_LIMIT_PRINTF_FIFO_SIZE);
static_assert(kLimitMallocHeapSize == CU_LIMIT_MALLOC_HEAP_SIZE);
static_assert(kMemHostAllocPortable == CU_MEMHOSTALLOC_PORTABLE);
static_assert(kMemHostAllocDeviceMap == CU_MEMHOSTALLOC_DEVICEMAP);
static_assert(kStreamNonBlocking == CU_STREAM_NON_BLOCKING);
static_assert(kStreamCaptureThreadLocal == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
static_assert(kEventDefault == CU_EVENT_DEFAULT);
static_assert(kEventDisableTiming == CU_EVENT_DISABLE_TIMING);
static_assert(kEventRecordDefault == CU_EVENT_RECORD_DEFAULT);
static_assert(kEventRecordExternal == CU_EVENT_RECORD_EXTERNAL);

#endif  // JLLM_HAVE_CUDA_H

TEST(CudaDriver, DeclarationsMatchTheToolkitHeader) {
  if (!JLLM_HAVE_CUDA_H)
    GTEST_SKIP() << "cuda.h is not on this machine: tools/get_cuda_header.sh fetches it";
  // The comparison itself is made of the static_asserts above.
}

TEST(CudaDriver, LoadsOrSaysWhyNot) {
  CudaApi api = {};
  const char* reason = load_cuda_api(&api);
  if (reason != nullptr) {
    EXPECT_NE(std::string(reason).find("libcuda.so.1"), std::string::npos) << reason;
    return;
  }
  int version = 0;
  EXPECT_EQ(api.driver_get_version(&version), kSuccess);
  EXPECT_GE(version, 11040);
}

}  // namespace
}  // namespace jllm::cuda

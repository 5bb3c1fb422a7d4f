// Kernels given as text, built by the fake NVRTC and launched on the fake device: for tests of the
// fake itself.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "executor/src/cuda/driver_api.h"
#include "tests/support/fake_cuda.h"

namespace jllm::test {

// What every entry point must return where nothing else is said.
#define CUDA_OK(call) ASSERT_EQ((call), cuda::kSuccess) << #call

class KernelBench {
 public:
  KernelBench();   // a context and a stream
  ~KernelBench();  // gives back all that was made
  KernelBench(const KernelBench&) = delete;
  KernelBench& operator=(const KernelBench&) = delete;

  // `body` of `extern "C" __global__ void JLLM_KERNEL(PARAMETERS) { ... }`, in a source that sees
  // kernels/device/mma.cuh. `check` as JLLM_FAKE_CUDA_CHECK has it.
  cuda::Function build(const std::string& source, const std::string& check = "");
  cuda::DevicePtr memory(uint64_t bytes, int fill = 0);
  // Launches and waits: the driver's last word.
  cuda::Status launch(cuda::Function kernel, unsigned blocks, unsigned threads,
                      const std::vector<uint64_t>& arguments, unsigned shared_bytes = 0);
  template <typename T>
  std::vector<T> read(cuda::DevicePtr from, size_t n) {
    std::vector<T> out(n);
    EXPECT_EQ(api.memcpy_dtoh_async(out.data(), from, n * sizeof(T), stream), cuda::kSuccess);
    EXPECT_EQ(api.stream_synchronize(stream), cuda::kSuccess);
    return out;
  }
  template <typename T>
  cuda::DevicePtr upload(const std::vector<T>& values) {
    const cuda::DevicePtr to = memory(values.size() * sizeof(T));
    EXPECT_EQ(api.memcpy_htod_async(to, values.data(), values.size() * sizeof(T), stream),
              cuda::kSuccess);
    return to;
  }

  cuda::CudaApi api = {};
  cuda::Stream stream = nullptr;

 private:
  std::vector<cuda::Module> modules_;
  std::vector<cuda::DevicePtr> memory_;
};

}  // namespace jllm::test

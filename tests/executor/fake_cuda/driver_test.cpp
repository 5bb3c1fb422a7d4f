// The fake driver as the executor could misuse it: each wrong call is told, and what the API leaves
// open is done in the least convenient way.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/executor/fake_cuda/kernel_bench.h"

namespace jllm {
namespace {

using test::fake_cuda;
using test::KernelBench;

constexpr const char* kCopyKernel =
    "extern \"C\" __global__ __launch_bounds__(64) void JLLM_KERNEL(const unsigned* in, "
    "unsigned* out, unsigned n) { if (threadIdx.x < n) out[threadIdx.x] = in[threadIdx.x]; }";

class Driver : public testing::Test {
 protected:
  void SetUp() override {
    JLLM_NEEDS_FAKE_CUDA();
    fake_cuda()->collect_violations(1);
  }
  void TearDown() override {
    if (fake_cuda() != nullptr) fake_cuda()->collect_violations(0);
  }
  // The call before was wrong, for this reason.
  static void expect_told(cuda::Status status, const std::string& words) {
    EXPECT_NE(status, cuda::kSuccess) << words;
    const std::string report = fake_cuda()->take_violations();
    EXPECT_NE(report.find(words), std::string::npos) << report;
  }
};

TEST_F(Driver, ChecksLaunches) {
  KernelBench bench;
  const cuda::CudaApi& api = bench.api;
  const cuda::Function kernel = bench.build(kCopyKernel);
  const cuda::DevicePtr memory = bench.memory(1024);
  uint64_t in = memory, out = memory + 512, n = 64;
  void* arguments[] = {&in, &out, &n};
  const auto launch = [&](unsigned grid_x, unsigned grid_y, unsigned block, unsigned shared) {
    return api.launch_kernel(kernel, grid_x, grid_y, 1, block, 1, 1, shared, bench.stream,
                             arguments, nullptr);
  };
  CUDA_OK(launch(1, 1, 64, 0));
  expect_told(launch(1, 1, 65, 0), "a block of 65 x 1 x 1, at most 64 threads");
  expect_told(launch(1, 1, 0, 0), "a block of 0");
  expect_told(launch(0, 1, 64, 0), "a grid of 0");
  expect_told(launch(1, 65536, 64, 0), "a grid of 1 x 65536");
  expect_told(launch(1, 1, 64, 50000), "50000 + 0 bytes of shared memory, 49152 were asked for");
  CUDA_OK(api.func_set_attribute(kernel, cuda::kFunctionMaxDynamicSharedSizeBytes, 50000));
  CUDA_OK(launch(1, 1, 64, 50000));
  expect_told(api.func_set_attribute(kernel, cuda::kFunctionMaxDynamicSharedSizeBytes, 200000),
              "200000 + 0 bytes of shared memory, the device has 166912");
  out = memory + 512 + 4;
  expect_told(launch(1, 1, 64, 0), "argument 1");
  out = 4096;
  expect_told(launch(1, 1, 64, 0), "is not allocated or not aligned");
  uint64_t on_the_stack[8] = {};
  out = reinterpret_cast<uint64_t>(on_the_stack);
  expect_told(launch(1, 1, 64, 0), "argument 1");
  auto* const no_kernel = reinterpret_cast<cuda::Function>(on_the_stack);
  expect_told(api.launch_kernel(no_kernel, 1, 1, 1, 1, 1, 1, 0, bench.stream, nullptr, nullptr),
              "no function");
  cuda::LaunchAttribute attribute = {cuda::kLaunchProgrammaticStreamSerialization, 0, {1}};
  const cuda::LaunchConfig config = {1, 1, 1, 64, 1, 1, 0, bench.stream, &attribute, 1};
  expect_told(api.launch_kernel_ex(&config, kernel, arguments, nullptr), "need sm_90");
}

TEST_F(Driver, ChecksMemory) {
  KernelBench bench;
  const cuda::CudaApi& api = bench.api;
  cuda::DevicePtr memory = 0;
  void* pinned = nullptr;
  expect_told(api.mem_alloc(&memory, 0), "of 0 bytes");
  CUDA_OK(api.mem_alloc(&memory, 100));
  uint8_t bytes[128] = {};
  expect_told(api.memcpy_htod_async(memory, bytes, 101, bench.stream), "are not allocated");
  expect_told(api.memcpy_dtoh_async(bytes, memory + 1, 100, bench.stream), "are not allocated");
  expect_told(api.memset_d8_async(memory - 1, 0, 2, bench.stream), "are not allocated");
  expect_told(api.mem_free(memory + 16), "nothing is allocated");
  CUDA_OK(api.mem_host_alloc(&pinned, 64, 0));
  expect_told(api.mem_free(reinterpret_cast<cuda::DevicePtr>(pinned)), "nothing is allocated");
  cuda::DevicePtr mapped = 0;
  CUDA_OK(api.mem_host_get_device_pointer(&mapped, pinned, 0));
  EXPECT_NE(mapped, reinterpret_cast<cuda::DevicePtr>(pinned));  // kernels have a view of their own
  std::memset(pinned, 42, 64);
  CUDA_OK(api.memcpy_dtoh_async(bytes, mapped, 64, bench.stream));
  CUDA_OK(api.stream_synchronize(bench.stream));
  EXPECT_EQ(bytes[63], 42);
  CUDA_OK(api.mem_free_host(pinned));
  expect_told(api.mem_free_host(pinned), "no pinned memory");
  // Fresh memory holds junk.
  CUDA_OK(api.memcpy_dtoh_async(bytes, memory, 100, bench.stream));
  EXPECT_EQ(bytes[99], 0xff);
  CUDA_OK(api.mem_free(memory));
  expect_told(api.mem_free(memory), "nothing is allocated");
}

TEST_F(Driver, TellsWhatIsLeftWhenTheContextEnds) {
  cuda::Event event = nullptr;
  {
    KernelBench bench;
    CUDA_OK(bench.api.event_create(&event, 0));
    EXPECT_NE(fake_cuda()->what_lives().find("1 events"), std::string::npos);
  }
  const std::string report = fake_cuda()->take_violations();
  EXPECT_NE(report.find("the context ends with\n1 events"), std::string::npos) << report;
  KernelBench again;
  CUDA_OK(again.api.event_destroy(event));
}

// The source of an asynchronous copy is read when somebody waits for it.
TEST_F(Driver, CopiesLate) {
  KernelBench bench;
  const cuda::CudaApi& api = bench.api;
  fake_cuda()->set_delay(2000000);
  void* pinned = nullptr;
  CUDA_OK(api.mem_host_alloc(&pinned, 64, 0));
  const cuda::DevicePtr memory = bench.memory(64);
  CUDA_OK(api.stream_synchronize(bench.stream));
  std::memset(pinned, 1, 64);
  CUDA_OK(api.memcpy_htod_async(memory, pinned, 64, bench.stream));
  EXPECT_EQ(api.stream_query(bench.stream), cuda::kErrorNotReady);
  std::memset(pinned, 2, 64);  // too soon
  CUDA_OK(api.stream_synchronize(bench.stream));
  EXPECT_EQ(api.stream_query(bench.stream), cuda::kSuccess);
  EXPECT_EQ(bench.read<uint8_t>(memory, 64)[63], 2);
  // Of other memory before the call returns.
  std::vector<uint8_t> pageable(64, 3);
  CUDA_OK(api.memcpy_htod_async(memory, pageable.data(), 64, bench.stream));
  std::fill(pageable.begin(), pageable.end(), 4);
  EXPECT_EQ(bench.read<uint8_t>(memory, 64)[63], 3);
  CUDA_OK(api.mem_free_host(pinned));
  fake_cuda()->set_delay(300);
}

TEST_F(Driver, CapturesAndReplays) {
  KernelBench bench;
  const cuda::CudaApi& api = bench.api;
  const cuda::Function kernel = bench.build(kCopyKernel);
  const cuda::DevicePtr memory = bench.upload(std::vector<unsigned>(64, 5));
  const cuda::DevicePtr copy = bench.memory(256, 0);
  cuda::Graph graph = nullptr;
  cuda::GraphExec exec = nullptr;
  expect_told(api.stream_end_capture(bench.stream, &graph), "nothing is captured");
  CUDA_OK(api.stream_begin_capture(bench.stream, cuda::kStreamCaptureThreadLocal));
  expect_told(api.stream_synchronize(bench.stream), "not while the stream is captured");
  uint64_t n = 64;
  void* arguments[] = {const_cast<cuda::DevicePtr*>(&memory), const_cast<cuda::DevicePtr*>(&copy),
                       &n};
  CUDA_OK(api.launch_kernel(kernel, 1, 1, 1, 64, 1, 1, 0, bench.stream, arguments, nullptr));
  n = 1;  // arguments are taken at the call
  CUDA_OK(api.stream_end_capture(bench.stream, &graph));
  EXPECT_EQ(bench.read<unsigned>(copy, 64)[63], 0u);
  CUDA_OK(api.graph_instantiate(&exec, graph, 0));
  CUDA_OK(api.graph_destroy(graph));
  CUDA_OK(api.graph_launch(exec, bench.stream));
  EXPECT_EQ(bench.read<unsigned>(copy, 64)[63], 5u);
  CUDA_OK(api.graph_exec_destroy(exec));
  expect_told(api.graph_launch(exec, bench.stream), "no executable graph");
}

TEST_F(Driver, CallsNeedAContextThatIsCurrent) {
  cuda::CudaApi api = {};
  ASSERT_EQ(cuda::load_cuda_api(&api), nullptr);
  cuda::DevicePtr memory = 0;
  expect_told(api.mem_alloc(&memory, 16), "no context is current");
}

}  // namespace
}  // namespace jllm

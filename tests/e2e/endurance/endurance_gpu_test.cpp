// The same on a GPU: neither the process nor the device's memory grows, in graphs and in eager
// mode. Device memory is that of all processes, so nothing else may run on the GPU meanwhile.
#include <gtest/gtest.h>

#include "executor/src/cuda/driver_api.h"
#include "tests/e2e/endurance/endurance.h"
#include "tests/support/gpu.h"

namespace jllm {
namespace {

uint64_t device_bytes_in_use(const cuda::CudaApi& api) {
  size_t free = 0;
  size_t total = 0;
  if (api.mem_get_info(&free, &total) != cuda::kSuccess) return 0;
  return total - free;
}

class EnduranceOnGpu : public testing::TestWithParam<bool> {};

TEST_P(EnduranceOnGpu, ProcessAndDeviceStayFlat) {
  JLLM_NEEDS_GPU();
  cuda::CudaApi api;
  ASSERT_EQ(cuda::load_cuda_api(&api), nullptr);
  ExecutorOptions options;
  options.graphs = GetParam();
  test::expect_flat(
      test::endurance_plan(test::gpu_target().c_str()), options,
      {{"process", test::own_bytes}, {"device", [&api] { return device_bytes_in_use(api); }}});
}

INSTANTIATE_TEST_SUITE_P(Mode, EnduranceOnGpu, testing::Bool(),
                         [](const auto& mode) { return mode.param ? "Graphs" : "Eager"; });

}  // namespace
}  // namespace jllm

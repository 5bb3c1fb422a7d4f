// Ten thousand steps after create() (two in eager mode): no driver call that takes memory, no
// sealed entry touched, and neither the process nor the device has grown.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "executor/src/cuda/driver_api.h"
#include "tests/executor/fake_cuda/plans.h"

namespace jllm {
namespace {

using test::fake_cuda;
using test::RunningPlan;

uint64_t resident_bytes() {
  unsigned long long all = 0, resident = 0;
  FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%llu %llu", &all, &resident) != 2) resident = 0;
  if (file != nullptr) std::fclose(file);
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

class Endurance : public testing::TestWithParam<bool> {};

TEST_P(Endurance, StepsTakeNoMemory) {
  JLLM_NEEDS_FAKE_CUDA();
  const test::TokensOnly tokens_only;
  fake_cuda()->set_delay(0);
  ExecutorOptions options;
  options.graphs = GetParam();
  const uint64_t sealed_before = cuda::sealed_cuda_calls();
  {
    RunningPlan run(test::long_fake_plan(), options);
    ASSERT_TRUE(run.ok()) << run.create_message;
    fake_cuda()->seal(1);
    const std::string objects = fake_cuda()->what_lives();
    const test::Tokens prompt = test::random_tokens(40, test::kVocab, 3);
    run.set_sampling(test::any_token());
    run.prefill(prompt);
    // Two in flight, as a program would have them.
    ASSERT_EQ(run->enqueue(), Error::kOk);
    uint64_t before = 0;
    const uint32_t steps = options.graphs ? test::kSteps : test::kSteps / 5;
    for (uint32_t i = 0; i < steps; ++i) {
      if (i == 100) before = resident_bytes();  // everything has been touched
      ASSERT_EQ(run->enqueue(), Error::kOk) << run->last_error();
      ASSERT_TRUE(run->next().ok()) << run->last_error();
    }
    const uint64_t after = resident_bytes();
    EXPECT_GT(before, 0u);
    // Once per step, the smallest piece that malloc hands out (32 bytes) would be twice as much.
    EXPECT_LT(after, before + 16 * uint64_t{steps - 100}) << "bytes, from " << before;
    EXPECT_EQ(fake_cuda()->unwanted_calls(), 0u);
    EXPECT_EQ(cuda::sealed_cuda_calls(), sealed_before);
    EXPECT_EQ(fake_cuda()->what_lives(), objects);
    fake_cuda()->seal(0);
  }
  fake_cuda()->set_delay(300);
  EXPECT_EQ(fake_cuda()->what_lives(), "");
}

INSTANTIATE_TEST_SUITE_P(Modes, Endurance, testing::Bool(),
                         [](const auto& c) { return c.param ? "Graphs" : "Eager"; });

TEST(SealedTable, RefusesAndCounts) {
  JLLM_NEEDS_FAKE_CUDA();
  cuda::CudaApi api = {};
  ASSERT_EQ(cuda::load_cuda_api(&api), nullptr);
  cuda::seal_cuda_api(&api);
  const uint64_t before = cuda::sealed_cuda_calls();
  const uint64_t allocations = fake_cuda()->calls_of("cuMemAlloc_v2");
  cuda::DevicePtr memory = 0;
  void* pinned = nullptr;
  cuda::Module module = nullptr;
  cuda::GraphExec graph = nullptr;
  cuda::Event event = nullptr;
  EXPECT_EQ(api.mem_alloc(&memory, 16), cuda::kErrorNotPermitted);
  EXPECT_EQ(api.mem_host_alloc(&pinned, 16, 0), cuda::kErrorNotPermitted);
  EXPECT_EQ(api.module_load_data(&module, nullptr), cuda::kErrorNotPermitted);
  EXPECT_EQ(api.graph_instantiate(&graph, nullptr, 0), cuda::kErrorNotPermitted);
  EXPECT_EQ(api.event_create(&event, 0), cuda::kErrorNotPermitted);
  EXPECT_EQ(cuda::sealed_cuda_calls(), before + 5);
  EXPECT_EQ(fake_cuda()->calls_of("cuMemAlloc_v2"), allocations);  // none reached the driver
}

}  // namespace
}  // namespace jllm

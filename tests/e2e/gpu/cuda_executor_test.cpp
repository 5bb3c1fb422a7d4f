// What only a GPU can show of the executor: plans for other devices, missing memory, seeds,
// sequences.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "tests/support/edited_plan.h"
#include "tests/support/gpu.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::EditedPlan;
using test::PlanInMemory;
using test::RunningPlan;
using test::Tokens;

constexpr uint32_t kContext = 64;

class CudaExecutor : public testing::Test {
 protected:
  void SetUp() override { JLLM_NEEDS_GPU(); }

  static std::vector<uint8_t> plan_for(const std::string& target) {
    CompileOptions options;
    options.target = target;
    options.plan.context = kContext;
    options.plan.prefill_chunk = 32;
    return test::plan_bytes(test::tiny_model(), options);
  }
  static const std::vector<uint8_t>& gpu_plan() {
    static const std::vector<uint8_t> bytes = plan_for(test::gpu_target());
    return bytes;
  }

  // Creating an executor must fail so, with these words in its message.
  static void expect_refusal(const std::vector<uint8_t>& bytes, Error error,
                             const std::vector<std::string>& words) {
    const PlanInMemory plan(bytes);
    ASSERT_EQ(plan.error, Error::kOk) << plan.message;
    RunningPlan run(plan, {});
    EXPECT_EQ(run.create_error, error) << run.create_message;
    for (const std::string& word : words) {
      EXPECT_NE(run.create_message.find(word), std::string::npos) << run.create_message;
    }
  }
  // After a refusal the device is as before: a good plan still runs.
  static void expect_device_is_good() {
    const PlanInMemory plan(gpu_plan());
    RunningPlan run(plan, {});
    ASSERT_TRUE(run.ok()) << run.create_message;
    run.prefill({1, 2, 3});
    run.step();
  }
};

TEST_F(CudaExecutor, RefusesAPlanForAnotherDeviceNamingBoth) {
  const std::string other = test::gpu_target() == "sm_87" ? "sm_90" : "sm_87";
  const std::string reason = test::no_nvrtc_reason(unsigned(std::stoul(other.substr(3))));
  if (!reason.empty()) GTEST_SKIP() << reason;
  const PlanInMemory good(gpu_plan());
  RunningPlan run(good, {});
  ASSERT_TRUE(run.ok()) << run.create_message;
  const std::string device = run->device_name();
  expect_refusal(plan_for(other), Error::kTargetMismatch,
                 {other, test::gpu_target(), device, "--target " + test::gpu_target()});
}

// As a server does: it is created by one thread and used by another, in which no context is
// current.
TEST_F(CudaExecutor, MayBeHandedToAnotherThread) {
  const PlanInMemory plan(gpu_plan());
  Tokens expected, made;
  for (Tokens* tokens : {&expected, &made}) {
    RunningPlan run(plan, {});
    ASSERT_TRUE(run.ok()) << run.create_message;
    const auto use = [&] {
      run.set_sampling({});
      run.prefill({1, 2, 3});
      *tokens = run.generate(4);
      run.logits();
      run.rewind(2);
      tokens->push_back(run.step().id);
    };
    if (tokens == &expected) {
      use();
    } else {
      std::thread(use).join();
    }
  }
  EXPECT_EQ(made, expected);
}

TEST_F(CudaExecutor, RefusesADeviceThatIsNotThere) {
  const PlanInMemory plan(gpu_plan());
  ExecutorOptions options;
  options.device = 1000;
  RunningPlan run(plan, options);
  EXPECT_EQ(run.create_error, Error::kNoDevice);
  EXPECT_NE(run.create_message.find("no CUDA device 1000"), std::string::npos)
      << run.create_message;
}

TEST_F(CudaExecutor, RefusesCodeOfANewerCuda) {
  EditedPlan plan(gpu_plan());
  plan.tables.target->cuda_version = 99000;
  expect_refusal(plan.file(), Error::kDriverTooOld, {"CUDA 99.0", "--nvrtc"});
}

TEST_F(CudaExecutor, MissingMemoryIsAnError) {
  EditedPlan plan(gpu_plan());
  for (auto& arena : plan.tables.arenas) {
    if (arena->kind == fbedit::ArenaKind::Kv) arena->size = uint64_t{1} << 40;
  }
  expect_refusal(plan.file(), Error::kDeviceMemory, {"Kv", "1048576 MiB", "free"});
  expect_device_is_good();
}

TEST_F(CudaExecutor, DamagedCodeIsAnError) {
  EditedPlan plan(gpu_plan());
  std::vector<uint8_t> bytes = plan.file();
  for (const auto& segment : plan.tables.segments) {
    if (segment->kind != fbedit::SegmentKind::Module) continue;
    std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(segment->offset), segment->size, 0xee);
  }
  expect_refusal(bytes, Error::kDriverCall, {"module_load_data"});
  expect_device_is_good();
}

TEST_F(CudaExecutor, AKernelThatTheModuleLacksIsAnError) {
  EditedPlan plan(gpu_plan());
  plan.tables.kernels[0]->name = "frobnicate";
  expect_refusal(plan.file(), Error::kDriverCall, {"module_get_function"});
  expect_device_is_good();
}

TEST_F(CudaExecutor, SeedsReproduceInGraphsAndEagerMode) {
  const PlanInMemory plan(gpu_plan());
  Sampling sampling;
  sampling.temperature = 1;
  sampling.top_k = 100;
  sampling.top_p = 0.95f;
  sampling.seed = 42;
  sampling.ignore_end = true;
  Tokens first;
  for (const bool graphs : {true, false}) {
    ExecutorOptions options;
    options.graphs = graphs;
    RunningPlan run(plan, options);
    ASSERT_TRUE(run.ok()) << run.create_message;
    for (int round = 0; round < 2; ++round) {
      run.set_sampling(sampling);
      run.rewind(0);
      run.prefill({1, 17, 300});
      const Tokens tokens = run.generate(30);
      if (first.empty()) first = tokens;
      EXPECT_EQ(tokens, first) << "graphs " << graphs << ", round " << round;
    }
    sampling.seed = 43;
    run.set_sampling(sampling);
    run.rewind(3);
    EXPECT_NE(run.generate(30), first);
    sampling.seed = 42;
  }
}

TEST_F(CudaExecutor, RewindingReproducesWhatFollowed) {
  const PlanInMemory plan(gpu_plan());
  RunningPlan run(plan, {});
  ASSERT_TRUE(run.ok()) << run.create_message;
  const Tokens prompt = test::random_tokens(20, 512, 1);
  run.prefill(prompt);
  const Tokens expected = run.generate(10);
  const test::Logits logits = run.logits();
  run.rewind(0);
  run.prefill(test::random_tokens(40, 512, 2));
  run.generate(5);
  run.rewind(0);
  run.prefill(prompt);
  EXPECT_EQ(run.generate(10), expected);
  EXPECT_EQ(run.logits(), logits);
  run.rewind(25);
  EXPECT_EQ(run.generate(5), Tokens(expected.begin() + 5, expected.end()));
}

// Replayed with marks between the kernels, or launched one by one: times of all launches, and the
// output of a plain replay.
TEST_F(CudaExecutor, TimesOfLaunchesAreTakenInGraphsAndEagerMode) {
  const PlanInMemory plan(gpu_plan());
  const Tokens prompt = test::random_tokens(20, 512, 4);
  RunningPlan plain(plan, {});
  ASSERT_TRUE(plain.ok()) << plain.create_message;
  plain.prefill(prompt);
  const Tokens expected = plain.generate(10);
  const auto& graphs = *plan.view().plan().graphs();
  uint32_t decode = 0;
  while (graphs.Get(decode)->kind() != fb::GraphKind::Decode) ++decode;
  for (const bool captured : {true, false}) {
    ExecutorOptions options;
    options.graphs = captured;
    options.time_launches = true;
    RunningPlan run(plan, options);
    ASSERT_TRUE(run.ok()) << run.create_message;
    run.prefill(prompt);
    EXPECT_EQ(run.generate(10), expected);
    std::vector<float> times(graphs.Get(decode)->launches()->size() + 1, -1.0f);
    ASSERT_EQ(run->launch_times(decode, times.data()), Error::kOk) << run->last_error();
    for (const float time : times) EXPECT_GE(time, 0.0f);
    EXPECT_GT(*std::max_element(times.begin(), times.end()), 0.0f);
  }
}

// In graphs and eager mode, with several slots and one.
TEST_F(CudaExecutor, EmbeddingsAreTheHosts) {
  CompileOptions options;
  options.plan.context = kContext;
  options.plan.prefill_chunk = 32;
  options.plan.embeds = true;
  options.plan.select.activations = select::ActivationMode::kF32;
  const PlanInMemory host_plan(test::plan_bytes(test::tiny_model(), options));
  RunningPlan host(host_plan);
  ASSERT_TRUE(host.ok()) << host.create_message;
  options.target = test::gpu_target();
  for (const uint32_t slots : {1u, 3u}) {
    options.plan.slots = slots;
    const PlanInMemory plan(test::plan_bytes(test::tiny_model(), options));
    for (const bool graphs : {true, false}) {
      ExecutorOptions run_options;
      run_options.graphs = graphs;
      RunningPlan run(plan, run_options);
      ASSERT_TRUE(run.ok()) << run.create_message;
      for (const uint32_t count : {1u, 2u, 16u, 33u, kContext}) {
        const Tokens prompt = test::random_tokens(count, 512, count);
        host.rewind(0);
        host.prefill(prompt);
        ASSERT_EQ(run->select(count % slots), Error::kOk);
        run.rewind(0);
        run.prefill(prompt);
        // Activations are rounded to halves in front of eight products: 2.8e-4 * sqrt(8) of numbers
        // that are of order 1 behind the norm, four of them at most; 5 deviations of that.
        EXPECT_LT(test::max_difference(host.embedding(), run.embedding()), 5 * 4 * 8e-4)
            << count << " tokens, " << slots << " slots";
      }
    }
  }
}

TEST_F(CudaExecutor, AFullContextEndsTheSequence) {
  const PlanInMemory plan(gpu_plan());
  RunningPlan run(plan, {});
  ASSERT_TRUE(run.ok()) << run.create_message;
  Sampling sampling;
  sampling.ignore_end = true;
  run.set_sampling(sampling);
  run.prefill(test::random_tokens(kContext - 2, 512, 3));
  for (int i = 0; i < 6; ++i) ASSERT_EQ(run->enqueue(), Error::kOk);
  EXPECT_EQ(run->next().value().done, kRunning);
  EXPECT_EQ(run->next().value().done, kRunning);
  EXPECT_EQ(run->next().value().done, jllm::kContextFull);
  EXPECT_EQ(run->next().value().done, jllm::kContextFull);
  EXPECT_EQ(run->in_flight(), 0u);
  EXPECT_EQ(run->count(), kContext);
  run.rewind(10);
  EXPECT_EQ(run.step().done, kRunning);
}

}  // namespace
}  // namespace jllm

// Times of single launches: taken only where they were asked for, the output is the same, and
// together they are no longer than the step that they were taken from.
#include <gtest/gtest.h>

#include <chrono>
#include <numeric>

#include "tests/executor/core/plans.h"

namespace jllm {
namespace {

using test::host_plan;
using test::RunningPlan;
using test::Tokens;

uint32_t graph_of(fb::GraphKind kind) {
  const auto& graphs = *host_plan().view().plan().graphs();
  for (uint32_t i = 0; i < graphs.size(); ++i) {
    if (graphs.Get(i)->kind() == kind) return i;
  }
  ADD_FAILURE() << "the plan has no such graph";
  return 0;
}

uint32_t launches_of(uint32_t graph) {
  return host_plan().view().plan().graphs()->Get(graph)->launches()->size();
}

ExecutorOptions timed() {
  ExecutorOptions options = RunningPlan::one_thread();
  options.time_launches = true;
  return options;
}

TEST(Times, OfEveryLaunchAndTogetherNoLongerThanTheStep) {
  RunningPlan run(host_plan(), timed());
  ASSERT_TRUE(run.ok()) << run.create_message;
  run.prefill({5});
  const auto start = std::chrono::steady_clock::now();
  run.step();
  const std::chrono::duration<double, std::micro> step = std::chrono::steady_clock::now() - start;
  const uint32_t decode = graph_of(fb::GraphKind::Decode);
  std::vector<float> times(launches_of(decode) + 1, -1.0f);
  ASSERT_EQ(run->launch_times(decode, times.data()), Error::kOk) << run->last_error();
  for (const float time : times) EXPECT_GE(time, 0.0f);
  const double sum = std::accumulate(times.begin(), times.end(), 0.0);
  EXPECT_GT(sum, 0);
  // A float holds a time to one part in 2^24.
  EXPECT_LE(sum, step.count() * (1 + 1e-6));
}

// Each graph has marks of its own: the prompt's times are still there behind the decode step's.
TEST(Times, GraphsDoNotShareThem) {
  RunningPlan run(host_plan(), timed());
  ASSERT_TRUE(run.ok()) << run.create_message;
  run.prefill(test::random_tokens(16, test::kVocab, 1));
  const uint32_t prefill = graph_of(fb::GraphKind::Prefill);
  std::vector<float> before(launches_of(prefill) + 1), after(before.size());
  ASSERT_EQ(run->launch_times(prefill, before.data()), Error::kOk);
  run.generate(3);
  ASSERT_EQ(run->launch_times(prefill, after.data()), Error::kOk);
  EXPECT_EQ(before, after);
}

TEST(Times, TakingThemDoesNotChangeTheOutput) {
  const Tokens prompt = test::random_tokens(20, test::kVocab, 2);
  RunningPlan plain(host_plan()), with_times(host_plan(), timed());
  ASSERT_TRUE(plain.ok() && with_times.ok());
  plain.prefill(prompt);
  with_times.prefill(prompt);
  EXPECT_EQ(plain.generate(10), with_times.generate(10));
  EXPECT_EQ(plain.logits(), with_times.logits());
}

TEST(Times, AreRefusedWhereNoneAreTaken) {
  RunningPlan run(host_plan());
  ASSERT_TRUE(run.ok()) << run.create_message;
  float unused = 0;
  EXPECT_EQ(run->launch_times(0, &unused), Error::kBadArgument);
  RunningPlan with_times(host_plan(), timed());
  EXPECT_EQ(with_times->launch_times(host_plan().view().plan().graphs()->size(), &unused),
            Error::kBadArgument);
}

}  // namespace
}  // namespace jllm

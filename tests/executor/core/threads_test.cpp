// The thread contract of executor.h: executors on threads of their own share one view, and one
// executor may be handed from thread to thread. Run under the preset `tsan` too.
#include <gtest/gtest.h>

#include <thread>

#include "tests/executor/core/plans.h"

namespace jllm {
namespace {

using test::host_plan;
using test::random_tokens;
using test::RunningPlan;
using test::Tokens;

constexpr uint32_t kTokens = 12;

Tokens run_alone(const Tokens& prompt, unsigned threads) {
  ExecutorOptions options;
  options.threads = threads;
  RunningPlan run(host_plan(), options);
  Sampling sampling;
  sampling.ignore_end = true;
  run.set_sampling(sampling);
  run.prefill(prompt);
  return run.generate(kTokens);
}

TEST(Threads, ExecutorsOnThreadsOfTheirOwnShareOneView) {
  const Tokens one = random_tokens(40, test::kVocab, 1), two = random_tokens(23, test::kVocab, 2);
  const Tokens expected_one = run_alone(one, 1), expected_two = run_alone(two, 1);
  // Each creates, runs and destroys its own, with one worker and with two.
  for (const unsigned workers : {1u, 2u}) {
    for (int round = 0; round < 5; ++round) {
      Tokens from_one, from_two;
      std::thread first([&] { from_one = run_alone(one, workers); });
      std::thread second([&] { from_two = run_alone(two, workers); });
      first.join();
      second.join();
      EXPECT_EQ(from_one, expected_one);
      EXPECT_EQ(from_two, expected_two);
    }
  }
}

TEST(Threads, AnExecutorMayBeHandedOn) {
  const Tokens prompt = random_tokens(20, test::kVocab, 3);
  const Tokens expected = run_alone(prompt, 1);
  RunningPlan run(host_plan());
  Sampling sampling;
  sampling.ignore_end = true;
  run.set_sampling(sampling);
  std::thread([&] { run.prefill(prompt); }).join();
  Tokens made;
  for (uint32_t i = 0; i < kTokens; ++i) {
    std::thread([&] { made.push_back(run.step().id); }).join();
  }
  EXPECT_EQ(made, expected);
}

}  // namespace
}  // namespace jllm

// The fault ladder: every driver call of a whole run is made to fail once, alone or with all that
// follow. Each time there is an error with a message, nothing is left in the driver's books, and
// the process lives.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/executor/fake_cuda/plans.h"

namespace jllm {
namespace {

using test::fake_cuda;
using test::fake_plan;
using test::RunningPlan;

struct Outcome {
  Error error = Error::kOk;
  std::string message;
  uint64_t calls = 0;  // before destroy()
};

// Prompt in chunks and by token, steps in flight, a draft, logits, sampling, rewinding.
Error use(Executor& executor) {
  const test::Tokens prompt = test::random_tokens(21, test::kVocab, 3);
  std::vector<float> logits(test::kVocab);
  Error error = executor.set_sampling(test::any_token());
  if (error == Error::kOk) error = executor.prefill(prompt.data(), 21);
  for (int i = 0; i < 3 && error == Error::kOk; ++i) error = executor.enqueue();
  for (int i = 0; i < 3 && error == Error::kOk; ++i) error = executor.next().error();
  if (error == Error::kOk) error = executor.enqueue_draft(prompt.data(), 1).error();
  if (error == Error::kOk) error = executor.next().error();
  if (error == Error::kOk) error = executor.read_logits(logits.data());
  if (error == Error::kOk) error = executor.rewind(4);
  if (error == Error::kOk) error = executor.generate().error();
  return error;
}

Outcome run(const ExecutorOptions& options) {
  const test::PlanInMemory& plan = fake_plan();
  const uint64_t size = Executor::required_bytes(plan.view(), options);
  std::unique_ptr<void, void (*)(void*)> memory(std::aligned_alloc(64, (size + 63) / 64 * 64),
                                                std::free);
  MemorySource source = plan.source();
  Message message;
  const Result<Executor*> created =
      Executor::create(plan.view(), source, memory.get(), size, options, &message);
  if (!created.ok()) return {created.error(), message.text, fake_cuda()->calls()};
  Executor& executor = *created.value();
  Outcome outcome;
  outcome.error = use(executor);
  if (outcome.error != Error::kOk) outcome.message = executor.last_error();
  outcome.calls = fake_cuda()->calls();
  executor.destroy();
  return outcome;
}

// graphs, later calls fail too
class FaultLadder : public testing::TestWithParam<std::tuple<bool, bool>> {};

TEST_P(FaultLadder, EveryCallThatFailsIsReportedAndNothingLeaks) {
  JLLM_NEEDS_FAKE_CUDA();
  const auto [graphs, from_then_on] = GetParam();
  const test::TokensOnly tokens_only;
  ExecutorOptions options;
  options.graphs = graphs;
  options.time_launches = !graphs;  // events too
  fake_cuda()->fail_at(0, 0);
  const Outcome good = run(options);
  ASSERT_EQ(good.error, Error::kOk) << good.message;
  const uint64_t calls = fake_cuda()->calls();
  ASSERT_EQ(fake_cuda()->what_lives(), "");
  // Both modes do at least this: load modules, capture or launch them, copy.
  ASSERT_GT(calls, 100u);
  for (uint64_t k = 1; k <= calls; ++k) {
    fake_cuda()->fail_at(k, from_then_on);
    const Outcome outcome = run(options);
    const char* const failed = fake_cuda()->failed_call();
    ASSERT_NE(failed, nullptr) << k;
    // What gives back may fail without harm: nobody could do more about it.
    // (Of this run's calls: one that takes long asks the driver more often.)
    const bool harmless = k > outcome.calls || std::strcmp(failed, "cuGraphDestroy") == 0;
    if (harmless && !from_then_on) {
      EXPECT_EQ(outcome.error, Error::kOk) << k << ", " << failed << ": " << outcome.message;
    } else if (!harmless) {
      EXPECT_NE(outcome.error, Error::kOk) << k << ", " << failed;
      EXPECT_NE(outcome.message, "") << k << ", " << failed;
    }
    ASSERT_EQ(fake_cuda()->what_lives(), "") << k << ", " << failed;
  }
  fake_cuda()->fail_at(0, 0);
  RecordProperty("calls", std::to_string(calls));
}

std::string name_of(const testing::TestParamInfo<std::tuple<bool, bool>>& info) {
  return std::string(std::get<0>(info.param) ? "Graphs" : "Eager") +
         (std::get<1>(info.param) ? "FromThenOn" : "Once");
}
INSTANTIATE_TEST_SUITE_P(All, FaultLadder, testing::Combine(testing::Bool(), testing::Bool()),
                         name_of);

// A kernel that breaks the device is noticed by a call, or by asking while a token does not come.
TEST(BrokenKernel, IsReportedWhicheverItIs) {
  JLLM_NEEDS_FAKE_CUDA();
  const test::TokensOnly tokens_only;
  const test::Tokens prompt = test::random_tokens(5, test::kVocab, 3);
  for (const uint64_t kernel : {1u, 4u, 30u}) {
    RunningPlan run(fake_plan(), {});
    ASSERT_TRUE(run.ok()) << run.create_message;
    run.set_sampling(test::any_token());
    fake_cuda()->break_kernel(kernel);
    Error error = run->prefill(prompt.data(), 5);
    for (int i = 0; i < 4 && error == Error::kOk; ++i) error = run->generate().error();
    EXPECT_EQ(error, Error::kDriverCall) << kernel;
    EXPECT_NE(std::string(run->last_error()).find("CUDA_ERROR_LAUNCH_FAILED"), std::string::npos)
        << run->last_error();
    fake_cuda()->break_kernel(0);
  }
  fake_cuda()->fail_at(0, 0);  // repairs the device
  EXPECT_EQ(fake_cuda()->what_lives(), "");
}

// Nothing fails, but the token's kernel never ran: a wait without end would be worse than an error.
TEST(BrokenKernel, AnIdleDeviceThatGaveNoTokenIsNoticed) {
  JLLM_NEEDS_FAKE_CUDA();
  {
    RunningPlan run(fake_plan(), {});
    ASSERT_TRUE(run.ok()) << run.create_message;
    run.prefill(test::random_tokens(5, test::kVocab, 3));
    fake_cuda()->execute_only("");
    ASSERT_EQ(run->enqueue(), Error::kOk) << run->last_error();
    EXPECT_EQ(run->next().error(), Error::kDriverCall);
    EXPECT_STREQ(run->last_error(), "the device finished its work without handing out a token");
    fake_cuda()->execute_only(nullptr);
  }
  EXPECT_EQ(fake_cuda()->what_lives(), "");
}

}  // namespace
}  // namespace jllm

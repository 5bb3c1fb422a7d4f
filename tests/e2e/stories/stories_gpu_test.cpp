// The same goldens on the machine's GPU: graphs and kernel by kernel, fused and primitive kernels.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/e2e/stories/stories.h"
#include "tests/support/gpu.h"

namespace jllm {
namespace {

using test::PlanInMemory;
using test::RunningPlan;
using test::StoriesCase;
using test::Tokens;

class StoriesGpu : public testing::Test {
 protected:
  void SetUp() override {
    JLLM_NEEDS_TEST_DATA();
    JLLM_NEEDS_GPU();
  }

  static std::vector<uint8_t> plan(bool fuse, WeightType kv = WeightType::kF16) {
    CompileOptions options;
    options.target = test::gpu_target();
    options.plan.fuse = fuse;
    options.plan.kv_k = options.plan.kv_v = kv;
    return test::stories_plan(options);
  }

  static Tokens greedy(RunningPlan& run, uint32_t n) {
    run.rewind(0);
    run.prefill({1});
    return run.generate(n);
  }
};

void expect_golden(RunningPlan& run, double bound) {
  const double error = test::largest_logit_error(run);
  testing::Test::RecordProperty("largest_error", std::to_string(error));
  EXPECT_LT(error, bound);
  for (const StoriesCase& story : test::stories_cases()) {
    // Of two logits both may be off by the bound: only a smaller margin could go either way.
    size_t n = 0;
    while (n < story.greedy.size() && story.margins[n] > 2 * bound) ++n;
    EXPECT_GE(n, std::min(test::kCertainTokens, story.greedy.size())) << story.name;
    EXPECT_EQ(test::equal_greedy_tokens(run, story, n), n) << story.name;
  }
}

TEST_F(StoriesGpu, FusedKernelsGiveTheGoldenLogitsAndTokens) {
  const PlanInMemory plan(this->plan(true));
  RunningPlan run(plan, {});
  ASSERT_TRUE(run.ok()) << run.create_message;
  expect_golden(run, test::kF16KvBound);
}

TEST_F(StoriesGpu, PrimitiveKernelsGiveTheGoldenLogitsAndTokens) {
  const PlanInMemory plan(this->plan(false));
  RunningPlan run(plan, {});
  ASSERT_TRUE(run.ok()) << run.create_message;
  expect_golden(run, test::kF16KvBound);
}

// What is left is f32 sums in another order and the device's exponentials: no more than the host's
// error.
TEST_F(StoriesGpu, WithAnF32KvCacheTheErrorIsThatOfF32) {
  const PlanInMemory plan(this->plan(true, WeightType::kF32));
  RunningPlan run(plan, {});
  ASSERT_TRUE(run.ok()) << run.create_message;
  expect_golden(run, test::kF32Bound);
}

// A graph replays the very launches of eager mode: equal to the bit.
TEST_F(StoriesGpu, GraphsEqualEagerMode) {
  const PlanInMemory plan(this->plan(true));
  RunningPlan graphs(plan, {});
  ExecutorOptions one_by_one;
  one_by_one.graphs = false;
  RunningPlan eager(plan, one_by_one);
  ASSERT_TRUE(graphs.ok()) << graphs.create_message;
  ASSERT_TRUE(eager.ok()) << eager.create_message;
  EXPECT_EQ(greedy(graphs, 200), greedy(eager, 200));
  EXPECT_EQ(graphs.logits(), eager.logits());
  const Tokens prompt = test::random_tokens(70, 512, 9);
  for (RunningPlan* run : {&graphs, &eager}) {
    run->rewind(0);
    run->prefill(prompt);
    run->step();
  }
  EXPECT_EQ(graphs.logits(), eager.logits());
}

TEST_F(StoriesGpu, FusedTokensEqualUnfusedOnes) {
  const PlanInMemory fused_plan(plan(true));
  const PlanInMemory primitive_plan(plan(false));
  RunningPlan fused(fused_plan, {});
  RunningPlan primitive(primitive_plan, {});
  ASSERT_TRUE(fused.ok()) << fused.create_message;
  ASSERT_TRUE(primitive.ok()) << primitive.create_message;
  EXPECT_EQ(greedy(fused, test::kCertainTokens), greedy(primitive, test::kCertainTokens));
  EXPECT_LT(test::max_difference(fused.logits(), primitive.logits()), 2 * test::kF16KvBound);
}

// Replays asked for ahead, as jllm run does on GPUs.
TEST_F(StoriesGpu, TokensAskedForAheadAreTheSame) {
  const PlanInMemory plan(this->plan(true));
  RunningPlan run(plan, {});
  ASSERT_TRUE(run.ok()) << run.create_message;
  const Tokens expected = greedy(run, 100);
  run.rewind(0);
  run.prefill({1});
  Tokens ahead;
  for (int i = 0; i < 8; ++i) ASSERT_EQ(run->enqueue(), Error::kOk);
  while (ahead.size() < 100) {
    ASSERT_EQ(run->enqueue(), Error::kOk);
    const Result<SampledToken> token = run->next();
    ASSERT_TRUE(token.ok()) << run->last_error();
    ahead.push_back(token.value().id);
  }
  EXPECT_EQ(ahead, expected);
}

}  // namespace
}  // namespace jllm

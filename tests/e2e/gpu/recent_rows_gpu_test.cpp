// Layers that remember the last positions only, on a GPU: chunks, steps and rewinds, whether memory
// reaches back or the kept tokens are consumed again, give the bits of the way there before. Chunks
// begin where they began, so that each token goes through the same kernels.
#include <gtest/gtest.h>

#include "tests/support/gpu.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::Logits;
using test::PlanInMemory;
using test::RunningPlan;
using test::Tokens;

constexpr uint32_t kVocab = 512, kChunk = 32;
constexpr uint32_t kPrompt = 9 * kChunk + 1;  // behind the last chunk one that begins there again

std::vector<uint8_t> plan_for(const std::string& target, const char* type) {
  synth::SynthOptions model = test::tiny_model();
  model.like = "lfm2-1.2b";
  model.type = type;
  model.layers = 4;  // the third attends
  model.embedding = model.ffn = 256;
  model.head_dim = 64;
  model.context = 512;
  CompileOptions options;
  options.target = target;
  options.plan.context = 400;
  options.plan.prefill_chunk = kChunk;
  return test::plan_bytes(model, options);
}

class RecentRowsOnGpu : public testing::TestWithParam<const char*> {};

TEST_P(RecentRowsOnGpu, RewindingReproducesWhatFollowed) {
  JLLM_NEEDS_GPU();
  const PlanInMemory plan(plan_for(test::gpu_target(), GetParam()));
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  RunningPlan run(plan, {});
  ASSERT_TRUE(run.ok()) << run.create_message;
  const uint32_t reach = plan.view().plan().model()->rewind_reach();
  ASSERT_GT(reach, kRingSlots + kMaxDraft);
  ASSERT_LT(2 * reach, kPrompt);
  const Tokens prompt = test::random_tokens(kPrompt, kVocab, 21);
  run.prefill(prompt);
  const Tokens sampled = run.generate(10);
  const Logits last = run.logits();
  for (uint32_t keep = 1; keep <= kPrompt; keep += kChunk) {
    SCOPED_TRACE(keep);
    run.rewind(keep);
    if (keep == kPrompt) continue;  // that token went through a chunk, and would through a step
    run.prefill({prompt.begin() + keep, prompt.end()});
    EXPECT_EQ(run.generate(10), sampled);
    EXPECT_EQ(run.logits(), last);
  }
}

INSTANTIATE_TEST_SUITE_P(All, RecentRowsOnGpu, testing::Values("f32", "q4_k_m"),
                         [](const auto& test) { return std::string(test.param); });

// Prompts of all lengths around chunks, and steps in between, against the host.
TEST(RecentRowsBesideTheHost, LogitsAreItsOwn) {
  JLLM_NEEDS_GPU();
  const PlanInMemory host_plan(plan_for("host", "f32"));
  const PlanInMemory plan(plan_for(test::gpu_target(), "f32"));
  RunningPlan host(host_plan), run(plan, {});
  ASSERT_TRUE(host.ok() && run.ok()) << host.create_message << run.create_message;
  const Tokens tokens = test::random_tokens(kPrompt, kVocab, 33);
  const std::vector<Logits> expected = host.force_all(tokens);
  for (const uint32_t split : {2u, 31u, 130u, 255u, kPrompt - 2}) {
    run.rewind(0);
    run.prefill({tokens.begin(), tokens.begin() + split});
    for (uint32_t i = split; i < split + 2; ++i) {
      ASSERT_EQ(run->force(tokens[i]), Error::kOk);
      // F32 throughout: differences in the order of sums, against logits of a deviation of 3.
      EXPECT_LT(test::max_difference(run.logits(), expected[i]), 1e-3) << i;
    }
    if (split + 2 == kPrompt) continue;
    run.prefill({tokens.begin() + split + 2, tokens.end()});
    run.step();
    EXPECT_LT(test::max_difference(run.logits(), expected.back()), 1e-3) << split;
  }
}

}  // namespace
}  // namespace jllm

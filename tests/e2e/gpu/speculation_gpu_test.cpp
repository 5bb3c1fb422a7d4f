// Drafts verified on a GPU: whatever is guessed, the tokens and logits are those of plain decoding,
// bit for bit.
#include <gtest/gtest.h>

#include "tests/support/gpu.h"
#include "tests/support/plan_variant.h"
#include "tests/support/speculation.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::Plain;
using test::PlanInMemory;
using test::PlanVariant;
using test::RunningPlan;
using test::Tokens;

class GpuSpeculation : public testing::TestWithParam<PlanVariant> {};

TEST_P(GpuSpeculation, ChangesNoTokenAndNoLogit) {
  JLLM_NEEDS_GPU();
  const PlanInMemory plan(test::plan_bytes(GetParam().recipe(), test::gpu_target()));
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  RunningPlan run(plan, {});
  ASSERT_TRUE(run.ok()) << run.create_message;
  ASSERT_EQ(run->most_drafted(), GetParam().speculate);
  const Tokens prompt = test::repetitive_prompt(40, test::tiny_model().vocab);
  for (const test::NamedSampling& s : test::samplings()) {
    SCOPED_TRACE(s.name);
    // Up to the end of the context and against it.
    const Plain plain = test::decode_plainly(run, prompt, s.sampling, 300);
    ASSERT_EQ(plain.done, kContextFull);
    test::check_drafts(run, prompt, s.sampling, plain);
    for (const uint32_t most : {1u, UINT32_MAX}) {
      test::check_generate(run, prompt, s.sampling, plain, most);
    }
  }
}

const PlanVariant kVariants[] = {
    {.name = "F32", .type = "f32", .speculate = 7},
    {.name = "OneGuess", .type = "f16", .speculate = 1},
    {.name = "FourGuesses", .type = "q8_0", .speculate = 4},
    {.name = "ThreeGuesses", .speculate = 3},
    {.name = "HeadNorms", .like = "qwen3-0.6b", .speculate = 7},
    {.name = "QuantisedCache", .like = "qwen2.5-0.5b", .speculate = 7, .kv = WeightType::kQ8_0},
    {.name = "FourBitCache",
     .like = "qwen3-0.6b",
     .type = "q4_0",
     .speculate = 3,
     .kv = WeightType::kQ4_0},
    {.name = "WindowsAndSoftcaps", .like = "gemma-2-2b", .type = "q4_0", .speculate = 7},
    {.name = "Biases", .like = "phi-3-mini", .type = "f16", .speculate = 7},
    {.name = "LayerNorms", .like = "stablelm-2-1.6b", .type = "q5_0", .speculate = 7},
    {.name = "Experts", .like = "mixtral-8x7b", .speculate = 3},
    {.name = "ManyExperts", .like = "olmoe-1b-7b", .type = "q8_0", .speculate = 7},
    {.name = "Unfused", .speculate = 7, .fuse = false},
    // Vectors too long for one launch's shared memory.
    {.name = "SeveralLaunches", .type = "f16", .speculate = 7, .ffn = 14336},
    // The third layer attends; the others remember half of the context.
    {.name = "ShortConvolutions", .like = "lfm2-1.2b", .speculate = 7, .layers = 4, .context = 256},
};

INSTANTIATE_TEST_SUITE_P(All, GpuSpeculation, testing::ValuesIn(kVariants), test::variant_name);

}  // namespace
}  // namespace jllm

// Several sequences on a GPU: decoded together, copied and masked, they are what each is alone, bit
// for bit.
#include <gtest/gtest.h>

#include "tests/support/gpu.h"
#include "tests/support/plan_variant.h"
#include "tests/support/slots.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::PlanInMemory;
using test::PlanVariant;
using test::RunningPlan;

class GpuSlots : public testing::TestWithParam<PlanVariant> {};

TEST_P(GpuSlots, ChangeNoTokenAndNoLogit) {
  JLLM_NEEDS_GPU();
  test::PlanRecipe recipe = GetParam().recipe();
  recipe.speculate = 3;
  const PlanInMemory plan(test::plan_bytes(recipe, test::gpu_target()));
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  RunningPlan run(plan, {});
  ASSERT_TRUE(run.ok()) << run.create_message;
  ASSERT_EQ(run->slots(), GetParam().slots);
  const std::vector<test::NamedSampling> samplings = test::samplings();
  for (const test::NamedSampling& s : samplings) {
    SCOPED_TRACE(s.name);
    test::check_batches(run, s.sampling);
    if (HasFatalFailure()) return;
  }
  test::check_copies(run, samplings.back().sampling);
  ASSERT_GT(plan.view().plan().end_tokens()->size(), 0u);
  const uint32_t end = plan.view().plan().end_tokens()->Get(0);
  test::check_ahead(run, Sampling(), &end);
  test::check_masks(run);
}

const PlanVariant kVariants[] = {
    {.name = "F32", .type = "f32", .slots = 2},
    {.name = "Q4KM", .slots = 8},
    {.name = "ThreeSlots", .type = "q8_0", .slots = 3},
    {.name = "HeadNorms", .like = "qwen3-0.6b", .slots = 4},
    {.name = "QuantisedCache", .like = "qwen2.5-0.5b", .slots = 4, .kv = WeightType::kQ8_0},
    {.name = "FourBitCache",
     .like = "qwen3-0.6b",
     .type = "q4_0",
     .slots = 3,
     .kv = WeightType::kQ4_0},
    {.name = "WindowsAndSoftcaps", .like = "gemma-2-2b", .type = "q4_0", .slots = 4},
    {.name = "Biases", .like = "phi-3-mini", .type = "f16", .slots = 4},
    {.name = "LayerNorms", .like = "stablelm-2-1.6b", .type = "q5_0", .slots = 5},
    {.name = "Experts", .like = "mixtral-8x7b", .slots = 4},
    {.name = "ManyExperts", .like = "olmoe-1b-7b", .type = "q8_0", .slots = 8},
    {.name = "Unfused", .slots = 4, .fuse = false},
    // Vectors too long for one launch's shared memory.
    {.name = "SeveralLaunches", .type = "f16", .slots = 8, .ffn = 14336},
    // The third layer attends; the others remember half of the context.
    {.name = "ShortConvolutions", .like = "lfm2-1.2b", .slots = 4, .layers = 4, .context = 256},
};

INSTANTIATE_TEST_SUITE_P(All, GpuSlots, testing::ValuesIn(kVariants), test::variant_name);

}  // namespace
}  // namespace jllm

// Prefixes that are saved and loaded on a GPU go on as if they had been computed there, bit for
// bit.
#include <gtest/gtest.h>

#include "tests/support/gpu.h"
#include "tests/support/plan_variant.h"
#include "tests/support/prefixes.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::PlanInMemory;
using test::PlanVariant;
using test::RunningPlan;

class GpuPrefixes : public testing::TestWithParam<PlanVariant> {};

TEST_P(GpuPrefixes, GoOnAsIfTheyHadBeenComputed) {
  JLLM_NEEDS_GPU();
  test::PlanRecipe recipe = GetParam().recipe();
  recipe.speculate = 3;
  const PlanInMemory plan(test::plan_bytes(recipe, test::gpu_target()));
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  RunningPlan run(plan, {}), other(plan, {});
  ASSERT_TRUE(run.ok() && other.ok()) << run.create_message << other.create_message;
  test::check_saved_prefixes(run, other, test::samplings().back().sampling);
  test::check_prefix_refusals(run);
}

const PlanVariant kVariants[] = {
    {"Plain"},
    {.name = "ThreeSlots", .slots = 3},
    {.name = "SingleFloats", .type = "f32", .kv = WeightType::kF32},
    {.name = "EightBits", .like = "qwen2.5-0.5b", .kv = WeightType::kQ8_0},
    {.name = "FourBits", .like = "qwen3-0.6b", .slots = 2, .kv = WeightType::kQ4_0},
    {.name = "WindowsAndSoftcaps", .like = "gemma-2-2b", .type = "q4_0"},
    // The third layer attends; the others remember half of the context.
    {.name = "ShortConvolutions", .like = "lfm2-1.2b", .slots = 2, .layers = 4, .context = 256},
};

INSTANTIATE_TEST_SUITE_P(All, GpuPrefixes, testing::ValuesIn(kVariants), test::variant_name);

}  // namespace
}  // namespace jllm

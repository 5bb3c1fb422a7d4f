// Prefixes that are saved and loaded on a GPU go on as if they had been computed there, bit for
// bit.
#include <gtest/gtest.h>

#include "tests/support/gpu.h"
#include "tests/support/prefixes.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::PlanInMemory;
using test::RunningPlan;

struct Variant {
  const char* name;
  const char* like = "tinyllama";
  const char* type = "q4_k_m";
  uint32_t slots = 1;
  std::optional<WeightType> kv = std::nullopt;
  uint32_t layers = 2, context = 128;
};

void PrintTo(const Variant& variant, std::ostream* os) { *os << variant.name; }

std::vector<uint8_t> bytes_of(const Variant& variant) {
  synth::SynthOptions model = test::tiny_model();
  model.like = variant.like;
  model.type = variant.type;
  model.embedding = model.ffn = 256;  // whole blocks of every format
  model.layers = variant.layers;
  model.head_dim = 64;
  model.sliding_window = std::string(variant.like) == "gemma-2-2b" ? 16 : 0;
  CompileOptions options;
  options.target = test::gpu_target();
  options.plan.context = variant.context;
  options.plan.prefill_chunk = 32;
  options.plan.speculate = 3;
  options.plan.slots = variant.slots;
  options.plan.kv_k = options.plan.kv_v = variant.kv;
  return test::plan_bytes(model, options);
}

class GpuPrefixes : public testing::TestWithParam<Variant> {};

TEST_P(GpuPrefixes, GoOnAsIfTheyHadBeenComputed) {
  JLLM_NEEDS_GPU();
  const PlanInMemory plan(bytes_of(GetParam()));
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  RunningPlan run(plan, {}), other(plan, {});
  ASSERT_TRUE(run.ok() && other.ok()) << run.create_message << other.create_message;
  test::check_saved_prefixes(run, other, test::samplings().back().sampling);
  test::check_prefix_refusals(run);
}

const Variant kVariants[] = {
    {"Plain"},
    {.name = "ThreeSlots", .slots = 3},
    {.name = "SingleFloats", .type = "f32", .kv = WeightType::kF32},
    {.name = "EightBits", .like = "qwen2.5-0.5b", .kv = WeightType::kQ8_0},
    {.name = "FourBits", .like = "qwen3-0.6b", .slots = 2, .kv = WeightType::kQ4_0},
    {.name = "WindowsAndSoftcaps", .like = "gemma-2-2b", .type = "q4_0"},
    // The third layer attends; the others remember half of the context.
    {.name = "ShortConvolutions", .like = "lfm2-1.2b", .slots = 2, .layers = 4, .context = 256},
};

INSTANTIATE_TEST_SUITE_P(All, GpuPrefixes, testing::ValuesIn(kVariants),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace jllm

// Several sequences on a GPU: decoded together, copied and masked, they are what each is alone, bit
// for bit.
#include <gtest/gtest.h>

#include "tests/support/gpu.h"
#include "tests/support/slots.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::PlanInMemory;
using test::RunningPlan;

struct Variant {
  const char* name;
  const char* like;
  const char* type;
  uint32_t slots;
  std::optional<WeightType> kv = std::nullopt;
  bool fuse = true;
  uint32_t ffn = 256;
  uint32_t layers = 2;
  uint32_t context = 128;
};

void PrintTo(const Variant& variant, std::ostream* os) { *os << variant.name; }

std::vector<uint8_t> bytes_of(const Variant& variant) {
  synth::SynthOptions model = test::tiny_model();
  model.like = variant.like;
  model.type = variant.type;
  model.embedding = 256;  // whole blocks of every format
  model.ffn = variant.ffn;
  model.layers = variant.layers;
  model.head_dim = 64;
  model.sliding_window = std::string(variant.like) == "gemma-2-2b" ? 16 : 0;
  CompileOptions options;
  options.target = test::gpu_target();
  options.plan.context = variant.context;
  options.plan.prefill_chunk = 32;
  options.plan.speculate = 3;
  options.plan.slots = variant.slots;
  options.plan.fuse = variant.fuse;
  options.plan.kv_k = options.plan.kv_v = variant.kv;
  return test::plan_bytes(model, options);
}

class GpuSlots : public testing::TestWithParam<Variant> {};

TEST_P(GpuSlots, ChangeNoTokenAndNoLogit) {
  JLLM_NEEDS_GPU();
  const PlanInMemory plan(bytes_of(GetParam()));
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

const Variant kVariants[] = {
    {"F32", "tinyllama", "f32", 2},
    {"Q4KM", "tinyllama", "q4_k_m", 8},
    {"ThreeSlots", "tinyllama", "q8_0", 3},
    {"HeadNorms", "qwen3-0.6b", "q4_k_m", 4},
    {"QuantisedCache", "qwen2.5-0.5b", "q4_k_m", 4, WeightType::kQ8_0},
    {"FourBitCache", "qwen3-0.6b", "q4_0", 3, WeightType::kQ4_0},
    {"WindowsAndSoftcaps", "gemma-2-2b", "q4_0", 4},
    {"Biases", "phi-3-mini", "f16", 4},
    {"LayerNorms", "stablelm-2-1.6b", "q5_0", 5},
    {"Experts", "mixtral-8x7b", "q4_k_m", 4},
    {"ManyExperts", "olmoe-1b-7b", "q8_0", 8},
    {"Unfused", "tinyllama", "q4_k_m", 4, std::nullopt, false},
    // Vectors too long for one launch's shared memory.
    {"SeveralLaunches", "tinyllama", "f16", 8, std::nullopt, true, 14336},
    // The third layer attends; the others remember half of the context.
    {"ShortConvolutions", "lfm2-1.2b", "q4_k_m", 4, std::nullopt, true, 256, 4, 256},
};

INSTANTIATE_TEST_SUITE_P(All, GpuSlots, testing::ValuesIn(kVariants),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace jllm

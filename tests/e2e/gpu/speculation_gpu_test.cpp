// Drafts verified on a GPU: whatever is guessed, the tokens and logits are those of plain decoding,
// bit for bit.
#include <gtest/gtest.h>

#include "tests/support/gpu.h"
#include "tests/support/speculation.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::Plain;
using test::PlanInMemory;
using test::RunningPlan;
using test::Tokens;

struct Variant {
  const char* name;
  const char* like;
  const char* type;
  uint32_t speculate;
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
  options.plan.speculate = variant.speculate;
  options.plan.fuse = variant.fuse;
  options.plan.kv_k = options.plan.kv_v = variant.kv;
  return test::plan_bytes(model, options);
}

class GpuSpeculation : public testing::TestWithParam<Variant> {};

TEST_P(GpuSpeculation, ChangesNoTokenAndNoLogit) {
  JLLM_NEEDS_GPU();
  const PlanInMemory plan(bytes_of(GetParam()));
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

const Variant kVariants[] = {
    {"F32", "tinyllama", "f32", 7},
    {"OneGuess", "tinyllama", "f16", 1},
    {"FourGuesses", "tinyllama", "q8_0", 4},
    {"ThreeGuesses", "tinyllama", "q4_k_m", 3},
    {"HeadNorms", "qwen3-0.6b", "q4_k_m", 7},
    {"QuantisedCache", "qwen2.5-0.5b", "q4_k_m", 7, WeightType::kQ8_0},
    {"FourBitCache", "qwen3-0.6b", "q4_0", 3, WeightType::kQ4_0},
    {"WindowsAndSoftcaps", "gemma-2-2b", "q4_0", 7},
    {"Biases", "phi-3-mini", "f16", 7},
    {"LayerNorms", "stablelm-2-1.6b", "q5_0", 7},
    {"Experts", "mixtral-8x7b", "q4_k_m", 3},
    {"ManyExperts", "olmoe-1b-7b", "q8_0", 7},
    {"Unfused", "tinyllama", "q4_k_m", 7, std::nullopt, false},
    // Vectors too long for one launch's shared memory.
    {"SeveralLaunches", "tinyllama", "f16", 7, std::nullopt, true, 14336},
    // The third layer attends; the others remember half of the context.
    {"ShortConvolutions", "lfm2-1.2b", "q4_k_m", 7, std::nullopt, true, 256, 4, 256},
};

INSTANTIATE_TEST_SUITE_P(All, GpuSpeculation, testing::ValuesIn(kVariants),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace jllm

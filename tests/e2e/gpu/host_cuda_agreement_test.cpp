// The host and the GPU run the same small models, one of every weight type and head shape; their
// predictions must agree at every position, and the GPU's prompts in chunks must agree with its
// tokens one by one.
//
// Tolerances. Both sides read the same weights and a KV cache of halves. What differs is the
// precision of activations: where the GPU multiplies tiles (prompts, and products that are not
// fused) they are rounded to halves; elsewhere they are f32, or two int8 planes, which together are
// finer than a half. Rounding to a half moves each by 2^-11 / sqrt(3) = 2.8e-4 of itself, and a dot
// product by as much of its own deviation; two layers of four products in a row and the head add in
// squares to 2.8e-4 * sqrt(9) = 8.5e-4. Logits of deviation 3 (all models here, by their making) so
// err by e = 2.5e-3, which costs a divergence of e^2 / 2 = 3e-6 nats on average. Positions differ:
// a distribution may hang on few tokens whose errors happen to be large. 5 e at one position, which
// no one should ever see, makes 8e-5.
//
// One int8 plane: a block of 32 values in 127 steps of its maximum (2.5 deviations) moves each by
// 2.5 / 127 / sqrt(12) = 0.57 % of a deviation. The same nine products make 1.7 %, e = 0.051
// and 1.3e-3 nats on average; twice that is allowed.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/compiler/model/tiny_llama.h"
#include "tests/support/gpu.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::Logits;
using test::PlanInMemory;
using test::RunningPlan;
using test::Tokens;

constexpr double kMaxKl = 1e-4;  // nats, at any position
constexpr double kInt8MeanKl = 2.6e-3;
constexpr double kMinAgreement = 0.99;  // of positions whose most likely token is the same
constexpr uint32_t kTokens = 264;  // several splits of the attention, and no multiple of a chunk

struct Shape {
  const char* name;
  WeightType type;
  uint32_t embedding, ffn, heads, kv_heads, head_dim;
  bool biases;
};

void PrintTo(const Shape& shape, std::ostream* os) { *os << shape.name; }

TinyLlama model_of(const Shape& shape) {
  TinyLlama model;
  model.type = shape.type;
  model.embedding = shape.embedding;
  model.ffn = shape.ffn;
  model.heads = shape.heads;
  model.kv_heads = shape.kv_heads;
  model.head_dim = shape.head_dim;
  model.vocab = 1000;  // no multiple of a tile
  model.context = 320;
  model.qkv_bias = model.output_bias = model.ffn_bias = shape.biases;
  model.tied = !shape.biases;
  model.tokenizer = true;
  return model;
}

struct Divergence {
  double max_kl = 0;
  double mean_kl = 0;
  double agreement = 0;
};

double log_sum(const Logits& logits) {
  const float max = logits[test::argmax(logits)];
  double sum = 0;
  for (const float l : logits) sum += std::exp(double{l} - double{max});
  return std::log(sum) + double{max};
}

Divergence compare(const std::vector<Logits>& reference, const std::vector<Logits>& rows) {
  Divergence result;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double theirs = log_sum(reference[i]);
    const double ours = log_sum(rows[i]);
    double kl = 0;
    for (size_t j = 0; j < rows[i].size(); ++j) {
      const double log_p = double{reference[i][j]} - theirs;
      kl += std::exp(log_p) * (log_p - (double{rows[i][j]} - ours));
    }
    if (!(kl <= result.max_kl)) result.max_kl = kl;  // a NaN stays
    result.mean_kl += kl / double(reference.size());
    result.agreement +=
        test::argmax(reference[i]) == test::argmax(rows[i]) ? 1.0 / double(reference.size()) : 0;
  }
  return result;
}

void expect_close(const Divergence& found, const std::string& what) {
  testing::Test::RecordProperty(what + "_max_kl", std::to_string(found.max_kl));
  testing::Test::RecordProperty(what + "_mean_kl", std::to_string(found.mean_kl));
  testing::Test::RecordProperty(what + "_agreement", std::to_string(found.agreement));
  EXPECT_LT(found.max_kl, kMaxKl) << what << ", mean " << found.mean_kl;
  EXPECT_GE(found.agreement, kMinAgreement) << what;
}

class HostCudaAgreement : public testing::TestWithParam<Shape> {
 protected:
  void SetUp() override {
    JLLM_NEEDS_GPU();
    write_model(model_of(GetParam()), dir_.file("model.gguf"));
  }

  std::vector<uint8_t> compile_for(
      const std::string& target, bool fuse,
      select::ActivationMode activations = select::ActivationMode::kAuto) const {
    CompileOptions options;
    options.input = dir_.file("model.gguf");
    options.output = dir_.file("model.jllm");
    options.target = target;
    options.plan.kv_k = options.plan.kv_v = WeightType::kF16;
    options.plan.prefill_chunk = 64;
    options.plan.fuse = fuse;
    options.plan.select.activations = activations;
    test::make_plan(options);
    return test::read_file(options.output);
  }

  // The host as reference: no rounding of activations.
  std::vector<uint8_t> exact_host_plan() const {
    return compile_for("host", true, select::ActivationMode::kF32);
  }

  test::TempDir dir_;
};

TEST_P(HostCudaAgreement, AtEveryPosition) {
  const Tokens tokens = test::random_tokens(kTokens, 1000, 4);
  const PlanInMemory host_plan(exact_host_plan());
  RunningPlan host(host_plan);
  ASSERT_TRUE(host.ok()) << host.create_message;
  const std::vector<Logits> expected = host.force_all(tokens);
  for (const bool fuse : {true, false}) {
    const PlanInMemory plan(compile_for(test::gpu_target(), fuse));
    ASSERT_EQ(plan.error, Error::kOk) << plan.message;
    RunningPlan run(plan, {});
    ASSERT_TRUE(run.ok()) << run.create_message;
    expect_close(compare(expected, run.force_all(tokens)), fuse ? "fused" : "primitive");
  }
}

TEST_P(HostCudaAgreement, WithEveryPrecisionOfActivations) {
  const Tokens tokens = test::random_tokens(kTokens, 1000, 4);
  const PlanInMemory host_plan(exact_host_plan());
  RunningPlan host(host_plan);
  ASSERT_TRUE(host.ok()) << host.create_message;
  const std::vector<Logits> expected = host.force_all(tokens);
  using select::ActivationMode;
  for (const ActivationMode mode :
       {ActivationMode::kF32, ActivationMode::kQ8R, ActivationMode::kQ8}) {
    const std::string what = select::activation_mode_name(mode);
    const PlanInMemory plan(compile_for(test::gpu_target(), true, mode));
    ASSERT_EQ(plan.error, Error::kOk) << plan.message;
    RunningPlan run(plan, {});
    ASSERT_TRUE(run.ok()) << run.create_message;
    const Divergence found = compare(expected, run.force_all(tokens));
    if (mode != ActivationMode::kQ8) {
      expect_close(found, what);
      continue;
    }
    RecordProperty(what + "_mean_kl", std::to_string(found.mean_kl));
    EXPECT_LT(found.mean_kl, kInt8MeanKl);
  }
}

TEST_P(HostCudaAgreement, PromptsInChunksAgreeWithTokensOneByOne) {
  const Tokens tokens = test::random_tokens(kTokens, 1000, 4);
  for (const bool fuse : {true, false}) {
    const PlanInMemory plan(compile_for(test::gpu_target(), fuse));
    ASSERT_EQ(plan.error, Error::kOk) << plan.message;
    RunningPlan run(plan, {});
    ASSERT_TRUE(run.ok()) << run.create_message;
    const std::vector<Logits> one_by_one = run.force_all(tokens);
    std::vector<Logits> expected;
    std::vector<Logits> found;
    // Whole prompts of many lengths: full chunks, padded tails, and tails of one token.
    for (const uint32_t n :
         {2u, 3u, 15u, 16u, 17u, 31u, 33u, 63u, 64u, 65u, 100u, 129u, 200u, 264u}) {
      run.rewind(0);
      run.prefill({tokens.begin(), tokens.begin() + n});
      run.step();
      found.push_back(run.logits());
      expected.push_back(one_by_one[n - 1]);
    }
    // The same prompt in pieces.
    for (const uint32_t piece : {1u, 7u, 16u, 40u, 64u, 100u}) {
      run.rewind(0);
      for (uint32_t begin = 0; begin < kTokens; begin += piece) {
        const uint32_t end = std::min(begin + piece, kTokens);
        run.prefill({tokens.begin() + begin, tokens.begin() + end});
      }
      run.step();
      found.push_back(run.logits());
      expected.push_back(one_by_one.back());
    }
    const Divergence divergence = compare(expected, found);
    const std::string what = fuse ? "fused" : "primitive";
    testing::Test::RecordProperty(what + "_max_kl", std::to_string(divergence.max_kl));
    EXPECT_LT(divergence.max_kl, kMaxKl) << what << ", mean " << divergence.mean_kl;
  }
}

// Every weight type; heads of 8, 64 and 128; as many key/value heads as heads, fewer, and one; and
// widths of the feed-forward part that are no multiples of 256 where the type's blocks allow it.
const Shape kShapes[] = {
    {"F32HeadDim8Mha", WeightType::kF32, 64, 200, 8, 8, 8, false},
    {"F16HeadDim64Gqa", WeightType::kF16, 256, 344, 8, 2, 64, false},
    {"Bf16HeadDim128Mqa", WeightType::kBF16, 256, 344, 4, 1, 128, true},
    {"Q4_0HeadDim64Gqa", WeightType::kQ4_0, 256, 352, 8, 2, 64, true},
    {"Q5_0HeadDim64Mqa", WeightType::kQ5_0, 192, 416, 4, 1, 64, false},
    {"Q4_1HeadDim64Gqa", WeightType::kQ4_1, 256, 352, 8, 2, 64, true},
    {"Q5_1HeadDim64Mqa", WeightType::kQ5_1, 192, 416, 4, 1, 64, false},
    {"Q8_0HeadDim128Mha", WeightType::kQ8_0, 256, 288, 4, 4, 128, true},
    {"Q8_0HeadDim8Gqa", WeightType::kQ8_0, 64, 96, 8, 2, 8, false},
    {"Q4_KHeadDim64Gqa", WeightType::kQ4_K, 256, 768, 8, 4, 64, false},
    {"Q4_KHeadDim8Mha", WeightType::kQ4_K, 256, 256, 32, 32, 8, true},
    {"Q5_KHeadDim64Gqa", WeightType::kQ5_K, 256, 768, 8, 4, 64, false},
    {"Q2_KHeadDim64Gqa", WeightType::kQ2_K, 256, 768, 8, 4, 64, false},
    {"Q3_KHeadDim64Gqa", WeightType::kQ3_K, 256, 768, 8, 4, 64, true},
    {"IQ4_NLHeadDim64Mqa", WeightType::kIQ4_NL, 192, 416, 4, 1, 64, false},
    {"IQ4_XSHeadDim64Gqa", WeightType::kIQ4_XS, 256, 768, 8, 4, 64, true},
    {"MXFP4HeadDim64Mqa", WeightType::kMXFP4, 192, 416, 4, 1, 64, true},
    {"TQ2_0HeadDim64Gqa", WeightType::kTQ2_0, 256, 768, 8, 4, 64, false},
    {"Q2_0HeadDim64Gqa", WeightType::kQ2_0, 192, 448, 4, 1, 64, false},
    {"Q6_KHeadDim128Gqa", WeightType::kQ6_K, 512, 512, 4, 2, 128, false},
    {"Q1_0HeadDim128Gqa", WeightType::kQ1_0, 256, 384, 4, 2, 128, false},
};

INSTANTIATE_TEST_SUITE_P(All, HostCudaAgreement, testing::ValuesIn(kShapes),
                         [](const auto& test) { return std::string(test.param.name); });

// Three layers of 256 wide, whose heads share keys and values by four.
synth::SynthOptions model_of_three_layers() {
  synth::SynthOptions model = test::tiny_model();
  model.embedding = 256;
  model.heads = 8;
  model.kv_heads = 2;
  model.head_dim = 64;
  model.layers = 3;
  model.context = 320;
  return model;
}

// llama.cpp's usual mix: 4 bits, some matrices and the output in 6.
TEST(HostCudaMix, Q4_K_M) {
  JLLM_NEEDS_GPU();
  synth::SynthOptions model = model_of_three_layers();
  model.type = "q4_k_m";
  model.ffn = 768;
  const Tokens tokens = test::random_tokens(kTokens, model.vocab, 4);
  CompileOptions options;
  options.plan.kv_k = options.plan.kv_v = WeightType::kF16;
  options.plan.select.activations = select::ActivationMode::kF32;
  const PlanInMemory host_plan(test::plan_bytes(model, options));
  options.plan.select.activations = select::ActivationMode::kAuto;
  options.target = test::gpu_target();
  const PlanInMemory gpu_plan(test::plan_bytes(model, options));
  RunningPlan host(host_plan);
  RunningPlan gpu(gpu_plan, {});
  ASSERT_TRUE(host.ok()) << host.create_message;
  ASSERT_TRUE(gpu.ok()) << gpu.create_message;
  expect_close(compare(host.force_all(tokens), gpu.force_all(tokens)), "mix");
}

// Experts. Where the last of the chosen and the first of the others are close, the sides may choose
// differently, which moves the logits of that position by much. Of 16 logits of deviation 1 those
// about the fourth are 0.2 apart on average; the difference of two errs by 8.5e-4 * sqrt(2): 0.6 %
// of the choices, in three layers 1.8 % of the positions. 5 % are allowed to be far off, and the
// others' bound is that of models without experts.
TEST(HostCudaMix, Experts) {
  JLLM_NEEDS_GPU();
  synth::SynthOptions model = model_of_three_layers();
  model.like = "qwen3-30b-a3b";
  model.ffn = 512;
  model.expert_ffn = 256;
  model.experts = 16;
  model.experts_used = 4;
  const Tokens tokens = test::random_tokens(kTokens, model.vocab, 4);
  for (const char* type : {"q8_0", "q4_k_m"}) {
    SCOPED_TRACE(type);
    model.type = type;
    CompileOptions options;
    options.plan.kv_k = options.plan.kv_v = WeightType::kF16;
    options.plan.prefill_chunk = 64;
    options.plan.select.activations = select::ActivationMode::kF32;
    const PlanInMemory host_plan(test::plan_bytes(model, options));
    RunningPlan host(host_plan);
    ASSERT_TRUE(host.ok()) << host.create_message;
    const std::vector<Logits> expected = host.force_all(tokens);
    options.plan.select.activations = select::ActivationMode::kAuto;
    options.target = test::gpu_target();
    for (const bool fuse : {true, false}) {
      options.plan.fuse = fuse;
      const PlanInMemory gpu_plan(test::plan_bytes(model, options));
      RunningPlan gpu(gpu_plan, {});
      ASSERT_TRUE(gpu.ok()) << gpu.create_message;
      const std::vector<Logits> decoded = gpu.force_all(tokens);
      uint32_t prompts_off = 0, decoded_off = 0;
      for (uint32_t i = 0; i < kTokens; ++i) {
        gpu.rewind(0);
        gpu.prefill({tokens.begin(), tokens.begin() + i + 1});
        gpu.step();
        decoded_off += compare({expected[i]}, {decoded[i]}).max_kl < kMaxKl ? 0 : 1;
        prompts_off += compare({expected[i]}, {gpu.logits()}).max_kl < kMaxKl ? 0 : 1;
      }
      RecordProperty(
          std::string(type) + (fuse ? "_fused" : "_primitive"),
          std::to_string(decoded_off) + " decoded, " + std::to_string(prompts_off) + " prompts");
      EXPECT_LE(decoded_off, kTokens / 20) << (fuse ? "fused" : "primitive");
      EXPECT_LE(prompts_off, kTokens / 20) << (fuse ? "fused" : "primitive");
    }
  }
}

// One-bit weights with an int8 cache. Both sides round keys and values to the same grid, but where
// f32 sums differ in their last bit a value may fall to the other side of a rounding step: one step
// of 127 in one of 32 elements. Such flips are rare; the bound is the goal for any combination,
// 1e-3 nats.
TEST(HostCudaMix, Q1_0WithAnInt8Cache) {
  synth::SynthOptions model = test::tiny_model();
  model.type = "q1_0";
  model.embedding = 256;
  model.ffn = 768;
  model.heads = 8;
  model.kv_heads = 2;
  model.head_dim = 64;
  model.context = 320;
  const Tokens tokens = test::random_tokens(kTokens, model.vocab, 4);
  CompileOptions options;
  options.plan.kv_k = options.plan.kv_v = WeightType::kQ8_0;
  options.plan.select.activations = select::ActivationMode::kF32;
  const PlanInMemory host_plan(test::plan_bytes(model, options));
  options.plan.select.activations = select::ActivationMode::kAuto;
  RunningPlan host(host_plan);
  ASSERT_TRUE(host.ok()) << host.create_message;
  const std::vector<Logits> expected = host.force_all(tokens);
  for (const Logits& row : expected) {
    for (const float logit : row) ASSERT_TRUE(std::isfinite(logit));
  }
  JLLM_NEEDS_GPU();
  options.target = test::gpu_target();
  const PlanInMemory gpu_plan(test::plan_bytes(model, options));
  RunningPlan gpu(gpu_plan, {});
  ASSERT_TRUE(gpu.ok()) << gpu.create_message;
  EXPECT_LT(compare(expected, gpu.force_all(tokens)).max_kl, 1e-3);
}

}  // namespace
}  // namespace jllm

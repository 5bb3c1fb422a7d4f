// Tiny models of several weight types, caches and architectures on the fake device, in graphs and
// eager mode, threads in any order: predictions are the host target's, prompts in chunks agree with
// tokens one by one, and drafts change nothing.
//
// The bounds are those of tests/e2e/gpu/host_cuda_agreement_test.cpp, where they are derived: the
// kernels are the same, and where the fake device rounds otherwise than a GPU it rounds less.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/fake_cuda.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::fake_cuda;
using test::Logits;
using test::PlanInMemory;
using test::RunningPlan;
using test::Tokens;

constexpr double kMaxKl = 1e-4;  // nats, at any position
// A cache of quants: where both sides differ by a little, a value may fall to another step. The
// mean square of that is the little times the step, and 4 bits make steps 127 / 7.5 times as long.
constexpr double kInt8MaxKl = 1e-3, kInt4MaxKl = kInt8MaxKl * 127 / 7.5;
constexpr uint32_t kVocab = 512, kTokens = 21, kPrompt = 45;

struct Model {
  const char* name;
  const char* like = "llama-3.2-1b";
  const char* type = "f16";
  WeightType kv = WeightType::kF16;
  bool fuse = true, graphs = true;
  uint64_t seed = 0;
  const char* target = test::kFakeTarget;
  uint32_t capability = 87, chunk = 32;
};
void PrintTo(const Model& model, std::ostream* os) { *os << model.name; }

const Model kModels[] = {
    {.name = "F16"},
    {.name = "Q8_0", .type = "q8_0", .kv = WeightType::kQ8_0, .seed = 1},
    {.name = "Q4_0", .type = "q4_0", .kv = WeightType::kQ4_0, .graphs = false},
    {.name = "Q4KM", .type = "q4_k_m", .seed = 2},
    {.name = "Primitive", .type = "q8_0", .fuse = false, .graphs = false},
    {.name = "Mixture", .like = "qwen3-30b-a3b", .type = "q8_0", .seed = 3},
    {.name = "Lfm2", .like = "lfm2-1.2b", .type = "q4_k_m"},
    {.name = "Hopper",
     .type = "q8_0",
     .seed = 4,
     .target = "sm_90",
     .capability = 90,
     .chunk = 128},
};

synth::SynthOptions synth_options(const Model& m) {
  synth::SynthOptions model = test::tiny_model();
  model.like = m.like;
  model.type = m.type;
  model.vocab = kVocab;
  model.embedding = 256;
  model.ffn = 256;
  model.head_dim = 64;
  if (m.like == std::string("lfm2-1.2b")) model.layers = 3;  // the third attends
  if (m.like == std::string("qwen3-30b-a3b")) {
    model.expert_ffn = 256;
    model.experts = 8;
    model.experts_used = 2;
  }
  return model;
}

double most_divergence(const Model& m) {
  return m.kv == WeightType::kQ4_0 ? kInt4MaxKl : m.kv == WeightType::kQ8_0 ? kInt8MaxKl : kMaxKl;
}

CompileOptions compile_options(const Model& m, bool host) {
  CompileOptions options;
  options.target = host ? "host" : m.target;
  options.plan.context = 128;
  options.plan.prefill_chunk = m.chunk;
  options.plan.speculate = 2;
  options.plan.kv_k = options.plan.kv_v = m.kv;
  options.plan.fuse = m.fuse;
  options.debug_info = m.capability == 90;  // to see its products
  if (host) options.plan.select.activations = select::ActivationMode::kF32;
  return options;
}

// Nats from `expected` to `found`.
double divergence(const Logits& expected, const Logits& found) {
  const auto log_sum = [](const Logits& logits) {
    const double max = double{logits[test::argmax(logits)]};
    double sum = 0;
    for (const float l : logits) sum += std::exp(double{l} - max);
    return std::log(sum) + max;
  };
  const double theirs = log_sum(expected), ours = log_sum(found);
  double kl = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double log_p = double{expected[i]} - theirs;
    kl += std::exp(log_p) * (log_p - (double{found[i]} - ours));
  }
  return kl;
}

// Whether some kernel of the plan, which has debug information, was built with this macro.
bool has_kernel_with(const std::vector<uint8_t>& bytes, const PlanInMemory& plan,
                     const std::string& define) {
  const fb::Segment* segment = plan.view().find_segment(fb::SegmentKind::Debug);
  if (segment == nullptr) return false;
  const std::string_view text(reinterpret_cast<const char*>(bytes.data() + segment->offset()),
                              segment->size());
  return text.find("\"-D" + define + "\"") != text.npos;
}

class FakeCudaModels : public testing::TestWithParam<Model> {
 protected:
  void SetUp() override {
    JLLM_NEEDS_FAKE_CUDA();
    fake_cuda()->set_capability(GetParam().capability);
    fake_cuda()->set_seed(GetParam().seed);
  }
  void TearDown() override {
    if (fake_cuda() == nullptr) return;
    EXPECT_EQ(fake_cuda()->what_lives(), "");
    fake_cuda()->set_capability(87);
    fake_cuda()->set_seed(0);
  }
};

TEST_P(FakeCudaModels, AgreeWithTheHost) {
  const Model& m = GetParam();
  const PlanInMemory host_plan(test::plan_bytes(synth_options(m), compile_options(m, true)));
  const std::vector<uint8_t> bytes = test::plan_bytes(synth_options(m), compile_options(m, false));
  const PlanInMemory plan(bytes);
  if (m.capability == 90) {
    EXPECT_TRUE(has_kernel_with(bytes, plan, "WGMMA=1"));
  }
  RunningPlan host(host_plan);
  ExecutorOptions options;
  options.graphs = m.graphs;
  RunningPlan run(plan, options);
  ASSERT_TRUE(host.ok()) << host.create_message;
  ASSERT_TRUE(run.ok()) << run.create_message;
  const double most = most_divergence(m);

  const Tokens tokens = test::random_tokens(kTokens, kVocab, 4);
  const std::vector<Logits> expected = host.force_all(tokens);
  const std::vector<Logits> found = run.force_all(tokens);
  double largest = 0;
  for (uint32_t i = 0; i < kTokens; ++i) {
    const double kl = divergence(expected[i], found[i]);
    EXPECT_LT(kl, most) << "token " << i;
    largest = std::max(largest, kl);
  }
  RecordProperty("largest_kl", std::to_string(largest));

  // A prompt in chunks, with a tail that fills none.
  const Tokens prompt = test::random_tokens(kPrompt, kVocab, 5);
  host.rewind(0);
  host.prefill(prompt);
  host.step();
  run.rewind(0);
  run.prefill(prompt);
  run.step();
  EXPECT_LT(divergence(host.logits(), run.logits()), most);

  // Steps, then the same steps verified as drafts: right ones, and wrong ones.
  run.rewind(kPrompt);
  const Tokens steps = run.generate(6);
  run.rewind(kPrompt);
  Tokens drafted;
  while (drafted.size() < steps.size()) {
    uint32_t guesses[2] = {steps[drafted.size()], (steps[drafted.size()] + 1) % kVocab};
    ASSERT_TRUE(run->enqueue_draft(guesses, 2).ok()) << run->last_error();
    do {
      const Result<SampledToken> token = run->next();
      ASSERT_TRUE(token.ok()) << run->last_error();
      drafted.push_back(token.value().id);
    } while (run->in_flight() > 0);
  }
  drafted.resize(steps.size());
  EXPECT_EQ(drafted, steps);
}

// Squares of differences over squares of `expected`.
double relative_power(const Logits& expected, const Logits& found) {
  double error = 0, power = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(double{found[i]} - double{expected[i]}, 2);
    power += std::pow(double{expected[i]}, 2);
  }
  return error / power;
}

// An error of e in logits costs e^2 / 2 nats; their deviation is 3, so that vectors whose error is
// e / 3 of themselves make such logits.
TEST_P(FakeCudaModels, EmbeddingsAgreeWithTheHost) {
  const Model& m = GetParam();
  CompileOptions host_options = compile_options(m, true), cuda_options = compile_options(m, false);
  host_options.plan.embeds = cuda_options.plan.embeds = true;
  const PlanInMemory host_plan(test::plan_bytes(synth_options(m), host_options));
  const PlanInMemory plan(test::plan_bytes(synth_options(m), cuda_options));
  RunningPlan host(host_plan);
  ExecutorOptions options;
  options.graphs = m.graphs;
  RunningPlan run(plan, options);
  ASSERT_TRUE(host.ok()) << host.create_message;
  ASSERT_TRUE(run.ok()) << run.create_message;
  const double most = 2 * most_divergence(m) / 9;
  double largest = 0;
  for (const uint32_t count : {1u, 16u, kTokens, kPrompt}) {
    const Tokens prompt = test::random_tokens(count, kVocab, count);
    host.rewind(0);
    host.prefill(prompt);
    run.rewind(0);
    run.prefill(prompt);
    const double error = relative_power(host.embedding(), run.embedding());
    EXPECT_LT(error, most) << count << " tokens";
    largest = std::max(largest, error);
  }
  RecordProperty("largest_relative_power", std::to_string(largest));
  // Behind a beginning that is kept, of another text too.
  const Tokens prompt = test::random_tokens(kPrompt, kVocab, kPrompt);
  run.rewind(kTokens);
  run.prefill({prompt.begin() + kTokens, prompt.end()});
  EXPECT_LT(relative_power(host.embedding(), run.embedding()), most);
  EXPECT_EQ(run->enqueue(), Error::kBadArgument);
}

INSTANTIATE_TEST_SUITE_P(All, FakeCudaModels, testing::ValuesIn(kModels),
                         [](const auto& c) { return c.param.name; });

}  // namespace
}  // namespace jllm

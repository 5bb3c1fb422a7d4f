// jllmc compile --weights: a model of floats becomes the plan that its quantisation would have had,
// and still says nearly the same.
#include <gtest/gtest.h>

#include <cstring>

#include "compiler/gguf/writer.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::Logits;
using test::PlanInMemory;
using test::RunningPlan;

synth::SynthOptions model_of(const char* type, const char* like = "tinyllama") {
  synth::SynthOptions model = test::tiny_model();
  model.like = like;
  model.type = type;
  model.embedding = model.ffn = 256;  // whole blocks of every format
  model.head_dim = 64;
  return model;
}

CompileOptions options_with(const std::string& weights) {
  CompileOptions options;
  options.weights = weights;
  options.plan.select.activations = select::ActivationMode::kF32;
  return options;
}

Logits logits_of(const std::vector<uint8_t>& bytes) {
  const PlanInMemory plan(bytes);
  EXPECT_EQ(plan.error, Error::kOk) << plan.message;
  RunningPlan run(plan, {});
  return run.force_all({1, 17, 300, 45, 260, 7}).back();
}

// Squared error relative to the reference.
double nmse(const Logits& got, const Logits& expected) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(double(got[i]) - double(expected[i]), 2);
    norm += std::pow(double(expected[i]), 2);
  }
  return error / norm;
}

void expect_plan_of_quantised(const char* like) {
  for (const char* type : {"q8_0", "q4_k_m", "q4_0"}) {
    for (const select::ActivationMode mode :
         {select::ActivationMode::kF32, select::ActivationMode::kAuto}) {
      CompileOptions options = options_with(type);
      options.plan.select.activations = mode;
      const PlanInMemory converted(test::plan_bytes(model_of("f16", like), options));
      options.weights.clear();
      const PlanInMemory quantised(test::plan_bytes(model_of(type, like), options));
      ASSERT_EQ(converted.error, Error::kOk) << converted.message;
      const fb::Plan &a = converted.view().plan(), &b = quantised.view().plan();
      ASSERT_EQ(a.arenas()->size(), b.arenas()->size());
      for (unsigned i = 0; i < a.arenas()->size(); ++i) {
        EXPECT_EQ(a.arenas()->Get(i)->size(), b.arenas()->Get(i)->size()) << type << " arena " << i;
      }
      EXPECT_EQ(a.model()->weights_read_per_token(), b.model()->weights_read_per_token()) << type;
      EXPECT_EQ(a.kernels()->size(), b.kernels()->size()) << type;
    }
  }
}

TEST(Requantise, ThePlanIsThatOfAQuantisedModel) { expect_plan_of_quantised("tinyllama"); }

// The router stays as it is.
TEST(Requantise, ThePlanIsThatOfAQuantisedMixture) { expect_plan_of_quantised("mixtral-8x7b"); }

// A weight of q8_0 is off by half of 1/127 of its block's largest at most, evenly: for normal
// weights, whose largest of 32 is about 2.1 deviations, an NMSE of (2.1 / 127)^2 / 12 = 2.3e-5; of
// q4_0 (2.1 / 8)^2 / 12 = 5.7e-3. Fourteen matrices in two layers and the output add theirs; none
// cancels.
TEST(Requantise, ErrorsAreThoseOfTheTypes) {
  const std::vector<uint8_t> f16 = test::plan_bytes(model_of("f16"), options_with(""));
  const Logits expected = logits_of(f16);
  const double q8 =
      nmse(logits_of(test::plan_bytes(model_of("f16"), options_with("q8_0"))), expected);
  EXPECT_GT(q8, 2.3e-5 / 15);
  EXPECT_LT(q8, 2.3e-5 * 15);
  const double q4 =
      nmse(logits_of(test::plan_bytes(model_of("f16"), options_with("q4_0"))), expected);
  EXPECT_GT(q4, 5.7e-3 / 15);
  EXPECT_LT(q4, 5.7e-3 * 15);
}

// An importance matrix changes what is quantised, and says so in report and plan.
TEST(Requantise, ImportanceWeighs) {
  const test::TempDir dir;
  test::make_model(model_of("f16"), dir.file("model.gguf"));
  gguf::Writer writer;
  writer.set_string("general.type", "imatrix");
  for (const char* name : {"blk.0.ffn_up.weight", "blk.1.attn_q.weight", "not.there"}) {
    std::vector<float> sums(256, 1.0f);
    for (size_t i = 0; i < sums.size(); i += 16) sums[i] = 400;
    for (const auto& [end, values] :
         {std::pair(".in_sum2", sums), {".counts", std::vector<float>{32}}}) {
      std::vector<uint8_t> bytes(4 * values.size());
      std::memcpy(bytes.data(), values.data(), bytes.size());
      writer.add_tensor(std::string(name) + end, {values.size(), 1}, WeightType::kF32, bytes);
    }
  }
  llvm::cantFail(writer.write(dir.file("im.gguf")));
  CompileOptions options = options_with("q4_k");
  options.input = dir.file("model.gguf");
  options.output = dir.file("model.jllm");
  options.report = ReportFormat::kText;
  test::make_plan(options);
  const std::vector<uint8_t> without = test::read_file(options.output);
  options.importance = dir.file("im.gguf");
  const test::CompileOutcome outcome = test::compile_model(options);
  ASSERT_EQ(outcome.code, ExitCode::kDone) << outcome.message;
  EXPECT_NE(outcome.report.find("weighs 2 of 16 quantised matrices; 1 of its names"),
            std::string::npos)
      << outcome.report;
  const std::vector<uint8_t> with = test::read_file(options.output);
  const PlanInMemory plan(with);
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  bool told = false;
  for (const auto* option : *plan.view().plan().provenance()->options()) {
    told |= option->str().rfind("imatrix=", 0) == 0;
  }
  EXPECT_TRUE(told);
  EXPECT_NE(without, with);
  EXPECT_LT(nmse(logits_of(with), logits_of(without)), 0.1);
  // Nothing is quantised: nothing to weigh.
  options.weights.clear();
  const test::CompileOutcome idle = test::compile_model(options);
  EXPECT_EQ(idle.code, ExitCode::kUsage);
  EXPECT_NE(idle.message.find("add --weights TYPE"), std::string::npos) << idle.message;
}

TEST(Requantise, RefusalsSayWhatToDo) {
  const auto refusal = [](const char* type, const char* weights) {
    const test::TempDir dir;
    test::make_model(model_of(type), dir.file("model.gguf"));
    CompileOptions options = options_with(weights);
    options.input = dir.file("model.gguf");
    options.output = dir.file("model.jllm");
    llvm::Error error = compile(options, llvm::nulls());
    return take_error(std::move(error));
  };
  const auto [unknown, unknown_text] = refusal("f16", "q9_9");
  EXPECT_EQ(unknown, ExitCode::kUsage);
  EXPECT_NE(unknown_text.find("expected one of f32, f16"), std::string::npos) << unknown_text;
  // Quantised already, or no smaller.
  for (const auto& [type, weights] : {std::pair("q8_0", "q4_0"), {"f16", "f32"}, {"f16", "f16"}}) {
    const auto [code, text] = refusal(type, weights);
    EXPECT_EQ(code, ExitCode::kUsage);
    EXPECT_NE(text.find("no matrix of floats that would become smaller"), std::string::npos)
        << text;
  }
}

}  // namespace
}  // namespace jllm

// Logits of the host target against llama.cpp's, for every optional part of the llama architecture
// and every weight type. The goldens in tests/golden/llama_logits come from make_llama_logits.py;
// with JLLM_ORACLE=1 it runs again (JLLM_ORACLE_PYTHON names a Python with llama-cpp-python) and
// the fresh logits are held against the committed ones.
#include <gtest/gtest.h>

#include <cstdio>

#include "compiler/gguf/file.h"
#include "tests/e2e/oracle/golden.h"
#include "tests/e2e/oracle/models.h"
#include "tests/support/files.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm::oracle {
namespace {

const char kGoldens[] = JLLM_GOLDEN_DIR "/llama_logits";

// --- bounds on the normalised mean square error of a row of logits ---
//
// With F32 weights both sides compute in f32 and differ in the order of sums and in how they get
// the angles of the rotary embedding. llama.cpp multiplies base^(-2/n) up in f32, one rounding
// (2^-24) per pair, so that the angle of pair i at position p is off by up to p * i * base^(-2i/n)
// * 2^-24: at most 84 * 2^-24 = 5e-6 radians here (p = 47; base 500000 and n = 128, at i = 4.9).
// jllm rounds the product of position and frequency once: 47 * 2^-24 = 3e-6. An angle's error is
// the relative error of the rotated pair, and scores of a few units hand it on to the softmax: a
// relative error of 1e-5 at worst, 1e-10 as a power. Sums of 512 products add up to (sqrt(512) *
// 2^-24)^2 = 2e-12 in each of 13 places. 1e-9 leaves a factor of ten for what the layers make of
// it; measured were 1e-12 and less. A wrong formula is off by 1e-2 or more.
constexpr double kF32Bound = 1e-9;

// llama.cpp rounds activations to the type that its dot product of a weight type takes; jllm's host
// does not with --activations f32. `noise`: the relative power of that rounding.
//   f16   a mantissa of 10 bits: at most 2^-11 of the value, uniform: (2^-11)^2 / 3 = 8e-8
//   bf16  a mantissa of 7 bits: (2^-8)^2 / 3 = 5e-6
//   int8  a block's largest value becomes 127: a step of peak / 127, uniform, has the power
//         (peak / 127)^2 / 12. Peaks of blocks of 32 or 256 lie at 2.5 to 4 standard deviations of
//         the activations; products of gate and up have heavier tails. 4 deviations: 8e-5.
// It enters 4 times a layer (the input of q/k/v, of the output, of gate/up, of down) and once at
// the output: 13 times in 3 layers. Each entry is one of several parts of a sum, so its relative
// weight only falls, except where gate and up multiply and add their errors. A factor of 2 covers
// that.
constexpr double bound_for(double noise) { return 2 * 13 * noise; }
constexpr double kInt8Bound = bound_for(8e-5);
// Two planes of int8 (q8r) have 128 times the steps.
constexpr double kTwoPlanesBound = kInt8Bound / (128 * 128);

double bound_of(const std::string& name) {
  if (name == "f16") return bound_for(8e-8);
  if (name == "bf16") return bound_for(5e-6);
  for (const char* type : {"q4_0", "q5_0", "q8_0", "q4_k_m", "q6_k", "q1_0", "q4_1", "q5_1", "q5_k",
                           "q2_k", "q3_k", "iq4_nl", "iq4_xs", "mxfp4", "tq1_0", "tq2_0"}) {
    if (name == type) return kInt8Bound;
  }
  return kF32Bound;  // F32 weights, also those that hold the values of a quantised model
}

// For a quantised model the second golden says more: llama.cpp on the same values as F32.
bool has_f32_twin(const std::string& name) { return bound_of(name) != kF32Bound; }

std::string golden_path(const std::string& folder, const std::string& name) {
  return folder + "/" + name + ".json";
}

class Oracle : public testing::TestWithParam<OracleModel> {
 protected:
  std::vector<uint8_t> plan(select::ActivationMode activations) const {
    const test::TempDir folder;
    write_model(GetParam().model, folder.file("m.gguf"));
    CompileOptions options;
    options.input = folder.file("m.gguf");
    options.output = folder.file("m.jllm");
    options.plan.select.activations = activations;
    test::make_plan(options);
    return test::read_file(options.output);
  }
};

void expect_close(const Golden& golden, uint32_t position, const test::Logits& got, double bound,
                  const std::string& what) {
  const double error = nmse(golden.logits.at(position), got);
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", error);
  testing::Test::RecordProperty(what + " at " + std::to_string(position), text);
  EXPECT_LT(error, bound) << what << ", position " << position;
}

TEST_P(Oracle, LogitsAreLlamaCpps) {
  const std::string name = GetParam().name;
  const test::PlanInMemory plan_file(plan(select::ActivationMode::kF32));
  ASSERT_EQ(plan_file.error, Error::kOk) << plan_file.message;
  test::RunningPlan executor(plan_file);
  ASSERT_TRUE(executor.ok()) << executor.create_message;
  const Golden golden = read_golden(golden_path(kGoldens, name));
  const std::vector<test::Logits> decoded = executor.force_all(golden.tokens);
  for (const auto& [position, expected] : golden.logits) {
    expect_close(golden, position, decoded[position], bound_of(name), name + " decode");
    executor.rewind(0);
    executor.prefill({golden.tokens.begin(), golden.tokens.begin() + position + 1});
    executor.step();
    const test::Logits prefilled = executor.logits();
    expect_close(golden, position, prefilled, bound_of(name), name + " prefill");
    if (!has_f32_twin(name)) continue;
    const Golden exact = read_golden(golden_path(kGoldens, name + ".as_f32"));
    ASSERT_EQ(exact.tokens, golden.tokens);
    expect_close(exact, position, decoded[position], kF32Bound, name + " decode, exact");
    expect_close(exact, position, prefilled, kF32Bound, name + " prefill, exact");
  }
}

using QuantisedOracle = Oracle;

// The same against llama.cpp on the values as F32, with activations as one and two planes of int8:
// what they add is their own rounding and no more.
TEST_P(QuantisedOracle, IntegerActivationsCostTheirRounding) {
  const std::string name = GetParam().name;
  const Golden exact = read_golden(golden_path(kGoldens, name + ".as_f32"));
  for (const select::ActivationMode mode :
       {select::ActivationMode::kQ8, select::ActivationMode::kAuto}) {
    const char* mode_name = select::activation_mode_name(mode);
    const test::PlanInMemory plan_file(plan(mode));
    ASSERT_EQ(plan_file.error, Error::kOk) << plan_file.message;
    test::RunningPlan executor(plan_file);
    ASSERT_TRUE(executor.ok()) << executor.create_message;
    const double bound = mode == select::ActivationMode::kQ8 ? kInt8Bound : kTwoPlanesBound;
    const std::vector<test::Logits> decoded = executor.force_all(exact.tokens);
    for (const auto& [position, expected] : exact.logits) {
      expect_close(exact, position, decoded[position], bound, name + " " + mode_name);
      if (mode == select::ActivationMode::kQ8) {  // it is not the exact mode under another name
        EXPECT_GT(nmse(expected, decoded[position]), kTwoPlanesBound) << position;
      }
    }
  }
}

std::string test_name(const testing::TestParamInfo<OracleModel>& test) {
  std::string name = test.param.name;
  for (char& c : name) c = c == '.' ? '_' : c;
  return name;
}

std::vector<OracleModel> quantised_models() {
  std::vector<OracleModel> models = oracle_models();
  std::erase_if(models, [](const OracleModel& m) { return bound_of(m.name) != kInt8Bound; });
  return models;
}

INSTANTIATE_TEST_SUITE_P(Llama, Oracle, testing::ValuesIn(oracle_models()), test_name);
INSTANTIATE_TEST_SUITE_P(Llama, QuantisedOracle, testing::ValuesIn(quantised_models()), test_name);

// The comparison sees what it should see: a model that differs in one tensor is far off the bound.
TEST(OracleBounds, AnotherModelIsFarOff) {
  for (const char* name : {"f32", "q4_0"}) {
    const Golden a = read_golden(golden_path(kGoldens, name));
    const Golden b = read_golden(golden_path(kGoldens, "q8_0"));
    for (const auto& [position, logits] : a.logits) {
      EXPECT_GT(nmse(logits, b.logits.at(position)), 100 * kInt8Bound);
    }
  }
}

// --- making the goldens anew ---

TEST(OracleAnew, LlamaCppStillSaysTheSame) {
  if (const std::string why = why_not_anew(); !why.empty()) GTEST_SKIP() << why;
  const test::TempDir folder;
  for (const OracleModel& model : oracle_models()) {
    write_model(model.model, folder.file(model.name + ".gguf"));
  }
  const std::string fresh = folder.file("fresh");
  ASSERT_TRUE(make_goldens(folder.path(), fresh));
  for (const OracleModel& model : oracle_models()) {
    SCOPED_TRACE(model.name);
    const Golden committed = read_golden(golden_path(kGoldens, model.name));
    const Golden again = read_golden(golden_path(fresh, model.name));
    EXPECT_EQ(again.model_sha256, committed.model_sha256) << "the model itself has changed";
    EXPECT_EQ(again.tokens, committed.tokens);
    ASSERT_EQ(again.logits.size(), committed.logits.size());
    for (const auto& [position, logits] : committed.logits) {
      // Another processor sums in another order, and a few activations then round to their other
      // neighbour: a small part of the rounding's own power.
      EXPECT_LT(nmse(logits, again.logits.at(position)), bound_of(model.name) / 2) << position;
    }
  }
}

}  // namespace
}  // namespace jllm::oracle

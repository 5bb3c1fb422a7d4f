// jllmc compile --lora: logits of merged plans against llama.cpp's, which applies the adapters
// while it runs; the goldens in tests/golden/lora_logits come from make_llama_logits.py.
#include <gtest/gtest.h>

#include "tests/e2e/arch/adapters.h"
#include "tests/e2e/oracle/golden.h"
#include "tests/support/files.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm::arch {
namespace {

using oracle::Golden;
using oracle::nmse;
using oracle::read_golden;

const char kGoldens[] = JLLM_GOLDEN_DIR "/lora_logits/";

// Both sides compute in f32; that one adds B (A x) and the other has added B A to the weights is a
// rounding among others, of which oracle_test.cpp has the sum.
constexpr double kBound = 1e-9;

std::vector<uint8_t> compiled(const AdaptedModel& model,
                              const std::vector<gguf::AdapterRequest>& wanted) {
  const test::TempDir folder;
  write_adapted(model, folder.path());
  CompileOptions options;
  options.input = folder.file(model.base.name + ".gguf");
  options.output = folder.file("plan.jllm");
  options.adapters = wanted;
  for (gguf::AdapterRequest& adapter : options.adapters) {
    adapter.path = folder.file(model.base.name + ".lora");
  }
  test::make_plan(options);
  return test::read_file(options.output);
}

std::vector<test::Logits> logits_of(const std::vector<uint8_t>& bytes,
                                    const std::vector<uint32_t>& tokens) {
  const test::PlanInMemory plan(bytes);
  EXPECT_EQ(plan.error, Error::kOk) << plan.message;
  test::RunningPlan executor(plan);
  return executor.force_all(tokens);
}

class Adapted : public testing::TestWithParam<AdaptedModel> {};

TEST_P(Adapted, LogitsAreLlamaCpps) {
  const Golden golden = read_golden(kGoldens + GetParam().base.name + ".json");
  const std::vector<test::Logits> merged =
      logits_of(compiled(GetParam(), {{"", kOracleScale}}), golden.tokens);
  const std::vector<test::Logits> plain = logits_of(compiled(GetParam(), {}), golden.tokens);
  for (const auto& [position, expected] : golden.logits) {
    EXPECT_LT(nmse(expected, merged[position]), kBound) << position;
    // The adapter is no small thing.
    EXPECT_GT(nmse(expected, plain[position]), 1e-3) << position;
  }
}

// Twice a half is the whole, to f32.
TEST_P(Adapted, AdaptersAddUp) {
  const Golden golden = read_golden(kGoldens + GetParam().base.name + ".json");
  const std::vector<test::Logits> twice = logits_of(
      compiled(GetParam(), {{"", kOracleScale / 2}, {"", kOracleScale / 2}}), golden.tokens);
  for (const auto& [position, expected] : golden.logits) {
    EXPECT_LT(nmse(expected, twice[position]), kBound) << position;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Adapted, testing::ValuesIn(adapted_models()),
                         [](const auto& test) { return test.param.base.name; });

TEST(AdaptedAnew, LlamaCppStillSaysTheSame) {
  if (const std::string why = oracle::why_not_anew(); !why.empty()) GTEST_SKIP() << why;
  const test::TempDir folder;
  for (const AdaptedModel& model : adapted_models()) write_adapted(model, folder.path());
  const std::string fresh = folder.file("fresh");
  ASSERT_TRUE(oracle::make_goldens(folder.path(), fresh));
  for (const AdaptedModel& model : adapted_models()) {
    const Golden committed = read_golden(kGoldens + model.base.name + ".json");
    const Golden again = read_golden(fresh + "/" + model.base.name + ".json");
    EXPECT_EQ(again.model_sha256, committed.model_sha256) << "model or adapter have changed";
    ASSERT_EQ(again.logits.size(), committed.logits.size());
    for (const auto& [position, logits] : committed.logits) {
      EXPECT_LT(nmse(logits, again.logits.at(position)), kBound / 2) << position;
    }
  }
}

}  // namespace
}  // namespace jllm::arch

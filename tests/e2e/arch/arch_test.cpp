// Logits of the host target against llama.cpp's for every architecture, token by token and as a
// prompt. The goldens in tests/golden/arch_logits come from make_llama_logits.py; with
// JLLM_ORACLE=1 it runs again (JLLM_ORACLE_PYTHON names a Python with llama-cpp-python).
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/e2e/arch/models.h"
#include "tests/e2e/oracle/golden.h"
#include "tests/support/files.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm::arch {
namespace {

using oracle::Golden;
using oracle::nmse;
using oracle::read_golden;

const char kGoldens[] = JLLM_GOLDEN_DIR "/arch_logits";

// Bounds on the normalised mean square error of a row of logits. Both sides compute in f32 with F32
// weights and caches; what they do differently, and what it makes of the logits, is worked out in
// oracle_test.cpp: 1e-9 is ten times that. llama.cpp looks GELU up in a table of halves: its
// argument and its result are rounded to 2^-11 of themselves, uniformly, which makes a relative
// power of 2 * 2^-22 / 3 = 1.6e-7 in the hidden vector of a feed-forward part. It enters once a
// layer, as one of the two parts of a block; the norms behind them keep relative errors; at most
// they add up over 7 layers to 1.1e-6, half of it in the part's share of the sum: 6e-7.
constexpr double kF32Bound = 1e-9, kGeluBound = 6e-7;

double bound_of(const std::string& name) {
  return name.rfind("gemma", 0) == 0 ? kGeluBound : kF32Bound;
}

std::string golden_path(const std::string& folder, const std::string& name) {
  return folder + "/" + name + ".json";
}

void expect_close(const Golden& golden, uint32_t position, const test::Logits& got, double bound,
                  const std::string& what) {
  const double error = nmse(golden.logits.at(position), got);
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", error);
  testing::Test::RecordProperty(what + " at " + std::to_string(position), text);
  EXPECT_LT(error, bound) << what << ", position " << position;
}

class Architectures : public testing::TestWithParam<ArchModel> {};

TEST_P(Architectures, LogitsAreLlamaCpps) {
  const std::string name = GetParam().name;
  const test::PlanInMemory plan(test::plan_bytes(GetParam().model));
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  test::RunningPlan executor(plan);
  ASSERT_TRUE(executor.ok()) << executor.create_message;
  const Golden golden = read_golden(golden_path(kGoldens, name));
  const std::vector<test::Logits> decoded = executor.force_all(golden.tokens);
  for (const auto& [position, expected] : golden.logits) {
    expect_close(golden, position, decoded[position], bound_of(name), name + " decode");
    executor.rewind(0);
    executor.prefill({golden.tokens.begin(), golden.tokens.begin() + position + 1});
    executor.step();
    expect_close(golden, position, executor.logits(), bound_of(name), name + " prefill");
  }
}

INSTANTIATE_TEST_SUITE_P(All, Architectures, testing::ValuesIn(arch_models()),
                         [](const auto& test) { return test.param.name; });

// The comparison sees what it should see: the same weights with another rope are far off.
TEST(ArchitectureBounds, AWrongFormulaIsFarOff) {
  const Golden with_long = read_golden(golden_path(kGoldens, "phi4_mini_long"));
  const Golden with_short = read_golden(golden_path(kGoldens, "phi4_mini_short"));
  for (const auto& [position, logits] : with_long.logits) {
    if (position == 0) continue;  // nothing is rotated there
    EXPECT_GT(nmse(logits, with_short.logits.at(position)), 1000 * kGeluBound) << position;
  }
}

// --- making the goldens anew ---

TEST(ArchitecturesAnew, LlamaCppStillSaysTheSame) {
  if (const std::string why = oracle::why_not_anew(); !why.empty()) GTEST_SKIP() << why;
  const test::TempDir folder;
  for (const ArchModel& model : arch_models()) {
    write_model(model, folder.file(model.name + ".gguf"));
  }
  const std::string fresh = folder.file("fresh");
  ASSERT_TRUE(oracle::make_goldens(folder.path(), fresh));
  for (const ArchModel& model : arch_models()) {
    SCOPED_TRACE(model.name);
    const Golden committed = read_golden(golden_path(kGoldens, model.name));
    const Golden again = read_golden(golden_path(fresh, model.name));
    EXPECT_EQ(again.model_sha256, committed.model_sha256) << "the model itself has changed";
    EXPECT_EQ(again.tokens, committed.tokens);
    ASSERT_EQ(again.logits.size(), committed.logits.size());
    for (const auto& [position, logits] : committed.logits) {
      EXPECT_LT(nmse(logits, again.logits.at(position)), bound_of(model.name) / 2) << position;
    }
  }
}

}  // namespace
}  // namespace jllm::arch

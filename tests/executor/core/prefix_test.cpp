// Prefixes that are saved and loaded: with every type of cache, windows, layers that remember the
// last positions only, in any slot. And what is refused.
#include <gtest/gtest.h>

#include "tests/support/edited_plan.h"
#include "tests/support/plan_variant.h"
#include "tests/support/prefixes.h"

namespace jllm {
namespace {

using test::PlanInMemory;
using test::PlanVariant;
using test::RunningPlan;
using test::Tokens;

// The third layer attends; the others remember half of the context.
const PlanVariant kShortConvolutions = {.name = "ShortConvolutions",
                                        .like = "lfm2-1.2b",
                                        .type = "q8_0",
                                        .slots = 2,
                                        .layers = 4,
                                        .context = 256};

class Prefixes : public testing::TestWithParam<PlanVariant> {};

TEST_P(Prefixes, GoOnAsIfTheyHadBeenComputed) {
  const PlanInMemory plan(test::plan_bytes(GetParam().recipe()));
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  RunningPlan run(plan), other(plan);
  ASSERT_TRUE(run.ok() && other.ok()) << run.create_message;
  for (const test::NamedSampling& s : test::samplings()) {
    SCOPED_TRACE(s.name);
    test::check_saved_prefixes(run, other, s.sampling);
    if (HasFatalFailure()) return;
  }
  test::check_prefix_refusals(run);
}

INSTANTIATE_TEST_SUITE_P(
    All, Prefixes,
    testing::Values(PlanVariant{.name = "Plain", .type = "q8_0"},
                    PlanVariant{.name = "SingleFloats", .type = "f32", .kv = WeightType::kF32},
                    PlanVariant{.name = "EightBits", .type = "q8_0", .kv = WeightType::kQ8_0},
                    PlanVariant{.name = "FourBits", .slots = 2, .kv = WeightType::kQ4_0},
                    PlanVariant{.name = "ThreeSlots", .type = "q8_0", .slots = 3},
                    PlanVariant{.name = "Speculating", .type = "q8_0", .speculate = 3},
                    PlanVariant{.name = "Windows", .like = "gemma-2-2b", .type = "q8_0"},
                    kShortConvolutions),
    test::variant_name);

// A loaded prefix of layers that remember the last positions: taken back into it, they do not know
// what was remembered before it was saved, and consume it again.
TEST(PrefixesOfRecentRows, AreTakenBack) {
  const PlanInMemory plan(test::plan_bytes(kShortConvolutions.recipe()));
  RunningPlan run(plan), other(plan);
  ASSERT_TRUE(run.ok() && other.ok()) << run.create_message;
  const Tokens prefix = test::random_tokens(200, run->vocab_size(), 7);
  run.prefill(prefix);
  const std::vector<uint8_t> bytes = test::save_prefix(run, 200, UINT32_MAX);
  for (const uint32_t kept : {199u, 150u, 20u, 1u}) {
    SCOPED_TRACE(kept);
    test::load_prefix(other, prefix, bytes, UINT32_MAX);
    run.rewind(0);
    run.prefill(prefix);
    run.rewind(kept);
    other.rewind(kept);
    for (int i = 0; i < 5; ++i) {
      ASSERT_EQ(other.step().id, run.step().id);
      ASSERT_EQ(other.logits(), run.logits());
    }
  }
}

TEST(PrefixesOfOldPlans, AreRefused) {
  test::EditedPlan edited(test::plan_bytes(PlanVariant{"Plain"}.recipe()));
  edited.tables.caches.clear();
  const std::vector<uint8_t> bytes = edited.file();
  const PlanInMemory plan(bytes);
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  const Tokens tokens = test::random_tokens(9, run->vocab_size(), 1);
  run.prefill(tokens);
  EXPECT_EQ(run->prefix_bytes(9), 0u);
  const char* const old = "the plan was compiled before prefixes could be copied";
  EXPECT_EQ(run->save_prefix(9, 0, nullptr, 0), Error::kBadArgument);
  EXPECT_STREQ(run->last_error(), old);
  EXPECT_EQ(run->load_prefix(tokens.data(), 9, 0, nullptr, 0), Error::kBadArgument);
  EXPECT_STREQ(run->last_error(), old);
}

}  // namespace
}  // namespace jllm

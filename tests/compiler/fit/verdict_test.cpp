// Verdicts: fits, tight or not, the largest contexts, and the predictions.
#include "compiler/fit/verdict.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/compiler/fit/some_model.h"

namespace jllm::fit {
namespace {

Verdict judged(SomeModel& model, const target::Target& target, const Question& question) {
  Verdict verdict = value_of(judge(model.planner, target, question));
  llvm::Error error = find_contexts(model.planner, question, &verdict);
  EXPECT_FALSE(static_cast<bool>(error));
  return verdict;
}

TEST(Verdict, TheBudgetDecidesToTheByte) {
  SomeModel model;
  Question question;
  question.plan = plan_of(1024);
  question.plan.speculate = 0;  // else it takes what room there is
  const uint64_t total = model.total(device("orin-nano-8gb", 0), question.plan);
  const auto answer = [&](uint64_t budget) {
    return value_of(judge(model.planner, device("orin-nano-8gb", budget), question));
  };
  EXPECT_EQ(answer(total).answer, Answer::kTight);
  EXPECT_EQ(answer(total).missing(), 0u);
  EXPECT_EQ(answer(total - 1).answer, Answer::kDoesNotFit);
  EXPECT_EQ(answer(total - 1).missing(), 1u);
  EXPECT_EQ(answer(2 * total).answer, Answer::kFits);
  // A twentieth of the budget free is the border of what is tight: 19/20 of it are taken.
  const uint64_t border = total / 19 * 20;
  EXPECT_EQ(answer(border + 40).answer, Answer::kFits);
  EXPECT_EQ(answer(border - 40).answer, Answer::kTight);
  // No budget: nothing is too large or tight.
  question.budget.limit = 0;
  EXPECT_EQ(answer(1).answer, Answer::kFits);
}

TEST(Verdict, LargestContextsByCacheType) {
  SomeModel model;
  const uint64_t total = model.total(device("orin-nano-8gb", 0), plan_of(2048));
  const Verdict verdict = judged(model, device("orin-nano-8gb", total), {});
  ASSERT_EQ(verdict.contexts.size(), 3u);
  EXPECT_EQ(verdict.contexts[0].type, WeightType::kF16);
  EXPECT_EQ(verdict.contexts[0].context, 2048u);
  // A position takes 1024 bytes of f16, 544 of q8_0 or 288 of q4_0 (34 and 18 bytes for 32
  // elements), and 4 for its token: at most that many times as many.
  EXPECT_GT(*verdict.contexts[1].context, 2048u);
  EXPECT_LE(*verdict.contexts[1].context, 2048u * 1028 / 548);
  EXPECT_GT(*verdict.contexts[2].context, *verdict.contexts[1].context);
  EXPECT_LE(*verdict.contexts[2].context, 2048u * 1028 / 292);
}

// Heads of 16 cannot have scales for groups of 32.
TEST(Verdict, CachesThatTheModelCannotHave) {
  SomeModel model{TinyLlama()};
  const Verdict verdict = judged(model, device("orin-nano-8gb", 1000 * kMiB), {});
  EXPECT_EQ(verdict.contexts[0].context, 128u);
  EXPECT_FALSE(verdict.contexts[1].context);
  EXPECT_FALSE(verdict.contexts[2].context);
}

TEST(Verdict, ABufferBeyondOneAllocationIsARefusal) {
  SomeModel model;
  target::Target target = device("orin-nano-8gb", 0);
  target.largest_allocation = kMiB / 4;  // less than the embedding's 512 KiB
  const Verdict verdict = judged(model, target, {});
  EXPECT_EQ(verdict.answer, Answer::kDoesNotFit);
  EXPECT_FALSE(verdict.footprint);
  EXPECT_NE(verdict.refusal.find("largest safe allocation"), std::string::npos);
  for (const LargestContext& largest : verdict.contexts) EXPECT_EQ(largest.context, 0u);
}

TEST(Verdict, OtherErrorsAreErrors) {
  SomeModel model;
  Question question;
  question.plan = plan_of(32769);
  EXPECT_NE(gguf::error_of(judge(model.planner, device("host", 0), question), ExitCode::kUsage)
                .find("trained for at most 32768"),
            std::string::npos);
}

TEST(Verdict, PredictsFromBytesAndBandwidth) {
  SomeModel model;
  target::Target target = device("orin-nano-8gb", 0);
  target.bandwidth_gbps = 50;
  Question question;
  question.plan = plan_of(4096);
  const Verdict verdict = value_of(judge(model.planner, target, question));
  // Keys and values of 2 layers, 2 heads of 64 in f16.
  const uint64_t kv = 2 * 2 * uint64_t{4096} * 2 * 64 * 2;
  EXPECT_EQ(verdict.footprint->budget.kv, kv);
  const uint64_t bytes = verdict.footprint->weights_per_token + kv;
  EXPECT_EQ(verdict.prediction.bytes_per_token, bytes);
  EXPECT_DOUBLE_EQ(verdict.prediction.tokens_per_second, 50e9 / double(bytes));
  EXPECT_DOUBLE_EQ(verdict.prediction.load_seconds,
                   double(verdict.footprint->budget.weights) / kStorageBytesPerSecond);
  target.bandwidth_gbps = 0;
  EXPECT_EQ(value_of(judge(model.planner, target, question)).prediction.tokens_per_second, 0);
}

TEST(Targets, AllAreThoseWithABudget) {
  std::set<std::string> names;
  for (const target::Target& target : value_of(targets_of({}, true, false, {}))) {
    EXPECT_GT(target.budget_bytes, 0u) << target.name;
    EXPECT_TRUE(names.insert(target.name).second) << target.name;
  }
  EXPECT_EQ(names.count("host"), 0u);
  EXPECT_EQ(names.count("orin-nano-8gb"), 1u);
  EXPECT_EQ(names.count("thor-t5000"), 1u);
}

TEST(Targets, EveryModeOfADevice) {
  const auto targets = value_of(targets_of({"orin-nano-8gb"}, false, true, {}));
  const size_t modes = value_of(target::describe("orin-nano-8gb")).modes.size();
  ASSERT_EQ(targets.size(), modes);
  EXPECT_GT(modes, 2u);
  std::set<uint32_t> sm_counts;
  for (const target::Target& target : targets) sm_counts.insert(target.sm_count);
  EXPECT_EQ(sm_counts, (std::set<uint32_t>{4, 8}));
  // A mode by name is that mode.
  EXPECT_EQ(value_of(targets_of({"orin-nano-8gb@15w"}, false, true, {})).size(), 1u);
  // What has no modes is itself.
  EXPECT_EQ(value_of(targets_of({"host"}, false, true, {})).front().name, "host");
}

TEST(Targets, DesktopBudgets) {
  Question question;
  question.desktop = true;
  const auto targets = value_of(targets_of({"orin-nano-8gb"}, false, false, question));
  EXPECT_EQ(targets.front().budget_bytes, targets.front().budget_desktop_bytes);
  EXPECT_FALSE(static_cast<bool>(targets_of({}, true, false, question).takeError()));
  gguf::error_of(targets_of({"h200"}, false, false, question), ExitCode::kUnsupported);
  question.budget.limit = 1;  // says what the budget is
  EXPECT_FALSE(static_cast<bool>(targets_of({"h200"}, false, false, question).takeError()));
}

TEST(Targets, UnknownNamesAreErrors) {
  gguf::error_of(targets_of({"orin-banano"}, false, false, {}), ExitCode::kUnsupported);
  gguf::error_of(targets_of({"orin-banano"}, false, true, {}), ExitCode::kUnsupported);
}

}  // namespace
}  // namespace jllm::fit

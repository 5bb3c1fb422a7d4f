// Advice: every piece of it works when followed, the order is as documented, and useless advice is
// not given.
#include "compiler/fit/advice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "compiler/gguf/type_mix.h"
#include "tests/compiler/fit/some_model.h"

namespace jllm::fit {
namespace {

using Kind = Advice::Kind;

class AdviceTest : public testing::Test {
 protected:
  std::vector<Advice> advise(const target::Target& target, const Question& question) {
    return value_of(Adviser(model_.planner).advise(target, question));
  }
  static std::optional<Advice> find(const std::vector<Advice>& advice, Kind kind,
                                    const std::string& option) {
    const auto it = std::find_if(advice.begin(), advice.end(), [&](const Advice& a) {
      return a.kind == kind && a.option == option;
    });
    return it != advice.end() ? std::optional(*it) : std::nullopt;
  }
  static std::vector<Kind> kinds(const std::vector<Advice>& advice) {
    std::vector<Kind> kinds;
    for (const Advice& a : advice) kinds.push_back(a.kind);
    return kinds;
  }

  SomeModel model_;
};

Question asked(uint32_t context, WeightType kv = WeightType::kF16) {
  Question question;
  question.plan = plan_of(context, kv);
  return question;
}

TEST_F(AdviceTest, ASmallerCache) {
  const uint64_t with_q8 =
      model_.total(device("orin-nano-8gb", 0), plan_of(8192, WeightType::kQ8_0));
  const uint64_t with_q4 =
      model_.total(device("orin-nano-8gb", 0), plan_of(8192, WeightType::kQ4_0));
  // Enough for both.
  std::vector<Advice> advice = advise(device("orin-nano-8gb", with_q8), asked(8192));
  ASSERT_TRUE(find(advice, Kind::kKvType, "--kv q8_0"));
  EXPECT_EQ(find(advice, Kind::kKvType, "--kv q8_0")->free, 0u);
  EXPECT_EQ(find(advice, Kind::kKvType, "--kv q4_0")->free, with_q8 - with_q4);
  EXPECT_EQ(advice.front().option, "--kv q8_0") << "what hardly anybody notices comes first";
  // Enough for the smaller alone; the other takes a shorter context.
  advice = advise(device("orin-nano-8gb", with_q8 - 1), asked(8192));
  EXPECT_FALSE(find(advice, Kind::kKvType, "--kv q8_0"));
  EXPECT_TRUE(find(advice, Kind::kKvType, "--kv q4_0"));
  EXPECT_TRUE(find(advice, Kind::kCombination, "--context 8128 --kv q8_0"));
}

TEST_F(AdviceTest, NotACacheAsLargeAsTheOneAskedFor) {
  const uint64_t f16 = model_.total(device("orin-nano-8gb", 0), plan_of(8192));
  Question question = asked(16384, WeightType::kQ8_0);
  const std::vector<Advice> advice = advise(device("orin-nano-8gb", f16), question);
  for (const Advice& a : advice) EXPECT_EQ(a.option.find("q8_0"), std::string::npos) << a.option;
}

TEST_F(AdviceTest, NoSpeculationWhereItWasAskedFor) {
  const uint64_t without = model_.total(device("host", 0), plan_of(512));
  Question question = asked(512);
  EXPECT_FALSE(
      find(advise(device("host", without - 1), question), Kind::kSpeculation, "--speculate 0"));
  question.plan.speculate = 7;
  const auto found =
      find(advise(device("host", without + 5), question), Kind::kSpeculation, "--speculate 0");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->free, 5u);
}

TEST_F(AdviceTest, AShorterContext) {
  const target::Target any = device("orin-nano-8gb", 0);
  // A budget for 5000 positions holds 4992 = 78 * 64.
  const uint64_t budget = model_.total(any, plan_of(5000));
  const auto advice = advise(device("orin-nano-8gb", budget), asked(8192));
  const auto context = find(advice, Kind::kContext, "--context 4992");
  ASSERT_TRUE(context);
  EXPECT_EQ(context->free, budget - model_.total(any, plan_of(4992)));
}

// At least half of the context stands in front of 4-bit caches and other weights, less behind them.
TEST_F(AdviceTest, HowMuchContextIsLeftDecidesItsRank) {
  const target::Target any = device("orin-nano-8gb", 0);
  const auto rank = [&](uint32_t left) {
    const uint64_t budget = model_.total(any, plan_of(left));
    const auto all = advise(device("orin-nano-8gb", budget), asked(4096));
    const auto position = [&](Kind kind, const std::string& option) {
      const auto it = std::find_if(all.begin(), all.end(), [&](const Advice& a) {
        return a.kind == kind && (option.empty() || a.option == option);
      });
      return it - all.begin();
    };
    EXPECT_LT(position(Kind::kQuantisation, ""), all.end() - all.begin());
    return position(Kind::kContext, "") - position(Kind::kQuantisation, "");
  };
  EXPECT_LT(rank(2112), 0);
  EXPECT_GT(rank(1984), 0);
}

TEST_F(AdviceTest, TheBestQuantisationThatFits) {
  const target::Target any = device("orin-nano-8gb", 0);
  const auto with_mix = [&](const char* name) {
    const gguf::TypeMix& mix = *gguf::find_type_mix(name);
    const gguf::File file = model_.file.with_types([&](const gguf::TensorInfo& tensor) {
      return tensor.shape.size() > 1
                 ? gguf::mixed_type(mix, {2, true}, tensor.name, tensor.shape[0])
                 : tensor.type();
    });
    Planner planner(file);
    return value_of(planner.footprint(any, plan_of(512), {})).budget;
  };
  // In the tables' order the sizes fall.
  EXPECT_GT(with_mix("q8_0").weights, with_mix("q6_k").weights);
  EXPECT_GT(with_mix("q6_k").weights, with_mix("q4_k_m").weights);
  for (const char* name : {"q8_0", "q6_k", "q4_k_m"}) {
    const uint64_t total = with_mix(name).total();
    const auto advice = advise(device("orin-nano-8gb", total), asked(512));
    const auto found = find(advice, Kind::kQuantisation, "");
    ASSERT_TRUE(found) << name;
    EXPECT_NE(found->text.find("in " + llvm::StringRef(name).upper() + ","), std::string::npos)
        << found->text;
    EXPECT_EQ(found->free, 0u);
  }
}

TEST_F(AdviceTest, NoQuantisationThatIsNotSmaller) {
  TinyLlama tiny = SomeModel::shape();
  tiny.type = WeightType::kQ4_0;
  tiny.types = {{"token_embd.weight", WeightType::kQ4_0}};
  SomeModel small(tiny);
  const uint64_t total = small.total(device("orin-nano-8gb", 0), plan_of(4096));
  const auto advice =
      value_of(Adviser(small.planner).advise(device("orin-nano-8gb", total - 1), asked(4096)));
  EXPECT_FALSE(find(advice, Kind::kQuantisation, ""));
}

TEST_F(AdviceTest, HeadlessBeforeAllElse) {
  target::Target target = device("orin-nano-8gb", 0);
  const uint64_t total = model_.total(target, plan_of(4096));
  target.budget_bytes = total - 1;
  target.budget_headless_bytes = total + 7;
  Question question = asked(4096);
  question.desktop = true;
  std::vector<Advice> advice = advise(target, question);
  ASSERT_EQ(advice.front().kind, Kind::kHeadless);
  EXPECT_EQ(advice.front().free, 7u);
  // Nobody who has no desktop needs to hear of it.
  question.desktop = false;
  advice = advise(target, question);
  EXPECT_NE(advice.front().kind, Kind::kHeadless);
}

TEST_F(AdviceTest, TheSmallestLargerDevice) {
  const auto advice = advise(device("orin-nano-4gb", kMiB), asked(4096));
  ASSERT_FALSE(advice.empty());
  EXPECT_EQ(advice.back().kind, Kind::kTarget);
  // Of the compilable devices the one with the smallest budget, and the first by name of those.
  EXPECT_EQ(advice.back().option, "--target orin-nano-4gb");
  // A budget given by hand holds on every device.
  Question question = asked(4096);
  question.budget.limit = kMiB;
  EXPECT_EQ(kinds(advise(device("orin-nano-4gb", kMiB), question)), std::vector<Kind>{});
}

TEST_F(AdviceTest, CombinationsWhenNothingElseHelps) {
  const target::Target any = device("orin-nano-8gb", 0);
  const gguf::TypeMix& mix = *gguf::find_type_mix("q4_0");
  const gguf::File file = model_.file.with_types([&](const gguf::TensorInfo& tensor) {
    return tensor.shape.size() > 1 ? gguf::mixed_type(mix, {2, true}, tensor.name, tensor.shape[0])
                                   : tensor.type();
  });
  Planner planner(file);
  const uint64_t least =
      value_of(planner.footprint(any, plan_of(2048, WeightType::kQ4_0), {})).budget.total();
  Question question = asked(2048);
  question.budget.limit = least;
  const auto advice = advise(any, question);
  ASSERT_EQ(kinds(advice), std::vector<Kind>{Kind::kCombination});
  EXPECT_EQ(advice[0].text, "the same model in Q4_0 and a KV cache in q4_0");
  EXPECT_EQ(advice[0].free, 0u);
  question.budget.limit = least - 1;
  EXPECT_EQ(kinds(advise(any, question)), std::vector<Kind>{});
}

TEST_F(AdviceTest, TheErrorOfCompileSaysTheSame) {
  const uint64_t q8 = model_.total(device("orin-nano-8gb", 0), plan_of(8192, WeightType::kQ8_0));
  const target::Target target = device("orin-nano-8gb", q8);
  const Question question = asked(8192);
  const Verdict verdict = value_of(judge(model_.planner, target, question));
  const auto [code, text] = take_error(does_not_fit(model_.planner, verdict, question));
  EXPECT_EQ(code, ExitCode::kDoesNotFit);
  EXPECT_NE(text.find("tiny with a context of 8192 does not fit Jetson Orin Nano 8GB"),
            std::string::npos)
      << text;
  size_t position = 0;
  for (const Advice& a : advise(target, question)) {
    position = text.find("\n  " + a.text, position);
    EXPECT_NE(position, std::string::npos) << a.text << " is not in its place in\n" << text;
  }
}

}  // namespace
}  // namespace jllm::fit

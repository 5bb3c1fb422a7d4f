// The sampling settings as the executor takes them: what it refuses, and that seeds reproduce. What
// the sampler computes is tested with the kernels.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <set>

#include "tests/executor/core/plans.h"

namespace jllm {
namespace {

using test::host_plan;
using test::RunningPlan;
using test::Tokens;

const Tokens kPrompt = {1, 17, 300, 45};

struct BadSampling {
  const char* name;
  std::function<void(Sampling*)> edit;
};

void PrintTo(const BadSampling& bad, std::ostream* os) { *os << bad.name; }

class RefusedSampling : public testing::TestWithParam<BadSampling> {};

TEST_P(RefusedSampling, LeavesTheOldSettings) {
  RunningPlan run(host_plan());
  ASSERT_TRUE(run.ok());
  run.prefill(kPrompt);
  const Tokens greedy = run.generate(5);
  Sampling sampling;
  sampling.temperature = 2;
  GetParam().edit(&sampling);
  EXPECT_EQ(run->set_sampling(sampling), Error::kBadArgument);
  EXPECT_STREQ(run->last_error(),
               "temperature and min-p must be at least 0, top-p and repeat penalty above 0");
  run.rewind(4);
  EXPECT_EQ(run.generate(5), greedy);
}

const BadSampling kBad[] = {
    {"NegativeTemperature", [](Sampling* s) { s->temperature = -0.1f; }},
    {"NanTemperature", [](Sampling* s) { s->temperature = NAN; }},
    {"ZeroTopP", [](Sampling* s) { s->top_p = 0; }},
    {"NanTopP", [](Sampling* s) { s->top_p = NAN; }},
    {"NegativeMinP", [](Sampling* s) { s->min_p = -0.1f; }},
    {"MinPAboveOne", [](Sampling* s) { s->min_p = 1.1f; }},
    {"NanMinP", [](Sampling* s) { s->min_p = NAN; }},
    {"ZeroPenalty", [](Sampling* s) { s->repeat_penalty = 0; }},
    {"NegativePenalty", [](Sampling* s) { s->repeat_penalty = -1; }},
    {"NanPenalty", [](Sampling* s) { s->repeat_penalty = NAN; }},
};

INSTANTIATE_TEST_SUITE_P(All, RefusedSampling, testing::ValuesIn(kBad),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(SamplingSettings, EdgesThatMeanOffAreTaken) {
  RunningPlan run(host_plan());
  ASSERT_TRUE(run.ok());
  run.prefill(kPrompt);
  const Tokens greedy = run.generate(5);
  Sampling off;
  off.top_k = UINT32_MAX;
  off.top_p = 1;
  off.min_p = 0;
  off.repeat_penalty = 1;
  off.repeat_last_n = UINT32_MAX;
  off.seed = UINT64_MAX;
  run.set_sampling(off);
  run.rewind(4);
  EXPECT_EQ(run.generate(5), greedy);
}

class Seeds : public testing::Test {
 protected:
  Tokens draw(uint64_t seed, uint32_t n = 20) {
    Sampling sampling;
    sampling.temperature = 1;
    sampling.seed = seed;
    sampling.ignore_end = true;
    run_.set_sampling(sampling);
    run_.rewind(0);
    run_.prefill(kPrompt);
    return run_.generate(n);
  }

  RunningPlan run_{host_plan()};
};

TEST_F(Seeds, TheSameSeedDrawsTheSameTokens) {
  const Tokens first = draw(42);
  EXPECT_EQ(draw(42), first);
  // Another executor, another number of threads.
  ExecutorOptions options;
  options.threads = 2;
  RunningPlan other(host_plan(), options);
  Sampling sampling;
  sampling.temperature = 1;
  sampling.seed = 42;
  sampling.ignore_end = true;
  other.set_sampling(sampling);
  other.prefill(kPrompt);
  EXPECT_EQ(other.generate(20), first);
}

TEST_F(Seeds, OtherSeedsDrawOtherTokens) {
  // All 64 bits count. 20 draws at temperature 1 from this model's logits (standard deviation 3)
  // agree by chance with a probability below 2^-20.
  std::set<Tokens> seen;
  const uint64_t seeds[] = {0, 1, 2, uint64_t{1} << 31, uint64_t{1} << 32, uint64_t{1} << 63};
  for (const uint64_t seed : seeds) EXPECT_TRUE(seen.insert(draw(seed)).second) << seed;
}

TEST_F(Seeds, ContinuingIsNotRestarting) {
  // The draws of one sequence go on where they stood; set_sampling starts them anew.
  const Tokens all = draw(7, 20);
  draw(7, 8);
  const Tokens rest = run_.generate(12);
  EXPECT_EQ(rest, Tokens(all.begin() + 8, all.end()));
}

TEST_F(Seeds, GreedyNeedsNone) {
  run_.set_sampling({});
  run_.prefill(kPrompt);
  const Tokens greedy = run_.generate(10);
  Sampling seeded;
  seeded.seed = 99;
  run_.set_sampling(seeded);
  run_.rewind(4);
  EXPECT_EQ(run_.generate(10), greedy);
}

TEST(SamplingSettings, APenaltyChangesARepeatingText) {
  RunningPlan run(host_plan());
  Sampling strong;
  strong.repeat_penalty = 100;
  strong.ignore_end = true;
  run.set_sampling(strong);
  run.prefill(kPrompt);
  const Tokens tokens = run.generate(40);
  // Positive logits are divided by 100: among 512 tokens with logits of deviation 3 there is always
  // a fresh one that wins, so nothing repeats.
  EXPECT_EQ(std::set<uint32_t>(tokens.begin(), tokens.end()).size(), tokens.size());
}

}  // namespace
}  // namespace jllm

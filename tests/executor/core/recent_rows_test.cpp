// Layers that remember the last positions only, as LFM2's short convolutions do: prompts in any
// split, rewinding within what they remember and beyond, drafts. The context is several times as
// long as the memory, so that all of it is overwritten again and again.
#include <gtest/gtest.h>

#include "tests/support/edited_plan.h"
#include "tests/support/recipe.h"
#include "tests/support/speculation.h"

namespace jllm {
namespace {

using test::Logits;
using test::PlanInMemory;
using test::random_tokens;
using test::RunningPlan;
using test::Tokens;

constexpr uint32_t kVocab = 512, kChunk = 32, kPrompt = 300;

const std::vector<uint8_t>& plan_bytes() {
  static const std::vector<uint8_t> bytes = [] {
    test::PlanRecipe recipe;
    recipe.like = "lfm2-1.2b";
    recipe.layers = 4;  // the third attends
    recipe.model_context = 512;
    recipe.context = 400;
    recipe.prefill_chunk = kChunk;
    recipe.speculate = 7;
    return test::plan_bytes(recipe);
  }();
  return bytes;
}

class RecentRows : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(run_.ok()) << run_.create_message;
    ASSERT_GT(reach(), kRingSlots + kMaxDraft) << "dropping what is in flight must cost nothing";
    ASSERT_LT(2 * reach(), kPrompt) << "the memory must be overwritten";
  }

  static uint32_t reach() { return plan().view().plan().model()->rewind_reach(); }
  static const PlanInMemory& plan() {
    static const PlanInMemory plan(plan_bytes());
    return plan;
  }
  static Tokens first(uint32_t n) { return {prompt().begin(), prompt().begin() + n}; }
  static const Tokens& prompt() {
    static const Tokens tokens = random_tokens(kPrompt, kVocab, 21);
    return tokens;
  }
  static Tokens between(uint32_t begin, uint32_t end) {
    return {prompt().begin() + begin, prompt().begin() + end};
  }

  RunningPlan run_{plan()};
};

TEST_F(RecentRows, EverySplitOfAPromptGivesTheSameBits) {
  const Logits expected = run_.force_all(prompt()).back();
  const std::vector<std::vector<uint32_t>> splits = {{kPrompt},
                                                     {1, kPrompt - 1},
                                                     {2, kPrompt - 2},
                                                     {kPrompt - 1, 1},
                                                     {127, 1, 1, 1, kPrompt - 130},
                                                     {129, kPrompt - 129},
                                                     std::vector<uint32_t>(kPrompt / 3, 3),
                                                     std::vector<uint32_t>(kPrompt / 10, 10)};
  for (const std::vector<uint32_t>& split : splits) {
    run_.rewind(0);
    uint32_t begin = 0;
    for (const uint32_t n : split) {
      run_.prefill(between(begin, begin + n));
      begin += n;
    }
    ASSERT_EQ(begin, kPrompt);
    run_.step();
    EXPECT_EQ(run_.logits(), expected) << testing::PrintToString(split);
  }
}

TEST_F(RecentRows, RewindingReproducesWhatFollowed) {
  run_.prefill(prompt());
  const Tokens sampled = run_.generate(10);
  const Logits last = run_.logits();
  Tokens sequence = prompt();
  sequence.insert(sequence.end(), sampled.begin(), sampled.end());
  const auto length = static_cast<uint32_t>(sequence.size());
  // Around the furthest that memory reaches, and on both sides of it.
  const uint32_t edge = length + kMaxDraft - reach() + 1;
  for (const uint32_t keep : {length - 1, length - 30, edge + 1, edge, edge - 1, edge - 2, 150u,
                              kChunk + 1, kChunk, 3u, 2u, 1u, 0u}) {
    SCOPED_TRACE(keep);
    run_.rewind(keep);
    EXPECT_EQ(run_->count(), keep);
    if (keep < kPrompt) run_.prefill(between(keep, kPrompt));
    const uint32_t known = keep > kPrompt ? keep - kPrompt : 0;  // sampled tokens that were kept
    EXPECT_EQ(run_.generate(10 - known), Tokens(sampled.begin() + known, sampled.end()));
    EXPECT_EQ(run_.logits(), last);
  }
}

TEST_F(RecentRows, AStepFollowsARewindAsItFollowsAPrompt) {
  const std::vector<Logits> expected = run_.force_all(prompt());
  for (const uint32_t keep : {290u, 200u, 180u, 40u, 1u}) {
    run_.rewind(0);
    run_.prefill(prompt());
    run_.rewind(keep);
    run_.step();
    EXPECT_EQ(run_.logits(), expected[keep - 1]) << keep;
  }
}

// Short steps back add up: what counts is how far the sequence once went.
TEST_F(RecentRows, RewindingBitByBit) {
  const std::vector<Logits> expected = run_.force_all(prompt());
  for (uint32_t keep = kPrompt - 40; keep > 40; keep -= 40) run_.rewind(keep);
  run_.rewind(30);
  run_.step();
  EXPECT_EQ(run_.logits(), expected[29]);
  // Forwards again, and back by less than was gone.
  run_.rewind(30);
  run_.prefill(between(30, 90));
  run_.rewind(60);
  ASSERT_EQ(run_->force(prompt()[60]), Error::kOk);
  EXPECT_EQ(run_.logits(), expected[60]);
}

TEST_F(RecentRows, WhatIsInFlightCanBeDropped) {
  run_.prefill(prompt());
  const Tokens expected = run_.generate(20);
  run_.rewind(0);
  run_.prefill(prompt());
  for (uint32_t i = 0; i < kRingSlots; ++i) ASSERT_EQ(run_->enqueue(), Error::kOk);
  ASSERT_TRUE(run_->next().ok());
  run_.rewind(kPrompt + 1);
  EXPECT_EQ(run_.generate(19), Tokens(expected.begin() + 1, expected.end()));
}

// The same with a plan that claims to remember everything: what the tests above see is real.
TEST_F(RecentRows, WithoutConsumingAgainTheResultIsWrong) {
  test::EditedPlan edited(plan_bytes());
  edited.tables.model->rewind_reach = 0;
  const PlanInMemory forgetful(edited.file());
  ASSERT_EQ(forgetful.error, Error::kOk) << forgetful.message;
  RunningPlan run(forgetful);
  ASSERT_TRUE(run.ok()) << run.create_message;
  const std::vector<Logits> expected = run.force_all(prompt());
  run.rewind(200);  // within reach
  run.step();
  EXPECT_EQ(run.logits(), expected[199]);
  run.rewind(0);
  run.prefill(prompt());
  run.rewind(40);
  run.step();
  EXPECT_GT(test::max_difference(run.logits(), expected[39]), 1e-3);
}

TEST_F(RecentRows, DraftsChangeNoTokenAndNoLogit) {
  const Tokens text = test::repetitive_prompt(kPrompt - 100, kVocab);
  for (const test::NamedSampling& s : test::samplings()) {
    SCOPED_TRACE(s.name);
    const test::Plain plain = test::decode_plainly(run_, text, s.sampling, 300);
    ASSERT_EQ(plain.done, kContextFull);
    test::check_drafts(run_, text, s.sampling, plain);
    test::check_generate(run_, text, s.sampling, plain, UINT32_MAX);
  }
}

}  // namespace
}  // namespace jllm

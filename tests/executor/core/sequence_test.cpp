// Sequences: prompts in any split, rewinding, a full context, and calls that make no sense. The
// host backend computes every row by the same operations in the same order whatever rows stand
// beside it, so equal sequences must give equal bits.
#include <gtest/gtest.h>

#include "tests/executor/core/plans.h"

namespace jllm {
namespace {

using test::host_plan;
using test::Logits;
using test::random_tokens;
using test::RunningPlan;
using test::Tokens;

Tokens prompt_of(uint32_t n) { return random_tokens(n, test::kVocab, n); }

class Sequence : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(run_.ok()) << run_.create_message; }

  // Logits of the next token behind what was prefilled.
  Logits next_logits() {
    run_.step();
    return run_.logits();
  }

  RunningPlan run_{host_plan()};
};

TEST_F(Sequence, EverySplitOfAPromptGivesTheSameBits) {
  const Tokens prompt = prompt_of(50);
  const Logits expected = run_.force_all(prompt).back();
  const std::vector<std::vector<uint32_t>> splits = {
      {50},     // 32 + the smallest chunk that takes 18
      {1, 49},  // a single token waits for the decode graph
      {49, 1},
      {16, 34},
      {17, 33},
      {32, 18},
      {31, 19},
      {1, 1, 48},
      {15, 1, 34},
      {33, 16, 1},
      {10, 10, 10, 20},
      {7, 11, 13, 19},
      std::vector<uint32_t>(50, 1)};
  for (const std::vector<uint32_t>& split : splits) {
    run_.rewind(0);
    size_t begin = 0;
    for (const uint32_t n : split) {
      run_.prefill({prompt.begin() + static_cast<ptrdiff_t>(begin),
                    prompt.begin() + static_cast<ptrdiff_t>(begin + n)});
      begin += n;
      ASSERT_EQ(run_->count(), begin);
    }
    EXPECT_EQ(next_logits(), expected) << testing::PrintToString(split);
  }
}

TEST_F(Sequence, EveryPromptLengthAgreesWithTokensOneByOne) {
  const Tokens prompt = prompt_of(test::kContext);
  const std::vector<Logits> expected = run_.force_all(prompt);
  for (uint32_t n = 1; n <= test::kContext; ++n) {
    run_.rewind(0);
    run_.prefill({prompt.begin(), prompt.begin() + n});
    ASSERT_EQ(next_logits(), expected[n - 1]) << n << " tokens";
  }
}

TEST_F(Sequence, ForcingBehindAPromptAndBehindSampledTokens) {
  const Tokens prompt = prompt_of(30);
  const std::vector<Logits> expected = run_.force_all(prompt);
  // Behind a prompt whose head has not run yet.
  run_.rewind(0);
  run_.prefill({prompt.begin(), prompt.begin() + 20});
  for (size_t i = 20; i < 30; ++i) {
    ASSERT_EQ(run_->force(prompt[i]), Error::kOk);
    ASSERT_EQ(run_.logits(), expected[i]) << i;
  }
  // Behind sampled tokens: what counts is the sequence, not how it came about.
  run_.rewind(0);
  run_.prefill({prompt.begin(), prompt.begin() + 5});
  Tokens sequence(prompt.begin(), prompt.begin() + 5);
  for (const uint32_t token : run_.generate(4)) sequence.push_back(token);
  sequence.push_back(99);
  ASSERT_EQ(run_->force(99), Error::kOk);
  const Logits forced = run_.logits();
  EXPECT_EQ(run_->count(), sequence.size());
  EXPECT_EQ(forced, run_.force_all(sequence).back());
}

// Where the prompt ended in the middle of a chunk, and with every order of calls behind.
TEST_F(Sequence, TokensAfterAForcedOneBehindAChunk) {
  const Tokens prompt = prompt_of(50);
  run_.prefill(prompt);
  const Tokens expected = run_.generate(5);
  run_.rewind(0);
  run_.prefill(prompt);
  ASSERT_EQ(run_->force(expected[0]), Error::kOk);
  EXPECT_EQ(run_.generate(2), (Tokens{expected[1], expected[2]}));
  ASSERT_EQ(run_->force(expected[3]), Error::kOk);
  EXPECT_EQ(run_.generate(1), (Tokens{expected[4]}));
  run_.rewind(50);
  ASSERT_EQ(run_->force(expected[0]), Error::kOk);
  run_.prefill({expected[1], expected[2]});
  EXPECT_EQ(run_.generate(2), (Tokens{expected[3], expected[4]}));
}

TEST_F(Sequence, TokensAfterAForcedOneContinueIt) {
  const Tokens prompt = prompt_of(12);
  run_.prefill(prompt);
  const Tokens expected = run_.generate(6);
  run_.force_all(prompt);
  EXPECT_EQ(run_.generate(6), expected);
}

TEST_F(Sequence, RewindingReproducesWhatFollowed) {
  const Tokens prompt = prompt_of(20);
  run_.prefill(prompt);
  const Tokens first = run_.generate(10);
  const Logits last = run_.logits();
  for (const uint32_t keep : {29u, 25u, 21u, 20u, 11u, 1u, 0u}) {
    run_.rewind(keep);
    EXPECT_EQ(run_->count(), keep);
    Tokens missing;
    for (uint32_t i = keep; i < 20; ++i) missing.push_back(prompt[i]);
    if (!missing.empty()) run_.prefill(missing);
    const uint32_t known = keep > 20 ? keep - 20 : 0;  // sampled tokens that were kept
    const Tokens again = run_.generate(10 - known);
    EXPECT_EQ(again, Tokens(first.begin() + known, first.end())) << "rewound to " << keep;
    EXPECT_EQ(run_.logits(), last) << "rewound to " << keep;
  }
}

TEST_F(Sequence, RewindingForgetsWhatStoodBehind) {
  const Tokens prompt = prompt_of(40);
  Tokens other(prompt.begin(), prompt.begin() + 10);
  for (const uint32_t token : random_tokens(15, test::kVocab, 77)) other.push_back(token);
  const Logits expected = run_.force_all(other).back();
  run_.rewind(0);
  run_.prefill(prompt);
  run_.generate(5);
  run_.rewind(10);
  run_.prefill({other.begin() + 10, other.end()});
  EXPECT_EQ(next_logits(), expected);
}

TEST_F(Sequence, RewindingDropsTokensInFlight) {
  const Tokens prompt = prompt_of(20);
  run_.prefill(prompt);
  const Tokens expected = run_.generate(3);
  run_.rewind(0);
  run_.prefill(prompt);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(run_->enqueue(), Error::kOk);
  run_.rewind(20);
  EXPECT_EQ(run_->in_flight(), 0u);
  EXPECT_EQ(run_->count(), 20u);
  EXPECT_EQ(run_.generate(3), expected);
}

TEST_F(Sequence, CannotRewindForward) {
  run_.prefill(prompt_of(5));
  EXPECT_EQ(run_->rewind(6), Error::kBadArgument);
  EXPECT_STREQ(run_->last_error(), "cannot rewind to 6 tokens: the sequence has 5");
  EXPECT_EQ(run_->count(), 5u);
}

TEST_F(Sequence, NothingToDoWithoutAPrompt) {
  EXPECT_EQ(run_->enqueue(), Error::kNothingToDo);
  EXPECT_STREQ(run_->last_error(), "there is no prompt: call prefill() first");
  EXPECT_EQ(run_->next().error(), Error::kNothingToDo);
  EXPECT_STREQ(run_->last_error(), "no token was asked for");
  EXPECT_EQ(run_->prefill(nullptr, 0), Error::kOk);
  EXPECT_EQ(run_->count(), 0u);
  EXPECT_EQ(run_->enqueue(), Error::kNothingToDo);
}

TEST_F(Sequence, AnEmptyPromptChangesNothing) {
  const Tokens prompt = prompt_of(18);
  run_.prefill(prompt);
  const Tokens expected = run_.generate(4);
  run_.rewind(0);
  run_.prefill(prompt);
  EXPECT_EQ(run_->prefill(nullptr, 0), Error::kOk);
  EXPECT_EQ(run_.generate(4), expected);
}

TEST_F(Sequence, TokensOutsideTheVocabularyAreRefusedAndChangeNothing) {
  const Tokens prompt = prompt_of(9);
  const Logits expected = run_.force_all(prompt).back();
  run_.rewind(0);
  run_.prefill(prompt);
  for (const uint32_t bad : {test::kVocab, test::kVocab + 1, UINT32_MAX}) {
    const Tokens more = {1, 2, bad};
    EXPECT_EQ(run_->prefill(more.data(), 3), Error::kBadArgument);
    EXPECT_EQ(std::string(run_->last_error()),
              "token id " + std::to_string(bad) + " is not in the vocabulary of 512");
    EXPECT_EQ(run_->count(), 9u);
  }
  EXPECT_EQ(next_logits(), expected);
}

TEST_F(Sequence, ForcingATokenOutsideTheVocabularyIsRefused) {
  run_.prefill(prompt_of(9));
  EXPECT_EQ(run_->force(test::kVocab), Error::kBadArgument);
  EXPECT_EQ(run_->count(), 9u);
  EXPECT_EQ(run_->force(test::kVocab - 1), Error::kOk);
  EXPECT_EQ(run_->count(), 10u);
}

TEST_F(Sequence, APromptThatDoesNotFitIsRefusedAndChangesNothing) {
  const Tokens prompt = prompt_of(40);
  const Logits expected = run_.force_all(prompt).back();
  run_.rewind(0);
  run_.prefill(prompt);
  const Tokens more = prompt_of(25);
  EXPECT_EQ(run_->prefill(more.data(), 25), Error::kContextFull);
  EXPECT_STREQ(run_->last_error(),
               "25 more tokens do not fit: 40 of 64 positions of the context are taken");
  EXPECT_EQ(run_->prefill(more.data(), UINT32_MAX), Error::kContextFull);
  EXPECT_EQ(run_->count(), 40u);
  EXPECT_EQ(next_logits(), expected);
}

TEST_F(Sequence, AFullContextEndsTheSequence) {
  run_.prefill(prompt_of(test::kContext - 3));
  for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(run_.step().done, kRunning) << i;
  EXPECT_EQ(run_->count(), test::kContext);
  // The last position still predicts a token, which has no place any more.
  EXPECT_EQ(run_.step().done, jllm::kContextFull);
  EXPECT_EQ(run_->count(), test::kContext);
  EXPECT_EQ(run_->enqueue(), Error::kNothingToDo);
  EXPECT_STREQ(run_->last_error(), "the sequence has ended; prefill() or rewind() first");
  const uint32_t token = 1;
  EXPECT_EQ(run_->prefill(&token, 1), Error::kContextFull);
  EXPECT_EQ(run_->force(1), Error::kContextFull);
}

TEST_F(Sequence, AFullContextGoesOnAfterRewinding) {
  const Tokens prompt = prompt_of(test::kContext);
  const Logits expected = run_.force_all({prompt.begin(), prompt.begin() + 30}).back();
  run_.rewind(0);
  run_.prefill(prompt);
  EXPECT_EQ(run_.step().done, jllm::kContextFull);
  run_.rewind(30);
  EXPECT_EQ(next_logits(), expected);
}

TEST_F(Sequence, ReplaysBehindTheEndAreDropped) {
  run_.prefill(prompt_of(test::kContext - 1));
  for (int i = 0; i < 6; ++i) ASSERT_EQ(run_->enqueue(), Error::kOk);
  EXPECT_EQ(run_->next().value().done, kRunning);
  EXPECT_EQ(run_->next().value().done, jllm::kContextFull);
  EXPECT_EQ(run_->in_flight(), 4u);
  EXPECT_EQ(run_->next().value().done, jllm::kContextFull);
  EXPECT_EQ(run_->in_flight(), 0u);
  EXPECT_EQ(run_->count(), test::kContext);
}

TEST_F(Sequence, AtMostOneRingOfTokensInFlight) {
  // Long enough for no ring's worth of tokens: the limit counts what was asked for, also behind the
  // end.
  run_.prefill(prompt_of(2));
  for (uint32_t i = 0; i < kRingSlots; ++i) ASSERT_EQ(run_->enqueue(), Error::kOk) << i;
  EXPECT_EQ(run_->in_flight(), kRingSlots);
  EXPECT_EQ(run_->enqueue(), Error::kBadArgument);
  EXPECT_STREQ(run_->last_error(), "64 tokens are in flight already");
  ASSERT_TRUE(run_->next().ok());
  EXPECT_EQ(run_->enqueue(), Error::kOk);
}

TEST_F(Sequence, TokensAskedForAheadAreTheSame) {
  const Tokens prompt = prompt_of(10);
  run_.prefill(prompt);
  const Tokens expected = run_.generate(40);
  run_.rewind(0);
  run_.prefill(prompt);
  Tokens ahead;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 10; ++i) ASSERT_EQ(run_->enqueue(), Error::kOk);
    for (int i = 0; i < 10; ++i) {
      const Result<SampledToken> token = run_->next();
      ASSERT_TRUE(token.ok());
      ahead.push_back(token.value().id);
    }
  }
  EXPECT_EQ(ahead, expected);
}

TEST_F(Sequence, TheRingGoesRoundManyTimes) {
  const Tokens prompt = prompt_of(3);
  run_.prefill(prompt);
  const Tokens expected = run_.generate(50);
  for (int round = 0; round < 5; ++round) {  // 250 tokens through 64 slots
    run_.rewind(3);
    ASSERT_EQ(run_.generate(50), expected) << round;
  }
}

TEST(Threads, DoNotChangeABit) {
  const Tokens prompt = prompt_of(37);
  Tokens expected;
  Logits expected_logits;
  for (const unsigned threads : {1u, 2u, 3u, 4u}) {
    ExecutorOptions options;
    options.threads = threads;
    RunningPlan run(host_plan(), options);
    ASSERT_TRUE(run.ok()) << run.create_message;
    run.prefill(prompt);
    const Tokens tokens = run.generate(8);
    if (threads == 1) {
      expected = tokens;
      expected_logits = run.logits();
    }
    EXPECT_EQ(tokens, expected) << threads;
    EXPECT_EQ(run.logits(), expected_logits) << threads;
  }
}

}  // namespace
}  // namespace jllm

// begin() and step(): the same tokens as prefill() and generate(), one replay at a time, and what
// other calls do while a prompt is consumed.
#include <gtest/gtest.h>

#include "tests/executor/core/plans.h"

namespace jllm {
namespace {

using test::host_plan;
using test::Logits;
using test::random_tokens;
using test::RunningPlan;
using test::Tokens;

constexpr uint32_t kLargestChunk = 32;

Tokens prompt_of(uint32_t n) { return random_tokens(n, test::kVocab, n); }

class Step : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(run_.ok() && other_.ok());
    Sampling sampling;
    sampling.ignore_end = true;
    run_.set_sampling(sampling);
    other_.set_sampling(sampling);
  }

  void begin(const Tokens& tokens) {
    ASSERT_EQ(run_->begin(tokens.data(), static_cast<uint32_t>(tokens.size())), Error::kOk)
        << run_->last_error();
  }
  Progress step() {
    const Result<Progress> progress = run_->step();
    EXPECT_TRUE(progress.ok()) << run_->last_error();
    return progress.value();
  }
  // Steps until a token comes.
  uint32_t step_to_token() {
    for (;;) {
      const Progress progress = step();
      if (progress.event != Progress::kPrompt) return progress.token.id;
    }
  }
  // What prefill() leads to.
  Tokens expected(const Tokens& prompt, uint32_t n) {
    other_.rewind(0);
    other_.prefill(prompt);
    return other_.generate(n);
  }

  RunningPlan run_{host_plan()};
  RunningPlan other_{host_plan()};
};

TEST_F(Step, CountsThePromptAndThenMakesTheSameTokens) {
  for (const uint32_t n : {1u, 2u, 16u, 17u, 32u, 33u, 50u, 55u}) {
    SCOPED_TRACE(n);
    run_.rewind(0);
    begin(prompt_of(n));
    EXPECT_EQ(run_->count(), n);
    uint32_t consumed = 0;
    while (n > 1 && consumed < n) {
      const Progress progress = step();
      ASSERT_EQ(progress.event, Progress::kPrompt);
      EXPECT_EQ(progress.total, n);
      EXPECT_GT(progress.consumed, consumed);
      EXPECT_LE(progress.consumed - consumed, kLargestChunk);
      consumed = progress.consumed;
    }
    Tokens made;
    for (int i = 0; i < 6; ++i) {
      const Progress progress = step();
      ASSERT_EQ(progress.event, Progress::kToken);
      made.push_back(progress.token.id);
    }
    EXPECT_EQ(made, expected(prompt_of(n), 6));
    EXPECT_EQ(run_.logits(), other_.logits());
  }
}

TEST_F(Step, EndsWithTheContext) {
  begin(prompt_of(test::kContext - 2));
  Progress last = step();
  while (last.event == Progress::kPrompt || last.token.done == kRunning) last = step();
  EXPECT_EQ(last.event, Progress::kToken);
  EXPECT_EQ(last.token.done, kContextFull);
  EXPECT_EQ(step().event, Progress::kEnd);
  EXPECT_EQ(step().event, Progress::kEnd);
  run_.rewind(0);
  begin(prompt_of(3));
  EXPECT_EQ(step_to_token(), expected(prompt_of(3), 1)[0]);
}

TEST_F(Step, WithoutAPromptThereIsNothingToDo) {
  const Result<Progress> progress = run_->step();
  EXPECT_EQ(progress.error(), Error::kNothingToDo);
}

TEST_F(Step, MoreOfAPromptMayComeWhileItIsConsumed) {
  const Tokens prompt = prompt_of(50);
  begin({prompt.begin(), prompt.begin() + 40});
  EXPECT_EQ(step().consumed, kLargestChunk);
  begin({prompt.begin() + 40, prompt.end()});
  const Progress progress = step();
  EXPECT_EQ(progress.event, Progress::kPrompt);
  EXPECT_EQ(progress.total, 50 - kLargestChunk);
  EXPECT_EQ(step_to_token(), expected(prompt, 1)[0]);
}

TEST_F(Step, OtherCallsConsumeWhatIsLeftOfThePrompt) {
  const Tokens prompt = prompt_of(50);
  const Tokens wanted = expected(prompt, 3);
  // enqueue() and next(), at every stage.
  for (uint32_t steps = 0; steps <= 2; ++steps) {
    SCOPED_TRACE(steps);
    run_.rewind(0);
    begin(prompt);
    for (uint32_t i = 0; i < steps; ++i) step();
    EXPECT_EQ(run_.generate(3), wanted);
    // rewind() into what was consumed, what was not, and to the end of it.
    for (const uint32_t kept : {10u, 33u, 49u, 50u}) {
      run_.rewind(0);
      begin(prompt);
      for (uint32_t i = 0; i < steps; ++i) step();
      run_.rewind(kept);
      EXPECT_EQ(run_->count(), kept);
      EXPECT_EQ(step_to_token(), expected({prompt.begin(), prompt.begin() + kept}, 1)[0]) << kept;
    }
    // prefill() behind it.
    run_.rewind(0);
    begin({prompt.begin(), prompt.begin() + 45});
    for (uint32_t i = 0; i < steps; ++i) step();
    run_.prefill({prompt.begin() + 45, prompt.end()});
    EXPECT_EQ(run_.generate(3), wanted);
    // force().
    run_.rewind(0);
    begin(prompt);
    for (uint32_t i = 0; i < steps; ++i) step();
    EXPECT_EQ(run_->force(wanted[0]), Error::kOk);
    Tokens longer = prompt;
    longer.push_back(wanted[0]);
    EXPECT_EQ(run_.logits(), other_.force_all(longer).back());
  }
}

TEST_F(Step, ARefusedPromptChangesNothing) {
  const Tokens prompt = prompt_of(40);
  begin(prompt);
  step();
  const uint32_t unknown = test::kVocab;
  EXPECT_EQ(run_->begin(&unknown, 1), Error::kBadArgument);
  EXPECT_EQ(run_->begin(prompt.data(), test::kContext - 40 + 1), Error::kContextFull);
  EXPECT_EQ(run_->begin(nullptr, 0), Error::kOk);
  EXPECT_EQ(step_to_token(), expected(prompt, 1)[0]);
}

}  // namespace
}  // namespace jllm

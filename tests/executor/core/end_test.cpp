// How sequences end: end-of-text tokens, and models that produce no usable logits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/executor/core/plans.h"
#include "tests/support/edited_plan.h"

namespace jllm {
namespace {

using test::EditedPlan;
using test::host_plan;
using test::Logits;
using test::PlanInMemory;
using test::RunningPlan;
using test::Tokens;

const Tokens kPrompt = {1, 17, 300, 45, 260, 7, 33, 90};

// A plan that ends its text with the token that the greedy continuation of kPrompt reaches at
// `step`, for the first time.
struct Ending {
  Ending() {
    RunningPlan run(host_plan());
    run.prefill(kPrompt);
    free_run = run.generate(20);
    // Far enough for tokens in front of it and replays behind it.
    for (step = 4; step < 15; ++step) {
      const auto end = free_run.begin() + static_cast<ptrdiff_t>(step);
      if (std::find(free_run.begin(), end, *end) == end) break;
    }
    EXPECT_LT(step, 15u) << "the model repeats itself too soon for these tests";
    EditedPlan edited(test::host_plan_bytes());
    edited.tables.end_tokens = {2, free_run[step]};
    plan = std::make_unique<PlanInMemory>(edited.file());
    EXPECT_EQ(plan->error, Error::kOk) << plan->message;
  }

  Tokens free_run;  // what follows kPrompt when nothing ends it
  size_t step = 0;
  std::unique_ptr<PlanInMemory> plan;
};

TEST(EndToken, EndsTheSequenceAndIsPartOfIt) {
  const Ending ending;
  RunningPlan run(*ending.plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  run.prefill(kPrompt);
  for (size_t i = 0; i < ending.step; ++i) {
    const SampledToken token = run.step();
    EXPECT_EQ(token.id, ending.free_run[i]);
    EXPECT_EQ(token.done, kRunning);
  }
  const SampledToken last = run.step();
  EXPECT_EQ(last.id, ending.free_run[ending.step]);
  EXPECT_EQ(last.done, kEndToken);
  EXPECT_EQ(run->count(), kPrompt.size() + ending.step + 1);
  EXPECT_EQ(run->enqueue(), Error::kNothingToDo);
}

TEST(EndToken, ReplaysAskedForBehindItAreDropped) {
  const Ending ending;
  RunningPlan run(*ending.plan);
  run.prefill(kPrompt);
  for (size_t i = 0; i < ending.step + 4; ++i) ASSERT_EQ(run->enqueue(), Error::kOk);
  for (size_t i = 0; i < ending.step; ++i) ASSERT_EQ(run->next().value().done, kRunning) << i;
  EXPECT_EQ(run->next().value().done, kEndToken);
  EXPECT_EQ(run->next().value().done, kEndToken);
  EXPECT_EQ(run->in_flight(), 0u);
  EXPECT_EQ(run->count(), kPrompt.size() + ending.step + 1);
}

TEST(EndToken, IsPassedWhenIgnored) {
  const Ending ending;
  RunningPlan run(*ending.plan);
  Sampling sampling;
  sampling.ignore_end = true;
  run.set_sampling(sampling);
  run.prefill(kPrompt);
  EXPECT_EQ(run.generate(20), ending.free_run);
  // And again not ignored.
  run.set_sampling({});
  run.rewind(0);
  run.prefill(kPrompt);
  run.generate(static_cast<uint32_t>(ending.step));
  EXPECT_EQ(run.step().done, kEndToken);
}

// The token that ended the sequence has not been through the model yet; what follows must not skip
// it.
TEST(EndToken, TheSequenceGoesOnBehindIt) {
  const Ending ending;
  RunningPlan run(*ending.plan);
  Tokens sequence = kPrompt;
  sequence.insert(sequence.end(), ending.free_run.begin(),
                  ending.free_run.begin() + static_cast<ptrdiff_t>(ending.step + 1));
  const Tokens turn = {12, 400, 3};
  sequence.insert(sequence.end(), turn.begin(), turn.end());
  RunningPlan reference(host_plan());
  const std::vector<Logits> expected = reference.force_all(sequence);

  const auto to_the_end = [&] {
    run.rewind(0);
    run.prefill(kPrompt);
    run.generate(static_cast<uint32_t>(ending.step + 1));
  };
  to_the_end();
  run.prefill(turn);
  run.step();
  EXPECT_EQ(run.logits(), expected.back()) << "prefill";
  to_the_end();
  for (const uint32_t token : turn) ASSERT_EQ(run->force(token), Error::kOk);
  EXPECT_EQ(run.logits(), expected.back()) << "force";
  to_the_end();
  run.rewind(run->count());
  run.step();
  EXPECT_EQ(run.logits(), expected[sequence.size() - turn.size() - 1]) << "rewind";
}

// The tiny model with NaN for its last norm.
std::vector<uint8_t> broken_plan() {
  std::vector<uint8_t> bytes = test::host_plan_bytes();
  const fb::Plan& plan = host_plan().view().plan();
  const fb::Segment& weights = *host_plan().view().find_segment(fb::SegmentKind::Weights);
  for (const fb::Buffer* buffer : *plan.buffers()) {
    if (buffer->name()->str() != "output_norm.weight") continue;
    EXPECT_EQ(buffer->arena(), weights.dest_arena());
    std::memset(bytes.data() + weights.offset() - weights.dest_offset() + buffer->offset(), 0xff,
                buffer->size());
    return bytes;
  }
  ADD_FAILURE() << "the plan has no output_norm.weight";
  return bytes;
}

TEST(BadLogits, EndTheSequenceWithAnError) {
  const PlanInMemory plan(broken_plan());
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  for (const float temperature : {0.0f, 1.0f}) {
    RunningPlan run(plan);
    Sampling sampling;
    sampling.temperature = temperature;
    run.set_sampling(sampling);
    run.prefill(kPrompt);
    ASSERT_EQ(run->enqueue(), Error::kOk);
    EXPECT_EQ(run->next().error(), Error::kBadLogits);
    EXPECT_STREQ(run->last_error(), "the model produced no usable logits at position 8");
    EXPECT_EQ(run->count(), kPrompt.size());
    EXPECT_EQ(run->enqueue(), Error::kNothingToDo);
    // The executor itself is still good.
    run.rewind(0);
    run.prefill(kPrompt);
    ASSERT_EQ(run->enqueue(), Error::kOk);
    EXPECT_EQ(run->next().error(), Error::kBadLogits);
  }
}

}  // namespace
}  // namespace jllm

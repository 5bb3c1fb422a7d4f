// Drafts verified: whatever is guessed, the tokens and logits are those of plain decoding. A row's
// result must not depend on the rows beside it, and each row samples as its own step would have.
#include "tests/support/speculation.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/executor/core/plans.h"
#include "tests/support/edited_plan.h"
#include "tests/support/plan_variant.h"

namespace jllm {
namespace {

using test::EditedPlan;
using test::host_plan;
using test::Logits;
using test::Plain;
using test::PlanInMemory;
using test::PlanVariant;
using test::RunningPlan;
using test::Tokens;

Sampling greedy() {
  Sampling sampling;
  sampling.ignore_end = true;
  return sampling;
}

// --- Models and samplings ---

void check_speculation(const PlanVariant& variant, unsigned threads) {
  const PlanInMemory plan(test::plan_bytes(variant.recipe()));
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  ExecutorOptions options;
  options.threads = threads;
  RunningPlan run(plan, options);
  ASSERT_TRUE(run.ok()) << run.create_message;
  ASSERT_EQ(run->most_drafted(), variant.speculate);
  const Tokens prompt = test::repetitive_prompt(40, test::kVocab);
  for (const test::NamedSampling& s : test::samplings()) {
    SCOPED_TRACE(s.name);
    // Up to the end of the context and against it.
    const Plain plain = test::decode_plainly(run, prompt, s.sampling, 200);
    ASSERT_EQ(plain.done, jllm::kContextFull);
    test::check_drafts(run, prompt, s.sampling, plain);
    for (const uint32_t most : {0u, 1u, 3u, UINT32_MAX}) {
      SCOPED_TRACE(most);
      const SpeculationCounts counts = test::check_generate(run, prompt, s.sampling, plain, most);
      if (most == 0) {
        EXPECT_EQ(counts.drafted, 0u);
      }
    }
  }
}

const PlanVariant kVariants[] = {
    {.name = "F32", .type = "f32", .speculate = 7},
    {.name = "F32OneGuess", .type = "f32", .speculate = 1},
    {.name = "F32FiveGuesses", .type = "f32", .speculate = 5},
    {.name = "Q8", .type = "q8_0", .speculate = 7},
    {.name = "Q4", .like = "qwen3-0.6b", .speculate = 7},
    {.name = "Q4QuantisedCache", .like = "qwen2.5-0.5b", .speculate = 4, .kv = WeightType::kQ8_0},
    {.name = "WindowsAndSoftcaps", .like = "gemma-2-2b", .type = "q4_0", .speculate = 7},
    {.name = "Experts", .like = "olmoe-1b-7b", .speculate = 7},
    {.name = "Biases", .like = "phi-3-mini", .type = "f16", .speculate = 7},
};

class Speculation : public testing::TestWithParam<PlanVariant> {};

TEST_P(Speculation, ChangesNoTokenAndNoLogit) { check_speculation(GetParam(), 1); }

INSTANTIATE_TEST_SUITE_P(All, Speculation, testing::ValuesIn(kVariants), test::variant_name);

TEST(SpeculationOnThreads, ChangesNoTokenAndNoLogit) {
  for (const unsigned threads : {2u, 3u}) {
    SCOPED_TRACE(threads);
    check_speculation({.name = "F32", .type = "f32", .speculate = 7}, threads);
    check_speculation({.name = "Q4QuantisedCache",
                       .like = "qwen2.5-0.5b",
                       .speculate = 4,
                       .kv = WeightType::kQ8_0},
                      threads);
  }
}

// --- What it gains ---

// A model that sees nothing but the last token goes round in circles before long.
TEST(SpeculationGain, RepetitiveTextTakesFewerSteps) {
  test::PlanRecipe recipe;
  recipe.like = "gemma-3-1b";
  recipe.layers = 1;
  recipe.sliding_window = 1;
  recipe.speculate = 7;
  const PlanInMemory plan(test::plan_bytes(recipe));
  RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  const Tokens prompt = test::repetitive_prompt(30, test::kVocab);
  const Plain plain = test::decode_plainly(run, prompt, greedy(), 200);
  const SpeculationCounts counts = test::check_generate(run, prompt, greedy(), plain, UINT32_MAX);
  EXPECT_GT(counts.accepted, 0u);
  EXPECT_LT(counts.steps, plain.tokens.size() / 2);
  // Capped, it takes more.
  const SpeculationCounts capped = test::check_generate(run, prompt, greedy(), plain, 1);
  EXPECT_GT(capped.steps, counts.steps);
  EXPECT_LT(capped.steps, plain.tokens.size());
}

// --- Ends ---

class Drafts : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(run_.ok()) << run_.create_message;
    ASSERT_GE(run_->most_drafted(), 4u);
  }
  // Right behind the first token of this continuation.
  void start(const Plain& plain) {
    run_.rewind(0);
    run_.prefill(prompt_);
    ASSERT_EQ(run_.step().id, plain.tokens[0]);
  }
  uint32_t draft(const Tokens& guesses) {
    const Result<uint32_t> n =
        run_->enqueue_draft(guesses.data(), static_cast<uint32_t>(guesses.size()));
    EXPECT_TRUE(n.ok()) << run_->last_error();
    return n.ok() ? n.value() : UINT32_MAX;
  }
  SampledToken next() {
    const Result<SampledToken> token = run_->next();
    EXPECT_TRUE(token.ok()) << run_->last_error();
    return token.ok() ? token.value() : SampledToken{UINT32_MAX, kBadLogits};
  }
  void expect_refused(const Tokens& guesses, Error error, const std::string& message) {
    const Result<uint32_t> n =
        run_->enqueue_draft(guesses.data(), static_cast<uint32_t>(guesses.size()));
    EXPECT_EQ(n.error(), error);
    EXPECT_EQ(run_->last_error(), message);
  }

  const Tokens prompt_ = {1, 17, 300, 45, 260, 7, 33, 90};
  RunningPlan run_{host_plan()};
  const Plain plain_ = test::decode_plainly(run_, prompt_, greedy(), 20);
};

Tokens part(const Tokens& tokens, size_t begin, size_t n) {
  return {tokens.begin() + static_cast<ptrdiff_t>(begin),
          tokens.begin() + static_cast<ptrdiff_t>(begin + n)};
}

// The first token at or behind `from` that does not stand in front.
size_t first_new(const Tokens& tokens, size_t from) {
  while (from < tokens.size() &&
         std::count(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(from), tokens[from])) {
    ++from;
  }
  return from;
}

TEST(DraftEnds, AnEndTokenInsideADraftEndsTheSequenceThere) {
  const Tokens prompt = {1, 17, 300, 45, 260, 7, 33, 90};
  RunningPlan free_run(host_plan());
  const Plain plain = test::decode_plainly(free_run, prompt, greedy(), 20);
  const size_t end = first_new(plain.tokens, 3);
  ASSERT_LT(end, 15u) << "the model repeats itself too soon for this test";
  EditedPlan edited(test::host_plan_bytes());
  edited.tables.end_tokens = {plain.tokens[end]};
  const PlanInMemory plan(edited.file());
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  RunningPlan run(plan);
  const Plain ended = test::decode_plainly(run, prompt, {}, 20);
  ASSERT_EQ(ended.done, kEndToken);
  test::check_drafts(run, prompt, {}, ended);
  test::check_generate(run, prompt, {}, ended, UINT32_MAX);

  // Guesses that are right beyond the end: they do not count.
  run.rewind(0);
  run.prefill(prompt);
  for (size_t i = 0; i + 1 < end; ++i) run.step();
  const Tokens guesses = part(plain.tokens, end - 1, 4);
  ASSERT_EQ(run->enqueue_draft(guesses.data(), 4).value(), 4u);
  EXPECT_EQ(run->next().value().done, kRunning);
  const SampledToken last = run->next().value();
  EXPECT_EQ(last.id, plain.tokens[end]);
  EXPECT_EQ(last.done, kEndToken);
  EXPECT_EQ(run->in_flight(), 0u);
  EXPECT_EQ(run->count(), prompt.size() + end + 1);
  EXPECT_EQ(run->enqueue_draft(guesses.data(), 4).error(), Error::kNothingToDo);
  EXPECT_EQ(run->generate().error(), Error::kNothingToDo);

  // And the sequence goes on behind it.
  Tokens sequence = prompt;
  sequence.insert(sequence.end(), plain.tokens.begin(),
                  plain.tokens.begin() + static_cast<ptrdiff_t>(end + 1));
  const Tokens turn = {12, 400, 3};
  sequence.insert(sequence.end(), turn.begin(), turn.end());
  const Logits expected = free_run.force_all(sequence).back();
  run.prefill(turn);
  run.step();
  EXPECT_EQ(run.logits(), expected);
}

// The end token as the one that finds no place any more.
TEST(DraftEnds, AnEndTokenBehindAFullContextIsNotCounted) {
  const Tokens prompt = test::random_tokens(test::kContext, test::kVocab, 9);
  RunningPlan free_run(host_plan());
  free_run.prefill(prompt);
  const uint32_t end = free_run.step().id;
  EditedPlan edited(test::host_plan_bytes());
  edited.tables.end_tokens = {end};
  const PlanInMemory plan(edited.file());
  RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  run.prefill(prompt);
  EXPECT_EQ(run.step().done, kEndToken);
  EXPECT_EQ(run->count(), test::kContext);
  EXPECT_EQ(run->prefill(&end, 1), Error::kContextFull);
}

TEST(DraftEnds, BadLogitsEndADraftWithAnError) {
  // NaN in the embedding of one token: the row that consumes it has no usable logits.
  const Tokens prompt = {1, 17, 300};
  RunningPlan good(host_plan());
  const Plain plain = test::decode_plainly(good, prompt, greedy(), 8);
  Tokens sequence = prompt;
  sequence.insert(sequence.end(), plain.tokens.begin(), plain.tokens.end());
  const size_t bad = first_new(sequence, prompt.size() + 2) - prompt.size();
  ASSERT_LT(bad, 5u);
  std::vector<uint8_t> bytes = test::host_plan_bytes();
  const fb::Segment& weights = *host_plan().view().find_segment(fb::SegmentKind::Weights);
  bool found = false;
  for (const fb::Buffer* buffer : *host_plan().view().plan().buffers()) {
    if (buffer->name()->str() != "token_embd.weight") continue;
    const uint64_t row = buffer->size() / test::kVocab;
    uint8_t* table = bytes.data() + weights.offset() - weights.dest_offset() + buffer->offset();
    std::fill_n(table + plain.tokens[bad] * row, row, uint8_t{0xff});
    found = true;
  }
  ASSERT_TRUE(found);
  const PlanInMemory plan(bytes);
  RunningPlan run(plan);
  run.set_sampling(greedy());
  run.prefill(prompt);
  for (size_t i = 0; i < bad; ++i) ASSERT_EQ(run.step().id, plain.tokens[i]);
  const Tokens guesses = part(plain.tokens, bad, 3);
  ASSERT_EQ(run->enqueue_draft(guesses.data(), 3).value(), 3u);
  EXPECT_EQ(run->next().value().id, plain.tokens[bad]);
  EXPECT_EQ(run->next().error(), Error::kBadLogits);
  EXPECT_EQ(run->in_flight(), 0u);
  EXPECT_EQ(run->count(), prompt.size() + bad + 1);
}

TEST_F(Drafts, AreCutToWhatThePlanVerifiesAndTheContextHolds) {
  start(plain_);
  const uint32_t most = run_->most_drafted();
  EXPECT_EQ(draft(Tokens(most + 3, 1)), most);
  run_.rewind(0);
  run_.prefill(test::random_tokens(test::kContext - 3, test::kVocab, 4));
  run_.step();
  ASSERT_EQ(run_->count(), test::kContext - 2);
  EXPECT_EQ(draft(Tokens(most, 1)), 2u);
}

TEST_F(Drafts, AreLeftOutBehindAPrompt) {
  run_.rewind(0);
  run_.prefill(prompt_);
  EXPECT_EQ(draft(part(plain_.tokens, 0, 3)), 0u);
  EXPECT_EQ(next().id, plain_.tokens[0]);
  EXPECT_EQ(run_->in_flight(), 0u);
  // A prompt of one token is left to the decode graph, and to drafts.
  run_.rewind(static_cast<uint32_t>(prompt_.size()));
  EXPECT_EQ(draft(part(plain_.tokens, 0, 3)), 3u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(next().id, plain_.tokens[i]);
}

TEST_F(Drafts, StepsMayBeAskedForBehindThem) {
  start(plain_);
  Tokens guesses = part(plain_.tokens, 1, 4);
  guesses[2] = (guesses[2] + 1) % test::kVocab;
  ASSERT_EQ(draft(guesses), 4u);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(run_->enqueue(), Error::kOk);
  for (size_t i = 1; i < 1 + 3 + 5; ++i) EXPECT_EQ(next().id, plain_.tokens[i]) << i;
  EXPECT_EQ(run_->in_flight(), 0u);
  EXPECT_EQ(run_.logits(), plain_.logits[8]);
}

TEST_F(Drafts, CountAgainstTheRingAsIfTheyHeld) {
  start(plain_);
  ASSERT_EQ(draft(part(plain_.tokens, 1, 4)), 4u);
  for (uint32_t i = 5; i < kRingSlots; ++i) ASSERT_EQ(run_->enqueue(), Error::kOk) << i;
  EXPECT_EQ(run_->enqueue(), Error::kBadArgument);
}

TEST_F(Drafts, AreRefusedWhereTheyMakeNoSense) {
  start(plain_);
  expect_refused({1, test::kVocab}, Error::kBadArgument,
                 "drafted token id 512 is not in the vocabulary of 512");
  expect_refused({UINT32_MAX}, Error::kBadArgument,
                 "drafted token id 4294967295 is not in the vocabulary of 512");
  ASSERT_EQ(run_->enqueue(), Error::kOk);
  expect_refused({1}, Error::kBadArgument,
                 "1 tokens are in flight: a draft would not continue the sequence");
  // None of that did anything.
  EXPECT_EQ(next().id, plain_.tokens[1]);
  EXPECT_EQ(run_->in_flight(), 0u);
  run_.rewind(0);
  expect_refused({1}, Error::kNothingToDo, "there is no prompt: call prefill() first");
}

TEST_F(Drafts, RewindingBehindThemReproducesWhatFollowed) {
  const auto prompt = static_cast<uint32_t>(prompt_.size());
  for (const uint32_t keep : {12u, 10u, 9u, 5u}) {
    start(plain_);
    Tokens guesses = part(plain_.tokens, 1, 4);
    guesses[3] = (guesses[3] + 1) % test::kVocab;  // its row of the cache must not matter
    ASSERT_EQ(draft(guesses), 4u);
    next();
    run_.rewind(keep);  // the others are still in flight
    EXPECT_EQ(run_->in_flight(), 0u);
    ASSERT_EQ(run_->count(), keep);
    if (keep < prompt) run_.prefill(part(prompt_, keep, prompt - keep));
    const size_t known = keep > prompt ? keep - prompt : 0;
    for (size_t i = known; i < 15; ++i) {
      ASSERT_EQ(run_.step().id, plain_.tokens[i]) << "rewound to " << keep << ", token " << i;
    }
    EXPECT_EQ(run_.logits(), plain_.logits[14]) << "rewound to " << keep;
  }
}

TEST_F(Drafts, ForcingBehindThemContinuesTheSequence) {
  start(plain_);
  ASSERT_EQ(draft(part(plain_.tokens, 1, 3)), 3u);
  ASSERT_EQ(run_->force(99), Error::kOk);  // takes in what is in flight
  const Logits forced = run_.logits();
  Tokens sequence = prompt_;
  sequence.insert(sequence.end(), plain_.tokens.begin(), plain_.tokens.begin() + 5);
  sequence.push_back(99);
  ASSERT_EQ(run_->count(), sequence.size());
  EXPECT_EQ(forced, run_.force_all(sequence).back());
}

TEST_F(Drafts, GoThroughTheRingManyTimes) {
  for (int round = 0; round < 10; ++round) {
    test::check_drafts(run_, prompt_, greedy(), plain_);
    if (HasFatalFailure()) return;
  }
}

TEST(WithoutVerifyGraphs, GeneratesOneTokenAStep) {
  test::PlanRecipe recipe;
  recipe.context = test::kContext;
  recipe.speculate = 0;
  const PlanInMemory plan(test::plan_bytes(recipe));
  RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  EXPECT_EQ(run->most_drafted(), 0u);
  const Tokens prompt = test::repetitive_prompt(20, test::kVocab);
  const Plain plain = test::decode_plainly(run, prompt, greedy(), 10);
  const SpeculationCounts counts = test::check_generate(run, prompt, greedy(), plain, UINT32_MAX);
  EXPECT_EQ(counts.steps, 10u);
  EXPECT_EQ(counts.drafts, 0u);
  const Result<uint32_t> n = run->enqueue_draft(prompt.data(), 4);
  ASSERT_TRUE(n.ok());
  EXPECT_EQ(n.value(), 0u);
}

}  // namespace
}  // namespace jllm

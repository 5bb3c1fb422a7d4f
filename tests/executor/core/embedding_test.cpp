// Plans that make embeddings: the vector of a sequence is the same however its tokens were put in,
// and nothing else comes of such a plan. (That it is the right one, tests/e2e/oracle knows.)
#include <gtest/gtest.h>

#include "tests/executor/core/plans.h"
#include "tests/support/recipe.h"

namespace jllm {
namespace {

using test::host_plan;
using test::kContext;
using test::kVocab;
using test::Logits;
using test::PlanInMemory;
using test::random_tokens;
using test::RunningPlan;
using test::Tokens;

// The same model as that of host_plan().
test::PlanRecipe recipe(uint32_t slots = 1) {
  test::PlanRecipe recipe;
  recipe.context = kContext;
  recipe.prefill_chunk = 32;
  recipe.slots = slots;
  recipe.embeds = true;
  return recipe;
}

const PlanInMemory& embedding_plan() {
  static const PlanInMemory plan(test::plan_bytes(recipe()));
  return plan;
}

// Chunks of other sizes add up products in another order. All is f32: a sum of 96 products has
// sqrt(96) roundings of 2^-24 at most, and there are 14 products in a row; vectors behind a norm
// are of order 1.
constexpr double kTolerance = 14 * 10 * 0x1p-24;

class Embedding : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(run_.ok()) << run_.create_message; }

  void expect_refused(Error error, Error wanted, const std::string& words) {
    EXPECT_EQ(error, wanted);
    EXPECT_NE(std::string(run_->last_error()).find(words), std::string::npos) << run_->last_error();
  }
  Logits vector_of(const Tokens& tokens) {
    run_.rewind(0);
    run_.prefill(tokens);
    return run_.embedding();
  }

  RunningPlan run_{embedding_plan()};
};

TEST_F(Embedding, IsTheSameHoweverTheTokensArePutIn) {
  for (const uint32_t count : {1u, 2u, 15u, 16u, 17u, 32u, 33u, 50u, kContext}) {
    SCOPED_TRACE(count);
    const Tokens tokens = random_tokens(count, kVocab, count);
    const Logits whole = vector_of(tokens);
    EXPECT_EQ(run_.embedding(), whole);  // asked for again
    EXPECT_EQ(run_->count(), count);
    // One by one, with vectors on the way.
    run_.rewind(0);
    for (const uint32_t token : tokens) {
      run_.prefill({token});
      if (token % 3 == 0) run_.embedding();
    }
    EXPECT_LT(test::max_difference(run_.embedding(), whole), kTolerance);
    // Behind a beginning that is kept, and as the beginning of something longer.
    for (const uint32_t kept : {count / 2, count - 1}) {
      run_.rewind(kept);
      run_.prefill({tokens.begin() + kept, tokens.end()});
      EXPECT_LT(test::max_difference(run_.embedding(), whole), kTolerance) << kept;
    }
    if (count < kContext) run_.prefill(random_tokens(kContext - count, kVocab, 1));
    run_.rewind(count);
    EXPECT_LT(test::max_difference(run_.embedding(), whole), kTolerance);
    // In steps.
    run_.rewind(0);
    ASSERT_EQ(run_->begin(tokens.data(), count), Error::kOk);
    uint32_t consumed = 0;
    while (count > 1 && consumed < count) {
      const Result<Progress> progress = run_->step();
      ASSERT_TRUE(progress.ok()) << run_->last_error();
      consumed = progress.value().consumed;
    }
    EXPECT_EQ(run_.embedding(), whole);
  }
}

TEST_F(Embedding, EveryTokenCounts) {
  const Tokens tokens = random_tokens(40, kVocab, 4);
  const Logits whole = vector_of(tokens);
  for (const size_t changed : {size_t{0}, size_t{20}, tokens.size() - 1}) {
    Tokens other = tokens;
    other[changed] = (other[changed] + 1) % kVocab;
    EXPECT_GT(test::max_difference(vector_of(other), whole), 100 * kTolerance) << changed;
  }
}

TEST_F(Embedding, SlotsHaveTheirOwn) {
  const PlanInMemory plan(test::plan_bytes(recipe(3)));
  RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  for (uint32_t slot = 0; slot < 3; ++slot) {
    ASSERT_EQ(run->select(slot), Error::kOk);
    run.prefill(random_tokens(20 + slot, kVocab, slot));
  }
  for (uint32_t slot = 0; slot < 3; ++slot) {
    ASSERT_EQ(run->select(slot), Error::kOk);
    EXPECT_EQ(run.embedding(), vector_of(random_tokens(20 + slot, kVocab, slot)));
  }
  // A beginning from another slot.
  ASSERT_EQ(run->copy_prefix(0, 15), Error::kOk) << run->last_error();
  const Tokens tokens = random_tokens(20, kVocab, 0);
  run.prefill({tokens.begin() + 15, tokens.end()});
  EXPECT_LT(test::max_difference(run.embedding(), vector_of(tokens)), kTolerance);
}

TEST_F(Embedding, NothingElseIsMade) {
  std::vector<float> values(kVocab);
  const uint32_t length = recipe().embedding;
  expect_refused(run_->embedding(values.data(), length), Error::kBadArgument, "no prompt");
  run_.prefill({1, 2, 3});
  expect_refused(run_->embedding(values.data(), kVocab), Error::kBadArgument,
                 "not " + std::to_string(length) + " floats");
  const std::string words = "makes embeddings: compile with --embedding none";
  const uint32_t slot = 0;
  expect_refused(run_->enqueue(), Error::kBadArgument, words);
  expect_refused(run_->enqueue_batch(&slot, 1), Error::kBadArgument, words);
  expect_refused(run_->generate().error(), Error::kBadArgument, words);
  expect_refused(run_->enqueue_draft(&slot, 1).error(), Error::kBadArgument, words);
  expect_refused(run_->step().error(), Error::kBadArgument, words);
  expect_refused(run_->read_logits(values.data()), Error::kBadArgument, words);
  expect_refused(run_->force(4), Error::kBadArgument, words);
  EXPECT_EQ(run_->in_flight(), 0u);
  EXPECT_EQ(run_->most_drafted(), 0u);
  // And nothing has changed.
  const Logits vector = run_.embedding();
  EXPECT_EQ(vector_of({1, 2, 3}), vector);
}

TEST_F(Embedding, IsNotMadeOfPlansOfText) {
  RunningPlan text(host_plan());
  text.prefill({1, 2, 3});
  std::vector<float> values(recipe().embedding);
  EXPECT_EQ(text->embedding(values.data(), recipe().embedding), Error::kBadArgument);
  EXPECT_STREQ(text->last_error(), "the plan makes text: compile with --embedding last");
  text.step();
}

// No logits, no sampler, no graph that samples; and nothing of what they take.
TEST_F(Embedding, ThePlanIsSmaller) {
  const fb::Plan& plan = embedding_plan().view().plan();
  EXPECT_EQ(plan.bindings()->mask(), UINT64_MAX);
  for (const fb::Graph* graph : *plan.graphs()) {
    EXPECT_TRUE(graph->kind() == fb::GraphKind::Prefill || graph->kind() == fb::GraphKind::Head);
  }
  RunningPlan text(host_plan());
  const MemoryUse with = text->memory_use(), without = run_->memory_use();
  EXPECT_EQ(without.kv, with.kv);
  // Logits and a mask; a vector came. Buffers begin at multiples of 256 bytes.
  EXPECT_EQ(with.state - without.state, kVocab * 4 + 256 - recipe().embedding * 4);
}

}  // namespace
}  // namespace jllm

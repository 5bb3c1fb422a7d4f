// The whole line on the host with a real model: its logits against a float64 transcription, and its
// text against run.c's.
#include "tests/e2e/stories/stories.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "executor/text/tokenizer.h"
#include "tests/support/speculation.h"

namespace jllm {
namespace {

using test::kF16KvBound;
using test::kF32Bound;
using test::PlanInMemory;
using test::RunningPlan;
using test::StoriesCase;
using test::Tokens;

class Stories : public testing::Test {
 protected:
  void SetUp() override { JLLM_NEEDS_TEST_DATA(); }

  // Of a plan and its bytes; null is a failure.
  static std::unique_ptr<text::Tokenizer> tokenizer_of(const PlanInMemory& plan,
                                                       const std::vector<uint8_t>& bytes) {
    const fb::Segment* segment = plan.view().find_segment(fb::SegmentKind::Tokenizer);
    if (segment == nullptr) return nullptr;
    std::string reason;
    auto tokenizer =
        text::Tokenizer::open(bytes.data() + segment->offset(), segment->size(), &reason);
    EXPECT_NE(tokenizer, nullptr) << reason;
    return tokenizer;
  }
};

TEST_F(Stories, LogitsAreThoseOfFloat64) {
  const PlanInMemory plan(test::stories_plan({}));
  RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  const double error = test::largest_logit_error(run);
  RecordProperty("largest_error", std::to_string(error));
  EXPECT_LT(error, kF32Bound);
}

TEST_F(Stories, GreedyTokensAreThoseOfFloat64) {
  const PlanInMemory plan(test::stories_plan({}));
  RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  ASSERT_EQ(test::stories_cases().size(), 3u);
  for (const StoriesCase& story : test::stories_cases()) {
    // Both of two logits may be off by the bound: only a smaller margin could go either way.
    const double smallest = *std::min_element(story.margins.begin(), story.margins.end());
    ASSERT_GT(smallest, 2 * kF32Bound) << story.name;
    EXPECT_EQ(test::equal_greedy_tokens(run, story, story.greedy.size()), story.greedy.size())
        << story.name;
  }
}

TEST_F(Stories, TextIsThatOfRunC) {
  const std::vector<uint8_t> bytes = test::stories_plan({});
  const PlanInMemory plan(bytes);
  RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  const std::unique_ptr<text::Tokenizer> tokenizer = tokenizer_of(plan, bytes);
  ASSERT_NE(tokenizer, nullptr);
  run.prefill({static_cast<uint32_t>(tokenizer->bos())});
  std::string text;
  for (const uint32_t token : run.generate(200)) text += tokenizer->piece(token, false);
  // run.c drops the space that SentencePiece puts in front of the first word, and ends with a line
  // break.
  ASSERT_EQ(text.substr(0, 1), " ");
  std::string expected =
      test::read_text(test::test_data("golden/stories260K.run_c_200steps.expected.txt"));
  if (!expected.empty() && expected.back() == '\n') expected.pop_back();
  EXPECT_EQ(text.substr(1), expected);
}

TEST_F(Stories, HalfPrecisionKvStaysClose) {
  CompileOptions options;
  options.plan.kv_k = options.plan.kv_v = WeightType::kF16;
  const PlanInMemory plan(test::stories_plan(options));
  RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  const double error = test::largest_logit_error(run);
  RecordProperty("largest_error", std::to_string(error));
  EXPECT_LT(error, kF16KvBound);
  EXPECT_GT(error, kF32Bound) << "the cache was not rounded at all";
  for (const StoriesCase& story : test::stories_cases()) {
    const size_t n = std::min(test::kCertainTokens, story.greedy.size());
    EXPECT_EQ(test::equal_greedy_tokens(run, story, n), n) << story.name;
  }
}

// Text that repeats itself, and text that does not: the tokens are those of plain decoding, in
// fewer steps.
TEST_F(Stories, SpeculationChangesTheStepsAndNotTheTokens) {
  CompileOptions options;
  options.plan.speculate = 7;
  const std::vector<uint8_t> bytes = test::stories_plan(options);
  const PlanInMemory plan(bytes);
  RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  const std::unique_ptr<text::Tokenizer> tokenizer = tokenizer_of(plan, bytes);
  ASSERT_NE(tokenizer, nullptr);
  std::string sentences;
  for (int i = 0; i < 6; ++i) sentences += "Tom has a red ball. He is happy. ";
  for (const test::NamedSampling& s : test::samplings()) {
    for (const std::string& prompt : {std::string("Once upon a time"), sentences}) {
      SCOPED_TRACE(s.name + (": " + prompt));
      const Tokens tokens = tokenizer->encode(prompt, {true, true});
      const test::Plain plain = test::decode_plainly(run, tokens, s.sampling, 150);
      test::check_drafts(run, tokens, s.sampling, plain);
      const SpeculationCounts counts =
          test::check_generate(run, tokens, s.sampling, plain, UINT32_MAX);
      RecordProperty("tokens_per_step",
                     std::to_string(double(plain.tokens.size()) / double(counts.steps)));
      if (prompt != sentences || s.sampling.temperature != 0) continue;
      EXPECT_GT(counts.accepted, 0u);
      EXPECT_LT(counts.steps, plain.tokens.size() * 9 / 10);
    }
  }
}

TEST_F(Stories, PromptsInChunksGiveTheGoldenLogits) {
  for (const uint32_t chunk : {16u, 64u}) {
    CompileOptions options;
    options.plan.prefill_chunk = chunk;
    const PlanInMemory plan(test::stories_plan(options));
    RunningPlan run(plan);
    ASSERT_TRUE(run.ok()) << run.create_message;
    for (const StoriesCase& story : test::stories_cases()) {
      Tokens sequence = story.prompt;
      sequence.insert(sequence.end(), story.greedy.begin(), story.greedy.end());
      for (const auto& [position, expected] : story.logits) {
        run.rewind(0);
        run.prefill({sequence.begin(), sequence.begin() + position + 1});
        run.step();
        EXPECT_LT(test::max_difference(run.logits(), expected), kF32Bound)
            << story.name << " at " << position;
      }
    }
  }
}

}  // namespace
}  // namespace jllm

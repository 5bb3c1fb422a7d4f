// Drafts from the text so far: which match they take, and how long they are.
#include "jllm/prompt_lookup.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace jllm {
namespace {

using Tokens = std::vector<uint32_t>;

Tokens draft(const Tokens& tokens, uint32_t most, PromptLookup lookup = {}) {
  Tokens guesses(most);
  guesses.resize(
      lookup.draft(tokens.data(), static_cast<uint32_t>(tokens.size()), most, guesses.data()));
  return guesses;
}

// The lookup after drafts that went well: as long as they get.
PromptLookup confident() {
  PromptLookup lookup;
  for (int i = 0; i < 8; ++i) lookup.learn(1, 1);
  return lookup;
}

TEST(PromptLookup, DraftsWhatFollowedTheSameTokens) {
  EXPECT_EQ(draft({1, 2, 3, 4, 5, 9, 1, 2}, 3), Tokens({3, 4, 5}));
}

TEST(PromptLookup, NothingWhereTheEndIsNew) {
  EXPECT_EQ(draft({}, 4), Tokens());
  EXPECT_EQ(draft({1}, 4), Tokens());
  EXPECT_EQ(draft({1, 1}, 4), Tokens());
  EXPECT_EQ(draft({1, 2}, 4), Tokens());
  EXPECT_EQ(draft({1, 2, 3, 4, 5}, 4), Tokens());
  // One equal token is too little.
  EXPECT_EQ(draft({1, 2, 3, 4, 2}, 4), Tokens());
  EXPECT_EQ(draft({2, 3, 4, 2}, 4), Tokens());
}

TEST(PromptLookup, NothingWhereNothingIsWanted) { EXPECT_EQ(draft({1, 2, 3, 1, 2}, 0), Tokens()); }

TEST(PromptLookup, AMatchAtTheVeryStart) { EXPECT_EQ(draft({1, 2, 7, 1, 2}, 1), Tokens({7})); }

TEST(PromptLookup, TheLongestMatchWinsOverALaterOne) {
  // 5 6 7 stood before 8; 6 7 alone, later, before 9.
  EXPECT_EQ(draft({5, 6, 7, 8, 0, 6, 7, 9, 5, 6, 7}, 1), Tokens({8}));
  // The same with four against three.
  EXPECT_EQ(draft({4, 5, 6, 7, 8, 0, 5, 6, 7, 9, 4, 5, 6, 7}, 1), Tokens({8}));
}

TEST(PromptLookup, OfEqualMatchesTheLatestWins) {
  EXPECT_EQ(draft({6, 7, 8, 0, 6, 7, 9, 1, 6, 7}, 1), Tokens({9}));
  // More than four equal tokens count as four.
  EXPECT_EQ(draft({3, 4, 5, 6, 7, 8, 0, 4, 5, 6, 7, 9, 3, 4, 5, 6, 7}, 1), Tokens({9}));
}

TEST(PromptLookup, PeriodicTextGoesOn) {
  const PromptLookup lookup = confident();
  EXPECT_EQ(draft({1, 1, 1}, 5, lookup), Tokens({1, 1, 1, 1, 1}));
  EXPECT_EQ(draft({1, 2, 1, 2}, 5, lookup), Tokens({1, 2, 1, 2, 1}));
  EXPECT_EQ(draft({9, 1, 2, 3, 1, 2, 3, 1, 2}, 7, lookup), Tokens({3, 1, 2, 3, 1, 2, 3}));
  for (uint32_t period = 1; period <= 9; ++period) {
    Tokens text;
    for (uint32_t i = 0; i < 40; ++i) text.push_back(i % period);
    const Tokens guesses = draft(text, 20, lookup);
    ASSERT_EQ(guesses.size(), 20u) << period;
    for (uint32_t i = 0; i < 20; ++i) EXPECT_EQ(guesses[i], (40 + i) % period) << period;
  }
}

TEST(PromptLookup, DraftsGrowWhileTheyHoldAndShrinkWhereTheyFail) {
  const Tokens text(100, 3);
  const auto length = [&](const PromptLookup& lookup) { return draft(text, 80, lookup).size(); };
  PromptLookup lookup;
  const size_t first = length(lookup);
  EXPECT_GT(first, 1u);
  lookup.learn(static_cast<uint32_t>(first), static_cast<uint32_t>(first));
  EXPECT_EQ(length(lookup), 2 * first);
  lookup.learn(8, 5);
  EXPECT_EQ(length(lookup), 5u);
  lookup.learn(5, 0);
  EXPECT_EQ(length(lookup), 3u);  // it goes on trying
  lookup.learn(3, 1);
  EXPECT_EQ(length(lookup), 3u);
  lookup.learn(3, 3);
  EXPECT_EQ(length(lookup), 6u);
  for (int i = 0; i < 100; ++i) lookup.learn(2, 2);
  EXPECT_EQ(length(lookup), 64u);
  lookup.reset();
  EXPECT_EQ(length(lookup), first);
}

// Of 1000 steps over text that repeats but never goes on as before, few draft.
TEST(PromptLookup, PausesGrowWhereNothingHolds) {
  const Tokens text(100, 3);
  PromptLookup lookup;
  Tokens guesses(4);
  std::vector<unsigned> pauses;
  unsigned pause = 0;
  for (unsigned step = 0; step < 1000; ++step) {
    if (lookup.draft(text.data(), 100, 4, guesses.data()) == 0) {
      ++pause;
      continue;
    }
    pauses.push_back(pause);
    pause = 0;
    lookup.learn(3, 0);
  }
  const std::vector<unsigned> start(pauses.begin(), pauses.begin() + 6);
  EXPECT_EQ(start, std::vector<unsigned>({0, 0, 1, 3, 7, 15}));
  EXPECT_EQ(*std::max_element(pauses.begin(), pauses.end()), 64u);
  EXPECT_LT(pauses.size(), 25u);
  // One that holds in part, and it tries every time again.
  while (lookup.draft(text.data(), 100, 4, guesses.data()) == 0) {
  }
  lookup.learn(3, 1);
  EXPECT_GT(lookup.draft(text.data(), 100, 4, guesses.data()), 0u);
  lookup.learn(3, 0);
  EXPECT_GT(lookup.draft(text.data(), 100, 4, guesses.data()), 0u);
}

}  // namespace
}  // namespace jllm

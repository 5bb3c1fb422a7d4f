// Synthetic vocabularies: right size, no duplicates, and every token reachable by a plain reading
// of the two tokenizers' rules.
#include "compiler/synth/vocabulary.h"

#include <gtest/gtest.h>

#include <limits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace jllm::synth {
namespace {

std::vector<std::string> characters_of(const std::string& text) {
  std::vector<std::string> characters;
  for (char c : text) {
    if ((c & 0xc0) != 0x80) characters.emplace_back();
    characters.back() += c;
  }
  return characters;
}

// Merges neighbours, best rank first and leftmost among equals; rank_of gives kNone where there is
// no merge.
constexpr double kNone = std::numeric_limits<double>::infinity();
template <typename RankOf>
std::vector<std::string> merge_all(std::vector<std::string> pieces, const RankOf& rank_of) {
  for (;;) {
    double best = kNone;
    size_t best_index = 0;
    for (size_t i = 0; i + 1 < pieces.size(); ++i) {
      const double rank = rank_of(pieces[i], pieces[i + 1]);
      if (rank < best) {
        best = rank;
        best_index = i;
      }
    }
    if (best == kNone) return pieces;
    pieces[best_index] += pieces[best_index + 1];
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(best_index) + 1);
  }
}

void expect_distinct(const Vocabulary& vocabulary, uint32_t size) {
  EXPECT_EQ(vocabulary.tokens.size(), size);
  EXPECT_EQ(vocabulary.types.size(), size);
  EXPECT_EQ(
      std::unordered_set<std::string>(vocabulary.tokens.begin(), vocabulary.tokens.end()).size(),
      size);
}

class BpeVocabulary : public ::testing::TestWithParam<uint32_t> {};

TEST_P(BpeVocabulary, ReachesEveryToken) {
  const uint32_t size = GetParam();
  const Vocabulary vocabulary = make_bpe_vocabulary(size, {"<bos>", "<pad>", "<eos>"}, 0, 2);
  expect_distinct(vocabulary, size);
  EXPECT_TRUE(vocabulary.scores.empty());
  ASSERT_EQ(vocabulary.merges.size(), size - 256 - 3);
  EXPECT_EQ(vocabulary.tokens[vocabulary.bos], "<bos>");
  EXPECT_EQ(vocabulary.tokens[vocabulary.eos], "<eos>");
  EXPECT_EQ(vocabulary.types[vocabulary.eos], 3);
  EXPECT_EQ(vocabulary.types[vocabulary.bos - 1], 1);
  EXPECT_EQ(vocabulary.tokens['A'], "A");
  EXPECT_EQ(vocabulary.tokens[' '], "\xc4\xa0");   // U+0120
  EXPECT_EQ(vocabulary.tokens[0xad], "\xc5\x83");  // U+0143

  std::unordered_map<std::string, double> ranks;
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    ASSERT_TRUE(ranks.emplace(vocabulary.merges[i], double(i)).second) << vocabulary.merges[i];
  }
  const auto rank_of = [&](const std::string& left, const std::string& right) {
    const auto it = ranks.find(left + " " + right);
    return it != ranks.end() ? it->second : kNone;
  };
  for (uint32_t id = 0; id < size - 3; ++id) {
    const std::string& token = vocabulary.tokens[id];
    ASSERT_EQ(merge_all(characters_of(token), rank_of), std::vector<std::string>{token});
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, BpeVocabulary,
                         ::testing::Values(kMinVocabulary, 1000, 1300, 5000, 49152, 128256,
                                           kMaxVocabulary));

class SpmVocabulary : public ::testing::TestWithParam<uint32_t> {};

TEST_P(SpmVocabulary, ReachesEveryToken) {
  const uint32_t size = GetParam();
  const Vocabulary vocabulary = make_spm_vocabulary(size);
  expect_distinct(vocabulary, size);
  EXPECT_EQ(vocabulary.scores.size(), size);
  EXPECT_TRUE(vocabulary.merges.empty());
  EXPECT_EQ(vocabulary.tokens[0], "<unk>");
  EXPECT_EQ(vocabulary.tokens[vocabulary.bos], "<s>");
  EXPECT_EQ(vocabulary.tokens[vocabulary.eos], "</s>");
  EXPECT_EQ(vocabulary.tokens[3], "<0x00>");
  EXPECT_EQ(vocabulary.tokens[3 + 0xab], "<0xAB>");
  EXPECT_EQ(vocabulary.types[3 + 0xab], 6);

  std::unordered_map<std::string, double> ranks;
  for (uint32_t id = 3 + 256; id < size; ++id) {
    ranks.emplace(vocabulary.tokens[id], -vocabulary.scores[id]);
  }
  const auto rank_of = [&](const std::string& left, const std::string& right) {
    const auto it = ranks.find(left + right);
    return it != ranks.end() ? it->second : kNone;
  };
  for (uint32_t id = 3 + 256; id < size; ++id) {
    const std::string& token = vocabulary.tokens[id];
    ASSERT_EQ(merge_all(characters_of(token), rank_of), std::vector<std::string>{token});
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, SpmVocabulary,
                         ::testing::Values(kMinVocabulary, 1000, 32000, 32768, kMaxVocabulary));

}  // namespace
}  // namespace jllm::synth

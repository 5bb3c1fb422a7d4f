#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>

#include "tests/text/vocabulary_maker.h"

namespace jllm::text {
namespace {

using Ids = std::vector<uint32_t>;

constexpr EncodeOptions kPlain = {false, false};
constexpr const char* kPreTokenizers[] = {
    "default",    "gpt-2",      "starcoder", "falcon",       "llama-bpe",      "qwen2",
    "qwen35",     "tekken",     "gpt-4o",    "deepseek-llm", "deepseek-coder", "deepseek-v3",
    "bailingmoe", "seed-coder", "minicpm5",  "poro-chat",    "viking"};

TEST(Bpe, MergesByRank) {
  VocabularyMaker maker = bytes_vocabulary("gpt-2");
  maker.add_merge("l", "l");
  maker.add_merge("h", "e");
  maker.add_merge("he", "ll");
  maker.add_merge("l", "he");
  const OpenTokenizer bpe = make(maker);
  ASSERT_TRUE(bpe.tokenizer) << bpe.error;
  EXPECT_EQ(bpe->encode("hello", kPlain), Ids({id_of(maker, "hell"), 'o'}));
  EXPECT_EQ(bpe->encode("lll", kPlain), Ids({id_of(maker, "ll"), 'l'}));
  EXPECT_EQ(bpe->encode("lhe", kPlain), Ids({id_of(maker, "lhe")}));
  EXPECT_EQ(bpe->encode(std::string("a\0b", 3), kPlain), Ids({'a', 0, 'b'}));
  EXPECT_EQ(bpe->encode("", {}), Ids());
  EXPECT_FALSE(bpe->strips_leading_space());
  EXPECT_EQ(bpe->bos(), -1);
}

TEST(Bpe, MergesThroughStringsThatAreNoTokens) {
  VocabularyMaker maker = bytes_vocabulary("gpt-2");
  maker.merges = {"a b", "ab c"};
  maker.add("abc", kNormal);
  const OpenTokenizer bpe = make(maker);
  ASSERT_TRUE(bpe.tokenizer) << bpe.error;
  EXPECT_EQ(bpe->encode("abc", kPlain), Ids({id_of(maker, "abc")}));
  EXPECT_EQ(bpe->encode("abx", kPlain), Ids({'a', 'b', 'x'}));
}

TEST(Bpe, WholeWordsWithoutMerging) {
  for (const bool whole_words : {false, true}) {
    VocabularyMaker maker = bytes_vocabulary(whole_words ? "llama-bpe" : "qwen2");
    const uint32_t word = maker.add("word", kNormal);
    const OpenTokenizer bpe = make(maker);
    ASSERT_TRUE(bpe.tokenizer) << bpe.error;
    EXPECT_EQ(bpe->encode("word", kPlain), whole_words ? Ids({word}) : Ids({'w', 'o', 'r', 'd'}));
  }
}

TEST(Bpe, SpecialTokens) {
  VocabularyMaker maker = bytes_vocabulary("llama-bpe");
  const uint32_t begin = maker.add("<|begin|>", kControl);
  const uint32_t eot = maker.add("<|eot_id|>", kControl);
  const uint32_t spaces = maker.add("   ", kUserDefined);
  maker.more_keys = [=](gguf::Writer& writer) {
    writer.set_u32("tokenizer.ggml.bos_token_id", begin);
    writer.set_u32("tokenizer.ggml.eos_token_id", eot);
  };
  const OpenTokenizer bpe = make(maker);
  ASSERT_TRUE(bpe.tokenizer) << bpe.error;
  EXPECT_EQ(bpe->encode("a<|eot_id|>", {}), Ids({begin, 'a', eot}));
  EXPECT_EQ(bpe->encode("a<|eot_id|>", kPlain).size(), 11u);
  EXPECT_EQ(bpe->encode("    a", kPlain), Ids({spaces, ' ', 'a'}));
  EXPECT_EQ(bpe->piece(spaces, false), "   ");
  EXPECT_EQ(bpe->piece(eot, false), "");
  EXPECT_EQ(bpe->piece(eot, true), "<|eot_id|>");
  EXPECT_EQ(bpe->end_of_generation(), Ids({eot}));
  EXPECT_EQ(bpe->bos(), begin);
}

TEST(Bpe, OrdinaryTextThatLooksLikeAnEndIsNone) {
  VocabularyMaker maker = bytes_vocabulary("gpt-2");
  maker.add_merge("<", "/");
  maker.add_merge("</", "s");
  maker.add_merge("</s", ">");
  const OpenTokenizer bpe = make(maker);
  ASSERT_TRUE(bpe.tokenizer) << bpe.error;
  EXPECT_TRUE(bpe->end_of_generation().empty());
  EXPECT_EQ(bpe->encode("</", kPlain), Ids({id_of(maker, "</")}));
}

TEST(Bpe, DuplicateTokensUseTheFirst) {
  VocabularyMaker maker = bytes_vocabulary("gpt-2");
  maker.add("a", kNormal);
  const OpenTokenizer bpe = make(maker);
  ASSERT_TRUE(bpe.tokenizer) << bpe.error;
  EXPECT_EQ(bpe->encode("a", kPlain), Ids({'a'}));
  EXPECT_EQ(bpe->piece(256, false), "a");
}

TEST(Bpe, RoundTripWithEveryPreTokenizer) {
  for (const char* pre : kPreTokenizers) {
    VocabularyMaker maker = bytes_vocabulary(pre);
    maker.add_merge(" ", " ");
    maker.add_merge("\xe4", "\xbd");
    const OpenTokenizer bpe = make(maker);
    ASSERT_TRUE(bpe.tokenizer) << bpe.error;
    for (uint64_t seed = 0; seed < 100; ++seed) {
      const std::string text = random_text(seed, 2 * seed);
      EXPECT_EQ(bpe->decode(bpe->encode(text, kPlain), false), text) << pre << " " << seed;
    }
    EXPECT_EQ(bpe->encode("a\xc3", kPlain), bpe->encode("a\xef\xbf\xbd", kPlain));
  }
}

TEST(Bpe, EqualsTheDefinitionOnRandomVocabularies) {
  std::mt19937 random(2);
  for (int round = 0; round < 60; ++round) {
    VocabularyMaker maker = bytes_vocabulary("gpt-2");
    std::map<std::pair<std::string, std::string>, size_t> ranks;
    std::vector<std::string> known = {"a", "b", "c"};
    while (maker.merges.size() < 40) {
      const std::string left = known[random() % known.size()];
      const std::string right = known[random() % known.size()];
      if (!ranks.try_emplace({left, right}, maker.merges.size()).second) continue;
      maker.add_merge(left, right);
      known.push_back(left + right);
    }
    const OpenTokenizer bpe = make(maker);
    ASSERT_TRUE(bpe.tokenizer) << bpe.error;
    for (int i = 0; i < 20; ++i) {
      std::vector<std::string> pieces(random() % 60);
      std::string text;
      for (std::string& piece : pieces) text += piece = known[random() % 3];
      while (true) {
        size_t best = pieces.size();
        size_t best_rank = maker.merges.size();
        for (size_t k = 0; k + 1 < pieces.size(); ++k) {
          const auto found = ranks.find({pieces[k], pieces[k + 1]});
          if (found == ranks.end() || found->second >= best_rank) continue;
          best = k;
          best_rank = found->second;
        }
        if (best == pieces.size()) break;
        pieces[best] += pieces[best + 1];
        pieces.erase(pieces.begin() + best + 1);
      }
      Ids expected;
      for (const std::string& piece : pieces) expected.push_back(id_of(maker, piece));
      EXPECT_EQ(bpe->encode(text, kPlain), expected) << text;
    }
  }
}

TEST(Bpe, LongRunsAreFast) {
  for (const char* pre : kPreTokenizers) {
    VocabularyMaker maker = bytes_vocabulary(pre);
    for (const char letter : {' ', 'a', 'A', '\n', '!'}) {
      for (int length = 1; length <= 64; length *= 2) {
        const std::string run(length, letter);
        maker.add_merge(run, run);
      }
    }
    const OpenTokenizer bpe = make(maker);
    ASSERT_TRUE(bpe.tokenizer) << bpe.error;
    for (const char letter : {' ', 'a', 'A', '\n', '!', '7', '\'', '\0'}) {
      const std::string text = std::string(100000, letter) + "x";
      const auto start = std::chrono::steady_clock::now();
      const Ids ids = bpe->encode(text, kPlain);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      EXPECT_LT(seconds.count(), 2) << pre << " " << static_cast<int>(letter);
      EXPECT_EQ(bpe->decode(ids, false), text);
    }
  }
}

}  // namespace
}  // namespace jllm::text

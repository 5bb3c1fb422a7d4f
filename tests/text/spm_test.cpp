#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>

#include "executor/text/utf8.h"
#include "tests/text/vocabulary_maker.h"

namespace jllm::text {
namespace {

using Ids = std::vector<uint32_t>;

constexpr const char* kMark = "\xe2\x96\x81";
constexpr EncodeOptions kPlain = {false, false};

// U+2581 in front, then letters and pieces with scores as SentencePiece gives them.
VocabularyMaker hello_vocabulary() {
  VocabularyMaker maker = spm_vocabulary();
  float score = -1;
  for (const std::string& piece :
       {std::string("he"), std::string("ll"), std::string("llo"), std::string(kMark) + "he",
        std::string(kMark) + "hello", std::string(kMark), std::string("h"), std::string("e"),
        std::string("l"), std::string("o")}) {
    maker.add(piece, kNormal, score--);
  }
  return maker;
}

TEST(Spm, MergesByScore) {
  const VocabularyMaker maker = hello_vocabulary();
  const OpenTokenizer spm = make(maker);
  ASSERT_TRUE(spm.tokenizer) << spm.error;
  const std::string mark = kMark;
  EXPECT_EQ(spm->encode("hello", kPlain), Ids({id_of(maker, mark + "hello")}));
  EXPECT_EQ(spm->encode("hell", kPlain), Ids({id_of(maker, mark + "he"), id_of(maker, "ll")}));
  EXPECT_EQ(spm->encode("lll", kPlain),  // leftmost first
            Ids({id_of(maker, mark), id_of(maker, "ll"), id_of(maker, "l")}));
}

TEST(Spm, UnknownCharactersBecomeBytes) {
  const VocabularyMaker maker = hello_vocabulary();
  const OpenTokenizer spm = make(maker);
  ASSERT_TRUE(spm.tokenizer) << spm.error;
  EXPECT_EQ(spm->encode("\xc3\xa9", kPlain), Ids({id_of(maker, kMark), 3 + 0xc3, 3 + 0xa9}));
  EXPECT_EQ(spm->encode(std::string(1, '\0'), kPlain), Ids({id_of(maker, kMark), 3}));
  EXPECT_EQ(spm->piece(3 + 0xc3, false), "\xc3");
}

TEST(Spm, UnknownTokenWhereThereAreNoBytes) {
  VocabularyMaker maker;
  maker.model = "llama";
  maker.add("<unk>", kUnknown);
  maker.add("<s>", kControl);
  maker.add("</s>", kControl);
  maker.add(kMark, kNormal);
  maker.add("a", kNormal);
  const OpenTokenizer spm = make(maker);
  ASSERT_TRUE(spm.tokenizer) << spm.error;
  EXPECT_EQ(spm->encode("a\xe4\xbd\xa0", kPlain), Ids({3, 4, 0}));
}

TEST(Spm, SpecialTokensAndSpacePrefix) {
  VocabularyMaker maker = hello_vocabulary();
  const uint32_t user = maker.add("<|user|>", kControl);
  const uint32_t user_end = maker.add("<|user|>end", kControl);
  const uint32_t tool = maker.add("[TOOL]", kUserDefined);
  const OpenTokenizer spm = make(maker);
  ASSERT_TRUE(spm.tokenizer) << spm.error;
  const uint32_t hello = id_of(maker, std::string(kMark) + "hello");
  EXPECT_EQ(spm->encode("", {}), Ids({1}));
  EXPECT_EQ(spm->encode("", kPlain), Ids());
  EXPECT_EQ(spm->encode("hello<|user|>hello", {}), Ids({1, hello, user, hello}));
  EXPECT_EQ(spm->encode("<|user|>end", {}), Ids({1, user_end}));
  EXPECT_EQ(spm->encode("<|user|", {false, true}).size(), 8u);
  EXPECT_EQ(spm->encode("[TOOL]hello", kPlain), Ids({tool, hello}));
  for (const uint32_t id : spm->encode("<|user|>", kPlain)) EXPECT_NE(id, user);
  EXPECT_EQ(spm->piece(user, false), "");
  EXPECT_EQ(spm->piece(user, true), "<|user|>");
  EXPECT_EQ(spm->piece(tool, false), "[TOOL]");
  EXPECT_TRUE(spm->is_control(user));
  EXPECT_FALSE(spm->is_control(tool));
}

TEST(Spm, ControlTextNeverMergesIntoAControlToken) {
  VocabularyMaker maker = spm_vocabulary();
  maker.add("<s", kNormal, -1);
  for (const char* letter : {"<", "s", ">"}) maker.add(letter, kNormal, -9);
  const OpenTokenizer spm = make(maker);
  ASSERT_TRUE(spm.tokenizer) << spm.error;
  for (const uint32_t id : spm->encode("<s>", kPlain)) EXPECT_NE(id, 1u);
}

TEST(Spm, Defaults) {
  const OpenTokenizer spm = make(hello_vocabulary());
  ASSERT_TRUE(spm.tokenizer) << spm.error;
  EXPECT_EQ(spm->bos(), 1);
  EXPECT_TRUE(spm->adds_bos());
  EXPECT_TRUE(spm->strips_leading_space());
  EXPECT_EQ(spm->end_of_generation(), Ids({2}));
  EXPECT_TRUE(spm->is_end_of_generation(2));
  EXPECT_FALSE(spm->is_end_of_generation(1));
}

TEST(Spm, KeysOverrideTheDefaults) {
  VocabularyMaker maker = hello_vocabulary();
  const uint32_t turn = maker.add("<end_of_turn>", kNormal, 0);
  maker.more_keys = [](gguf::Writer& writer) {
    writer.set_bool("tokenizer.ggml.add_bos_token", false);
    writer.set_bool("tokenizer.ggml.add_eos_token", true);
    writer.set_bool("tokenizer.ggml.add_space_prefix", false);
    writer.set_u32("tokenizer.ggml.bos_token_id", 0xffffffff);
    writer.set_u32("tokenizer.ggml.eos_token_id", 1);
  };
  const OpenTokenizer spm = make(maker);
  ASSERT_TRUE(spm.tokenizer) << spm.error;
  EXPECT_EQ(spm->bos(), -1);
  EXPECT_EQ(spm->encode("he", {}), Ids({id_of(maker, "he"), 1}));
  EXPECT_FALSE(spm->strips_leading_space());
  EXPECT_EQ(spm->end_of_generation(), Ids({1, 2, turn}));
  EXPECT_TRUE(spm->is_control(turn));  // whatever its type says
}

TEST(Spm, Phi3SpecialTokensSwallowWhiteSpace) {
  VocabularyMaker maker = hello_vocabulary();
  const uint32_t user = maker.add("<|user|>", kControl);
  maker.more_keys = [](gguf::Writer& writer) { writer.set_string("general.name", "Phi3 mini"); };
  const OpenTokenizer spm = make(maker);
  ASSERT_TRUE(spm.tokenizer) << spm.error;
  const uint32_t hello = id_of(maker, std::string(kMark) + "hello");
  EXPECT_EQ(spm->encode("<|user|> \n hello", {false, true}), Ids({user, hello}));
  EXPECT_EQ(spm->encode("<|user|>\n", {false, true}), Ids({user}));
}

TEST(Spm, RoundTrip) {
  const OpenTokenizer spm = make(hello_vocabulary());
  ASSERT_TRUE(spm.tokenizer) << spm.error;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::string text = random_text(seed, seed);
    EXPECT_EQ(spm->decode(spm->encode(text, kPlain), false), text) << seed;
  }
}

TEST(Spm, InvalidUtf8IsReadAsReplacementCharacter) {
  const OpenTokenizer spm = make(hello_vocabulary());
  ASSERT_TRUE(spm.tokenizer) << spm.error;
  EXPECT_EQ(spm->encode("he\xff", kPlain), spm->encode("he\xef\xbf\xbd", kPlain));
}

// The definition, word for word: merge the best pair, leftmost among equals, until there is none.
std::vector<std::string> merge_naively(std::string_view text,
                                       const std::map<std::string, float>& scores) {
  std::vector<std::string> pieces;
  while (!text.empty()) {
    const size_t size = first_character(text).size;
    pieces.emplace_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  while (true) {
    size_t best = pieces.size();
    float best_score = 0;
    for (size_t i = 0; i + 1 < pieces.size(); ++i) {
      const auto found = scores.find(pieces[i] + pieces[i + 1]);
      if (found == scores.end()) continue;
      if (best != pieces.size() && found->second <= best_score) continue;
      best = i;
      best_score = found->second;
    }
    if (best == pieces.size()) return pieces;
    pieces[best] += pieces[best + 1];
    pieces.erase(pieces.begin() + best + 1);
  }
}

TEST(Spm, EqualsTheDefinitionOnRandomVocabularies) {
  std::mt19937 random(1);
  const std::string letters[] = {"a", "b", "c", "\xc3\xa9", kMark};
  for (int round = 0; round < 60; ++round) {
    VocabularyMaker maker = spm_vocabulary();
    maker.more_keys = [](gguf::Writer& writer) {
      writer.set_bool("tokenizer.ggml.add_space_prefix", false);
    };
    std::map<std::string, float> scores;
    for (int i = 0; i < 60; ++i) {
      std::string piece;
      for (size_t length = 1 + random() % 6; length > 0; --length) piece += letters[random() % 5];
      const float score = -static_cast<float>(random() % 20);  // many equal scores
      if (scores.emplace(piece, score).second) maker.add(piece, kNormal, score);
    }
    const OpenTokenizer spm = make(maker);
    ASSERT_TRUE(spm.tokenizer) << spm.error;
    for (int i = 0; i < 20; ++i) {
      std::string text;
      for (size_t length = random() % 60; length > 0; --length) text += letters[random() % 5];
      Ids expected;
      for (const std::string& piece : merge_naively(text, scores)) {
        if (scores.count(piece) > 0) {
          expected.push_back(id_of(maker, piece));
          continue;
        }
        for (const char byte : piece) expected.push_back(3 + static_cast<uint8_t>(byte));
      }
      EXPECT_EQ(spm->encode(text, kPlain), expected) << text;
    }
  }
}

TEST(Spm, LongRunsAreFast) {
  VocabularyMaker maker = spm_vocabulary();
  for (const std::string& letter : {std::string(kMark), std::string("a")}) {
    std::string run;
    for (int length = 1; length <= 16; ++length) {
      run += letter;
      maker.add(run, kNormal, -static_cast<float>(length));
    }
  }
  const OpenTokenizer spm = make(maker);
  ASSERT_TRUE(spm.tokenizer) << spm.error;
  for (const char letter : {' ', 'a'}) {
    const std::string text(100000, letter);
    const auto start = std::chrono::steady_clock::now();
    const Ids ids = spm->encode(text, kPlain);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    EXPECT_LT(seconds.count(), 2);
    EXPECT_EQ(spm->decode(ids, false), text);
  }
}

VocabularyMaker gemma4_vocabulary() {
  VocabularyMaker maker = spm_vocabulary();
  maker.model = "gemma4";
  const std::string mark = kMark;
  for (const char* piece : {"a", "b", "\n", "\n\n\n"}) maker.add(piece, kNormal);
  maker.add(mark, kNormal);
  maker.add(mark + "ab", kNormal);
  maker.add("aa", kNormal);
  maker.merges = {"a a", "a b", mark + " ab"};  // "ab" is no token
  maker.more_keys = [](gguf::Writer& writer) {
    writer.set_u32("tokenizer.ggml.bos_token_id", 1);
    writer.set_bool("tokenizer.ggml.add_bos_token", false);
  };
  return maker;
}

TEST(Gemma4, MergesCharactersByRank) {
  const VocabularyMaker maker = gemma4_vocabulary();
  const OpenTokenizer open = make(maker);
  ASSERT_TRUE(open.tokenizer) << open.error;
  const std::string mark = kMark;
  const uint32_t a = id_of(maker, "a");
  EXPECT_EQ(open->encode("aab", kPlain), Ids({id_of(maker, "aa"), id_of(maker, "b")}));
  EXPECT_EQ(open->encode(" aba", kPlain), Ids({id_of(maker, mark + "ab"), a}));
  EXPECT_EQ(open->encode("ab", kPlain), Ids({3 + 'a', 3 + 'b'}));
  EXPECT_EQ(open->encode("\xc3\xa9", kPlain), Ids({3 + 0xc3, 3 + 0xa9}));
  EXPECT_EQ(open->decode(open->encode(" aba  b", kPlain), false), " aba  b");
}

TEST(Gemma4, TakesLineBreaksTogether) {
  const VocabularyMaker maker = gemma4_vocabulary();
  const OpenTokenizer open = make(maker);
  ASSERT_TRUE(open.tokenizer) << open.error;
  const uint32_t a = id_of(maker, "a"), line = id_of(maker, "\n"), lines = id_of(maker, "\n\n\n");
  EXPECT_EQ(open->encode("a\n\n\na\n\n", kPlain), Ids({a, lines, a, line, line}));
}

TEST(Gemma4, AlwaysBeginsWithBos) {
  VocabularyMaker maker = gemma4_vocabulary();
  const OpenTokenizer open = make(maker);
  ASSERT_TRUE(open.tokenizer) << open.error;
  EXPECT_EQ(open->encode("a", {true, false}), Ids({1, id_of(maker, "a")}));
  maker.more_keys = nullptr;
  const OpenTokenizer without = make(maker);
  EXPECT_FALSE(without.tokenizer);
  EXPECT_NE(without.error.find("bos_token_id"), std::string::npos) << without.error;
}

}  // namespace
}  // namespace jllm::text

// How each family cuts a text into words, case by case; pretokenizer_golden_test.cpp has all the
// rest. Needs no vocabulary: a build of the device side alone runs it too.
#include "executor/text/pretokenizer.h"

#include <gtest/gtest.h>

#include "tests/text/random_text.h"

namespace jllm::text {
namespace {

std::vector<std::string> words(fb::PreTokenizer kind, std::string_view text) {
  std::string error;
  const auto pre_tokenizer = PreTokenizer::create(kind, &error);
  if (pre_tokenizer == nullptr) return {error};
  std::vector<std::string_view> views;
  pre_tokenizer->split(text, &views);
  return {views.begin(), views.end()};
}

using Words = std::vector<std::string>;

TEST(PreTokenizer, Gpt2) {
  EXPECT_EQ(words(fb::PreTokenizer::Gpt2, "I've 123  cats!\n\n x"),
            Words({"I", "'ve", " 123", " ", " cats", "!", "\n\n", " x"}));
  EXPECT_EQ(words(fb::PreTokenizer::Gpt2, "a\nb "), Words({"a", "\n", "b", " "}));
}

TEST(PreTokenizer, StarCoderCutsDigits) {
  EXPECT_EQ(words(fb::PreTokenizer::StarCoder, "x 12y"), Words({"x", " ", "1", "2", "y"}));
}

TEST(PreTokenizer, FalconCutsPunctuationAndThreeDigits) {
  EXPECT_EQ(words(fb::PreTokenizer::Falcon, "a+`12345 !"),
            Words({"a", "+`", "123", "45", " ", "!"}));
  EXPECT_EQ(words(fb::PreTokenizer::Default, "a`12345"), Words({"a", "`", "123", "45"}));
}

TEST(PreTokenizer, Llama3AndQwen2) {
  EXPECT_EQ(words(fb::PreTokenizer::Llama3, "I'VE 12345 (ok)\r\n\n  z"),
            Words({"I", "'VE", " ", "123", "45", " (", "ok", ")\r\n\n", " ", " z"}));
  EXPECT_EQ(words(fb::PreTokenizer::Qwen2, "12 x"), Words({"1", "2", " x"}));
}

TEST(PreTokenizer, Qwen35KeepsMarksWithTheirLetters) {
  const std::string decomposed = "e\xcc\x81t";  // e, combining acute accent, t
  EXPECT_EQ(words(fb::PreTokenizer::Qwen35, decomposed), Words({decomposed}));
  EXPECT_EQ(words(fb::PreTokenizer::Qwen2, decomposed), Words({"e", "\xcc\x81t"}));
}

TEST(PreTokenizer, TekkenAndGpt4oCutAtUpperCase) {
  EXPECT_EQ(words(fb::PreTokenizer::Tekken, "HelloWORLDa's 12/"),
            Words({"Hello", "WORLDa", "'s", " ", "1", "2", "/"}));
  EXPECT_EQ(words(fb::PreTokenizer::Gpt4o, "HelloWorld's 1234"),
            Words({"Hello", "World's", " ", "123", "4"}));
}

TEST(PreTokenizer, MongolianVowelSeparatorIsNoSpace) {
  EXPECT_EQ(words(fb::PreTokenizer::Llama3, "!\xe1\xa0\x8e!"), Words({"!\xe1\xa0\x8e!"}));
}

TEST(PreTokenizer, DeepSeek) {
  EXPECT_EQ(words(fb::PreTokenizer::DeepSeekLlm, "ab cd!\n x12  "),
            Words({"ab", " cd", "!", "\n", " x", "12", "  "}));
  EXPECT_EQ(words(fb::PreTokenizer::DeepSeekCoder, "ab, 12\n"),
            Words({"ab", ",", " ", "1", "2", "\n"}));
  EXPECT_EQ(words(fb::PreTokenizer::DeepSeekV3, "a.b(c 1234"),
            Words({"a", ".b", "(c", " ", "123", "4"}));
}

TEST(PreTokenizer, WordsAddUpToTheText) {
  for (int kind = 0; kind <= static_cast<int>(fb::PreTokenizer::MAX); ++kind) {
    for (uint64_t seed = 0; seed < 50; ++seed) {
      const std::string text = random_text(seed, 3 * seed);
      std::string joined;
      for (const std::string& word : words(static_cast<fb::PreTokenizer>(kind), text)) {
        joined += word;
      }
      EXPECT_EQ(joined, text);
    }
  }
}

TEST(PreTokenizer, TakesALongRunInLinearTime) {
  // A pattern that is tried in vain at every character would take minutes.
  const std::string text = std::string(1 << 20, ' ') + "1";
  EXPECT_EQ(words(fb::PreTokenizer::DeepSeekLlm, text).size(), 2u);
  EXPECT_EQ(words(fb::PreTokenizer::Llama3, text).size(),
            3u);  // the last space is a word of its own
  EXPECT_EQ(words(fb::PreTokenizer::Gpt4o, text).size(), 3u);
}

}  // namespace
}  // namespace jllm::text

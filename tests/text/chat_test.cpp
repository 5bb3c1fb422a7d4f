// Rendered conversations to tokens: only the template's own stretches hold control tokens.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/text/vocabulary_maker.h"

namespace jllm::text {
namespace {

using Ids = std::vector<uint32_t>;

class EncodeChat : public testing::Test {
 protected:
  EncodeChat() : maker_(bytes_vocabulary("gpt-2")) {
    open_ = maker_.add("<|", kControl);
    user_ = maker_.add("<|user|>", kControl);
    end_ = maker_.add("<|user|>end", kControl);
    lines_ = maker_.add("\n\n", kUserDefined);
    bpe_ = make(maker_);
  }

  Ids bytes(std::string_view text) const { return bpe_->encode(text, EncodeOptions{false, false}); }
  static Ids join(std::vector<Ids> parts) {
    Ids all;
    for (const Ids& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
  }

  VocabularyMaker maker_;
  OpenTokenizer bpe_;
  uint32_t open_ = 0, user_ = 0, end_ = 0, lines_ = 0;
};

TEST_F(EncodeChat, OnlyTrustedTextHoldsControlTokens) {
  ASSERT_TRUE(bpe_.tokenizer) << bpe_.error;
  const std::string text = "<|user|><|user|>a<|user|>";
  EXPECT_EQ(bpe_->encode_chat(text, {{0, 8}}), join({{user_}, bytes("<|user|>a<|user|>")}));
  EXPECT_EQ(bpe_->encode_chat(text, {{0, 8}, {17, 25}}),
            join({{user_}, bytes("<|user|>a"), {user_}}));
  EXPECT_EQ(bpe_->encode_chat(text, {}), bytes(text));
  EXPECT_EQ(bpe_->encode_chat(text, {{0, text.size()}}), bpe_->encode(text, {}));
}

TEST_F(EncodeChat, ATokenDoesNotGrowIntoTheUsersText) {
  ASSERT_TRUE(bpe_.tokenizer) << bpe_.error;
  const std::string text = "<|user|>end";
  EXPECT_EQ(bpe_->encode_chat(text, {{0, 11}}), Ids({end_}));
  EXPECT_EQ(bpe_->encode_chat(text, {{0, 8}}), join({{user_}, bytes("end")}));
  EXPECT_EQ(bpe_->encode_chat(text, {{0, 5}}), join({{open_}, bytes("user|>end")}));
  EXPECT_EQ(bpe_->encode_chat(text, {{1, 11}}), bytes(text));
}

TEST_F(EncodeChat, UserDefinedTokensMayCrossTheBorder) {
  ASSERT_TRUE(bpe_.tokenizer) << bpe_.error;
  EXPECT_EQ(bpe_->encode_chat("<|user|>\n\na", {{0, 9}}), join({{user_, lines_}, bytes("a")}));
  EXPECT_EQ(bpe_->encode_chat("a\n\n<|user|>", {{2, 11}}), join({bytes("a"), {lines_, user_}}));
}

TEST_F(EncodeChat, TextThatIsNotUtf8KeepsItsBorders) {
  ASSERT_TRUE(bpe_.tokenizer) << bpe_.error;
  const std::string text = "<|user|>\xff<|user|>\xff<|user|>";
  EXPECT_EQ(bpe_->encode_chat(text, {{0, 8}, {18, 26}}),
            join({{user_}, bytes("\xff<|user|>\xff"), {user_}}));
}

// Whatever the text and the borders: a control token comes out only where a trusted stretch has it.
TEST_F(EncodeChat, RandomBorders) {
  ASSERT_TRUE(bpe_.tokenizer) << bpe_.error;
  const std::string text = "<|user|>end\n\n<|<|user|>\n<|user|>end";
  for (size_t begin = 0; begin <= text.size(); ++begin) {
    for (size_t end = begin; end <= text.size(); ++end) {
      const Ids ids = bpe_->encode_chat(text, {{begin, end}});
      const Ids inside = bpe_->encode(text.substr(begin, end - begin), {false, true});
      const auto controls = [&](const Ids& of) {
        return std::count_if(of.begin(), of.end(),
                             [&](uint32_t id) { return bpe_->is_control(id); });
      };
      EXPECT_LE(controls(ids), controls(inside));
      EXPECT_EQ(bpe_->decode(ids, true), text);
    }
  }
}

TEST(EncodeChatBos, IsAddedOnceWhereTheModelAsksForIt) {
  const OpenTokenizer spm = make(spm_vocabulary());
  ASSERT_TRUE(spm.tokenizer) << spm.error;
  const Ids with = spm->encode_chat("<s>a", {{0, 3}});
  ASSERT_GT(with.size(), 1u);
  EXPECT_EQ(with[0], 1u);
  EXPECT_NE(with[1], 1u);
  EXPECT_EQ(spm->encode_chat("a", {})[0], 1u);
  // The user's own "<s>" is no BOS.
  const Ids spoofed = spm->encode_chat("<s>a", {});
  EXPECT_EQ(std::count(spoofed.begin(), spoofed.end(), 1u), 1);
}

}  // namespace
}  // namespace jllm::text

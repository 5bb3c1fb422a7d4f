#include <gtest/gtest.h>

#include "executor/text/utf8.h"
#include "tests/text/vocabulary_maker.h"

namespace jllm::text {
namespace {

class StreamDecoderTest : public testing::Test {
 protected:
  StreamDecoderTest() {
    VocabularyMaker maker = bytes_vocabulary("gpt-2");
    end_ = maker.add("<|endoftext|>", kControl);
    open_ = make(maker);
  }

  OpenTokenizer open_;
  uint32_t end_ = 0;
};

TEST_F(StreamDecoderTest, HoldsBackUnfinishedCharacters) {
  StreamDecoder decoder(*open_.tokenizer, false);
  EXPECT_EQ(decoder.push('a'), "a");
  EXPECT_EQ(decoder.push(0xf0), "");
  EXPECT_EQ(decoder.push(0x9f), "");
  EXPECT_EQ(decoder.push(0xa6), "");
  EXPECT_EQ(decoder.push(0x99), "\xf0\x9f\xa6\x99");
  EXPECT_EQ(decoder.finish(), "");
}

TEST_F(StreamDecoderTest, ReplacesWhatCanNeverBecomeACharacter) {
  StreamDecoder decoder(*open_.tokenizer, false);
  EXPECT_EQ(decoder.push(0xff), "\xef\xbf\xbd");
  EXPECT_EQ(decoder.push(0xe2), "");
  EXPECT_EQ(decoder.push('x'), "\xef\xbf\xbdx");
  EXPECT_EQ(decoder.push(0xe2), "");
  EXPECT_EQ(decoder.finish(), "\xef\xbf\xbd");
  EXPECT_EQ(decoder.finish(), "");
}

TEST_F(StreamDecoderTest, ShowsControlTokensOnlyOnRequest) {
  StreamDecoder quiet(*open_.tokenizer, false);
  EXPECT_EQ(quiet.push(end_), "");
  StreamDecoder loud(*open_.tokenizer, true);
  EXPECT_EQ(loud.push(end_), "<|endoftext|>");
  EXPECT_EQ(loud.push(1u << 30), "");
}

TEST_F(StreamDecoderTest, StreamEqualsWholeText) {
  const std::string text = random_text(7, 2000);
  StreamDecoder decoder(*open_.tokenizer, false);
  std::string streamed;
  for (const uint32_t id : open_->encode(text, {})) {
    const std::string part = decoder.push(id);
    EXPECT_TRUE(is_valid_utf8(part));
    streamed += part;
  }
  EXPECT_EQ(streamed + decoder.finish(), text);
}

}  // namespace
}  // namespace jllm::text

#include "executor/text/utf8.h"

#include <gtest/gtest.h>

namespace jllm::text {
namespace {

std::string repaired(std::string_view bytes) {
  std::string out;
  append_valid_utf8(bytes, &out);
  return out;
}

TEST(Utf8, ReadsCharactersOfEveryLength) {
  EXPECT_EQ(first_character("a").code_point, 0x61u);
  EXPECT_EQ(first_character("\xc3\xa9").code_point, 0xe9u);
  EXPECT_EQ(first_character("\xe2\x96\x81").code_point, 0x2581u);
  EXPECT_EQ(first_character("\xf0\x9f\xa6\x99").code_point, 0x1f999u);
  EXPECT_EQ(first_character("\xf4\x8f\xbf\xbf").code_point, 0x10ffffu);
  EXPECT_EQ(first_character(std::string_view("\0", 1)).code_point, 0u);
}

TEST(Utf8, RefusesWhatIsNoCharacter) {
  for (const char* bytes : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xf5\x80\x80\x80", "\xff"}) {
    EXPECT_EQ(first_character(bytes).status, Utf8Status::kInvalid);
    EXPECT_EQ(first_character(bytes).size, 1u);
  }
  EXPECT_FALSE(is_valid_utf8("\xed\xa0\x80"));      // a surrogate
  EXPECT_FALSE(is_valid_utf8("\xe0\x9f\xbf"));      // overlong
  EXPECT_FALSE(is_valid_utf8("\xf4\x90\x80\x80"));  // above U+10FFFF
  EXPECT_FALSE(is_valid_utf8("12345678\x80"));
  EXPECT_TRUE(is_valid_utf8("12345678\xc3\xa9 12345678"));
}

TEST(Utf8, TellsUnfinishedFromWrong) {
  EXPECT_EQ(first_character("\xf0\x9f\xa6").status, Utf8Status::kIncomplete);
  EXPECT_EQ(first_character("\xf0\x9f\xa6").size, 3u);
  EXPECT_EQ(first_character("\xe2").status, Utf8Status::kIncomplete);
  EXPECT_EQ(first_character("\xe2\x96x").status, Utf8Status::kInvalid);
  EXPECT_EQ(first_character("\xe2\x96x").size, 2u);
}

TEST(Utf8, RepairsWithOneReplacementPerDamagedPrefix) {
  EXPECT_EQ(repaired("a\xffz"), "a\xef\xbf\xbdz");
  EXPECT_EQ(repaired("\xe2\x96z"), "\xef\xbf\xbdz");
  EXPECT_EQ(repaired("\xf0\x9f\xa6"), "\xef\xbf\xbd");
  EXPECT_EQ(repaired("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(repaired(""), "");
}

}  // namespace
}  // namespace jllm::text

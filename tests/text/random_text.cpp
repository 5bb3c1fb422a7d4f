#include "tests/text/random_text.h"

#include <iterator>
#include <random>
#include <utility>

namespace jllm::text {

void append_character(uint32_t c, std::string* out) {
  const auto put = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xc0 | c >> 6);
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3f));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3f));
    put(0x80 | (c >> 6 & 0x3f));
  }
  put(0x80 | (c & 0x3f));
}

std::string random_text(uint64_t seed, size_t length) {
  static constexpr std::pair<uint32_t, uint32_t> kRanges[] = {
      {'a', 'z'},       {'A', 'Z'},          {'0', '9'},         {0x00, 0x7f},     {' ', ' '},
      {' ', ' '},       {'\t', '\r'},        {'!', '/'},         {0x80, 0x24f},    {0x300, 0x36f},
      {0x370, 0x5ff},   {0x1680, 0x180e},    {0x2000, 0x206f},   {0x3040, 0x30ff}, {0x4e00, 0x9fff},
      {0xe000, 0xffff}, {0x10000, 0x10ffff}, {0x1f300, 0x1f6ff},
  };
  std::mt19937_64 random(seed);
  std::string text;
  for (size_t i = 0; i < length; ++i) {
    const auto& range = kRanges[random() % std::size(kRanges)];
    append_character(
        range.first + static_cast<uint32_t>(random() % (range.second - range.first + 1)), &text);
  }
  return text;
}

}  // namespace jllm::text

// Stop strings in a text that is still being written.
#include "tools/jllm/serve/answer.h"

#include <gtest/gtest.h>

namespace jllm::serve {
namespace {

// Feeds `text` in pieces of `step` bytes, as Answer does: what may be shown in the end, and that at
// no time more was shown than stands in front of the stop string.
std::string shown(const std::string& whole, size_t step, const std::vector<std::string>& stops,
                  bool* stopped) {
  std::string text, out;
  *stopped = false;
  for (size_t i = 0; i < whole.size() && !*stopped; i += step) {
    const size_t searched = text.size();
    text += whole.substr(i, step);
    const size_t end = text_before_stop(text, searched, stops, stopped);
    EXPECT_GE(end, out.size()) << "what was shown is taken back: " << text;
    if (end > out.size()) out = text.substr(0, end);
  }
  if (!*stopped) out = text;  // what was held back is no stop string after all
  return out;
}

TEST(StopStrings, AreFoundInPiecesOfAnyLength) {
  struct Case {
    const char* text;
    std::vector<std::string> stops;
    const char* want;
    bool stopped;
  };
  const Case cases[] = {
      {"one two three", {"two"}, "one ", true},
      {"one two three", {"four"}, "one two three", false},
      {"one two three", {"three", "two"}, "one ", true},  // the first in the text
      {"aaaab", {"aab"}, "aa", true},                     // begun again within itself
      {"abab", {"abc"}, "abab", false},
      {"stop", {"stop"}, "", true},
      {"xstopstop", {"stop"}, "x", true},
      {"ends with st", {"stop"}, "ends with st", false},
      {"one\n\ntwo", {"\n\n"}, "one", true},
      {"abcd", {"bcd", "abcd"}, "", true},  // both end at once
      {"nothing", {}, "nothing", false},
  };
  for (const Case& c : cases) {
    for (size_t step = 1; step <= 5; ++step) {
      // A piece that completes two stop strings decides for the one that begins first; in smaller
      // pieces that which ends first does.
      bool stopped;
      EXPECT_EQ(shown(c.text, step, c.stops, &stopped), c.want) << c.text << " by " << step;
      EXPECT_EQ(stopped, c.stopped) << c.text;
    }
  }
}

}  // namespace
}  // namespace jllm::serve

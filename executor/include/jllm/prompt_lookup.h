// Drafts from the sequence itself: what followed the last place where its end stood before. Good
// guesses wherever text repeats (code that is edited, sources that are quoted), and as cheap as one
// pass over the tokens.
#pragma once

#include <cstdint>

namespace jllm {

class PromptLookup {
 public:
  // Tokens at the end of the sequence that must have stood somewhere before, at least and at most:
  // the longest match wins, and of those the latest.
  static constexpr uint32_t kShortestMatch = 2;
  static constexpr uint32_t kLongestMatch = 4;

  // Writes up to `most` guesses at the tokens behind tokens[0 .. count) to `draft` and returns how
  // many; 0: the end is new, or drafts have failed of late.
  uint32_t draft(const uint32_t* tokens, uint32_t count, uint32_t most, uint32_t* draft);

  // How a draft went. Drafts grow as long as they are accepted whole, and shrink to what was
  // accepted where they fail. Where nothing was accepted, time and again, there is a pause, twice
  // as long each time: text that never holds costs next to nothing.
  void learn(uint32_t drafted, uint32_t accepted);
  // Forgets how drafts went: another text.
  void reset() { *this = PromptLookup(); }

 private:
  static constexpr uint32_t kFirstLength = 4;
  // Shorter drafts cost as much where rows are computed in fours, and hardly less elsewhere.
  static constexpr uint32_t kLeastLength = 3;
  static constexpr uint32_t kMaxLength = 64;
  static constexpr uint32_t kMaxPause = 64;

  uint32_t length_ = kFirstLength;  // of the next draft, at most
  uint32_t pause_ = 0;              // calls of draft() that answer nothing
  uint32_t next_pause_ = 0;         // when the next draft fails as a whole
};

}  // namespace jllm

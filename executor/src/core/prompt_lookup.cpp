#include "jllm/prompt_lookup.h"

namespace jllm {
namespace {

// How many tokens before `end` equal those at the end of tokens[0 .. count), at most `longest`.
uint32_t match_length(const uint32_t* tokens, uint32_t count, uint32_t end, uint32_t longest) {
  uint32_t n = 0;
  while (n < longest && n < end && tokens[end - 1 - n] == tokens[count - 1 - n]) ++n;
  return n;
}

// Behind the last place where `token` stands in tokens[0 .. end); 0: nowhere. By blocks, of which
// the compiler makes vectors: this looks at the whole sequence for every token that is new.
uint32_t behind_last(const uint32_t* tokens, uint32_t end, uint32_t token) {
  constexpr uint32_t kBlock = 32;
  for (; end >= kBlock; end -= kBlock) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < kBlock; ++i) found |= tokens[end - kBlock + i] == token ? 1u : 0u;
    if (found != 0) break;
  }
  while (end > 0 && tokens[end - 1] != token) --end;
  return end;
}

}  // namespace

uint32_t PromptLookup::draft(const uint32_t* tokens, uint32_t count, uint32_t most,
                             uint32_t* draft) {
  most = most < length_ ? most : length_;
  if (most == 0 || count <= kShortestMatch) return 0;
  if (pause_ > 0) {
    --pause_;
    return 0;
  }
  const uint32_t last = tokens[count - 1];
  uint32_t best = kShortestMatch - 1;
  uint32_t from = 0;  // behind the best match
  for (uint32_t end = behind_last(tokens, count - 1, last);
       end >= kShortestMatch && best < kLongestMatch; end = behind_last(tokens, end - 1, last)) {
    const uint32_t n = match_length(tokens, count, end, kLongestMatch);
    if (n <= best) continue;
    best = n;
    from = end;
  }
  if (from == 0) return 0;
  // A match that reaches to the end of the sequence goes on with the draft itself: a period.
  for (uint32_t i = 0; i < most; ++i) {
    draft[i] = from + i < count ? tokens[from + i] : draft[from + i - count];
  }
  return most;
}

void PromptLookup::learn(uint32_t drafted, uint32_t accepted) {
  if (accepted > 0) {
    next_pause_ = 0;
  } else {
    pause_ = next_pause_;
    next_pause_ = next_pause_ < kMaxPause / 2 ? 2 * next_pause_ + 1 : kMaxPause;
  }
  if (accepted < drafted) {
    length_ = accepted > kLeastLength ? accepted : kLeastLength;
  } else {
    length_ = length_ < kMaxLength / 2 ? 2 * length_ : kMaxLength;
  }
}

}  // namespace jllm

// The special tokens are sorted by their bytes, so a match narrows one range byte by byte.
// Vocabularies with thousands of specials that all begin with '<' stay fast, and no tree is needed.
#include "executor/text/special_matcher.h"

#include <algorithm>
#include <tuple>

namespace jllm::text {

SpecialMatcher::SpecialMatcher(const Vocabulary& vocabulary, bool user_defined_only)
    : vocabulary_(vocabulary) {
  for (uint32_t id = 0; id < vocabulary.size(); ++id) {
    const fb::TokenType type = vocabulary.type(id);
    const bool is_special =
        type == fb::TokenType::UserDefined ||
        (!user_defined_only && (type == fb::TokenType::Control || type == fb::TokenType::Unknown));
    if (!is_special || vocabulary.bytes(id).empty()) continue;
    ids_.push_back(id);
    begins_[static_cast<uint8_t>(vocabulary.bytes(id)[0])] = true;
  }
  std::sort(ids_.begin(), ids_.end(), [&](uint32_t a, uint32_t b) {
    return std::make_tuple(vocabulary.bytes(a), a) < std::make_tuple(vocabulary.bytes(b), b);
  });
}

bool SpecialMatcher::find(std::string_view text, size_t from, size_t end,
                          SpecialMatch* match) const {
  if (ids_.empty()) return false;
  for (size_t i = from; i < end; ++i) {
    if (!begins_[static_cast<uint8_t>(text[i])] || !match_at(text.substr(i), match)) continue;
    match->begin = i;
    return true;
  }
  return false;
}

bool SpecialMatcher::match_at(std::string_view text, SpecialMatch* match) const {
  bool found = false;
  auto low = ids_.begin();
  auto high = ids_.end();
  // Here every token in [low, high) begins with the first `depth` bytes of the text.
  for (size_t depth = 0; low != high; ++depth) {
    if (vocabulary_.bytes(*low).size() == depth) {
      *match = {0, depth, *low};  // the lowest id of equal tokens
      found = true;
      low = std::partition_point(
          low, high, [&](uint32_t id) { return vocabulary_.bytes(id).size() == depth; });
    }
    if (depth == text.size()) break;
    const auto byte_at = [&](uint32_t id) {
      return static_cast<uint8_t>(vocabulary_.bytes(id)[depth]);
    };
    const auto wanted = static_cast<uint8_t>(text[depth]);
    low = std::partition_point(low, high, [&](uint32_t id) { return byte_at(id) < wanted; });
    high = std::partition_point(low, high, [&](uint32_t id) { return byte_at(id) == wanted; });
  }
  return found;
}

}  // namespace jllm::text

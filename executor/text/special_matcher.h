// Finds special tokens written out in a text: leftmost first, the longest where several begin.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "executor/text/vocabulary.h"

namespace jllm::text {

struct SpecialMatch {
  size_t begin;
  size_t size;
  uint32_t id;
};

class SpecialMatcher {
 public:
  // `user_defined_only`: leave out control and unknown tokens.
  SpecialMatcher(const Vocabulary& vocabulary, bool user_defined_only);

  // The first special token that begins in [from, end); false when there is none.
  bool find(std::string_view text, size_t from, size_t end, SpecialMatch* match) const;

 private:
  bool match_at(std::string_view text, SpecialMatch* match) const;

  const Vocabulary& vocabulary_;
  std::vector<uint32_t> ids_;          // by ascending bytes, then id
  std::array<bool, 256> begins_ = {};  // first bytes of any special token
};

}  // namespace jllm::text

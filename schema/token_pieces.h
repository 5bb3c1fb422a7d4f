// The text of single tokens, read in place from a plan's tokenizer segment: no heap. Splitting text
// into tokens is executor/text's.
#pragma once

#include <cstdint>

#include "schema/result.h"

namespace jllm {

struct Message;

class TokenPieces {
 public:
  // Proves the parts of the segment that are read here. `segment` stands at a multiple of 8 bytes
  // and outlives the object.
  [[nodiscard]] Error open(const uint8_t* segment, uint64_t size, Message* message);

  uint32_t count() const { return count_; }
  // Writes at most `capacity` bytes to `out` and returns how many the token stands for; 0 for
  // control tokens and ids that there are not.
  uint32_t piece(uint32_t id, char* out, uint32_t capacity) const;

 private:
  uint32_t count_ = 0;
  bool escapes_spaces_ = false;  // U+2581 stands for a space
  const uint8_t* bytes_ = nullptr;
  const uint32_t* offsets_ = nullptr;
  const uint8_t* types_ = nullptr;
};

}  // namespace jllm

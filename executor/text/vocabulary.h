// The verified view of a tokenizer segment (schema/tokenizer.fbs). open() proves every index and
// length once; the accessors behind it trust the segment and copy nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "schema/tokenizer_generated.h"

namespace jllm::text {

inline constexpr uint32_t kNone = 0xffffffff;  // "no such id", in the segment and here

struct Merge {
  uint32_t rank;    // the lowest merges first
  uint32_t result;  // symbol that replaces the pair
};

class Vocabulary {
 public:
  // False on a damaged segment, with the reason in *error. The segment must outlive *out and be
  // aligned for 32-bit reads.
  static bool open(const uint8_t* segment, size_t size, Vocabulary* out, std::string* error);

  const fb::Vocabulary& data() const { return *data_; }
  uint32_t size() const { return size_; }

  // `id` < size().
  std::string_view bytes(uint32_t id) const {
    return {token_bytes_ + token_offsets_[id], token_offsets_[id + 1] - token_offsets_[id]};
  }
  fb::TokenType type(uint32_t id) const { return static_cast<fb::TokenType>(token_types_[id]); }

  // True when symbols `left` and `right` (or kNone, which never merges) form another symbol.
  bool find_merge(uint32_t left, uint32_t right, Merge* merge) const;

  uint32_t byte_symbol(uint8_t byte) const { return byte_symbols_[byte]; }  // BPE only
  uint32_t byte_token(uint8_t byte) const { return byte_tokens_[byte]; }
  uint32_t code_point_symbol(uint32_t code_point) const;  // SPM; kNone when the vocabulary lacks it
  uint32_t find_word(std::string_view word) const;        // kNone when it is not in `words`

 private:
  bool verify(std::string* error);
  bool verify_merges(std::string* error);
  bool verify_start_symbols(std::string* error);

  const fb::Vocabulary* data_ = nullptr;
  // The hot arrays of *data_, without FlatBuffers' look-ups.
  const char* token_bytes_ = nullptr;
  const uint32_t* token_offsets_ = nullptr;
  const uint8_t* token_types_ = nullptr;
  const uint32_t* merge_rows_ = nullptr;
  const uint32_t* merge_right_ = nullptr;
  const uint32_t* merge_rank_ = nullptr;
  const uint32_t* merge_result_ = nullptr;
  const uint32_t* byte_symbols_ = nullptr;
  const uint32_t* byte_tokens_ = nullptr;
  uint32_t size_ = 0;
  uint32_t symbol_count_ = 0;
};

}  // namespace jllm::text

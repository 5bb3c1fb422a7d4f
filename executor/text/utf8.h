// UTF-8 as the Unicode standard defines it: no overlong forms, no surrogates, nothing above
// U+10FFFF. Damaged text is read the way browsers read it: each longest damaged prefix counts as
// one U+FFFD.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace jllm::text {

inline constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd";  // U+FFFD

enum class Utf8Status {
  kValid,
  kInvalid,     // these `size` bytes can never begin a character
  kIncomplete,  // the bytes end inside a character that is right so far
};

struct Utf8Character {
  Utf8Status status;
  size_t size;          // in bytes, >= 1
  uint32_t code_point;  // of a valid character
};

// Reads the first character of `bytes`, which are not empty.
Utf8Character first_character(std::string_view bytes);

bool is_valid_utf8(std::string_view bytes);

// Appends `bytes` to *out with U+FFFD in the place of what is not UTF-8.
void append_valid_utf8(std::string_view bytes, std::string* out);

}  // namespace jllm::text

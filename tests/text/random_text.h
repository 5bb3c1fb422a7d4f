// Random texts, for tests with and without vocabularies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace jllm::text {

// In UTF-8.
void append_character(uint32_t c, std::string* out);

// A random text of `length` characters of every kind: ASCII, white space, marks, ideographs, emoji.
std::string random_text(uint64_t seed, size_t length);

}  // namespace jllm::text

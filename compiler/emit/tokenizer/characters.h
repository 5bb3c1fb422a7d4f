// Characters in token texts: UTF-8 boundaries, the names of byte tokens, and GPT-2's byte alphabet.
#pragma once

#include <llvm/ADT/StringRef.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace jllm::emit {

// Offsets at which the characters of `text` begin, and its size; only {0} when it is not UTF-8.
std::vector<size_t> character_bounds(llvm::StringRef text);

// The code point of a text of exactly one character.
std::optional<uint32_t> only_character(llvm::StringRef text);

// 0x0a for "<0x0A>".
std::optional<uint8_t> named_byte(llvm::StringRef text);

// Byte-level BPE writes each byte as one printable letter: printable Latin-1 stands for itself, the
// other 68 bytes in ascending order for U+0100 and up. False when `text` has any other character.
bool bytes_of_letters(llvm::StringRef text, std::string* bytes);

}  // namespace jllm::emit

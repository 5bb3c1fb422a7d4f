// UTF-8 through LLVM's converter; the byte alphabet as a small table.
#include "compiler/emit/tokenizer/characters.h"

#include <llvm/Support/ConvertUTF.h>

#include <array>

namespace jllm::emit {
namespace {

constexpr uint32_t kAlphabetEnd = 0x100 + 68;
constexpr int16_t kNoByte = -1;

// Removes the first character of *text, which is not empty.
std::optional<uint32_t> take_character(llvm::StringRef* text) {
  const llvm::UTF8* begin = text->bytes_begin();
  llvm::UTF32 code_point = 0;
  if (llvm::convertUTF8Sequence(&begin, text->bytes_end(), &code_point, llvm::strictConversion) !=
      llvm::conversionOK) {
    return std::nullopt;
  }
  *text = text->drop_front(begin - text->bytes_begin());
  return code_point;
}

bool is_printable_latin1(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

std::array<int16_t, kAlphabetEnd> make_alphabet() {
  std::array<int16_t, kAlphabetEnd> bytes;
  bytes.fill(kNoByte);
  uint32_t next = 0x100;
  for (int16_t byte = 0; byte < 256; ++byte) {
    bytes[is_printable_latin1(byte) ? byte : next++] = byte;
  }
  return bytes;
}

}  // namespace

std::vector<size_t> character_bounds(llvm::StringRef text) {
  std::vector<size_t> bounds = {0};
  llvm::StringRef rest = text;
  while (!rest.empty()) {
    if (!take_character(&rest)) return {0};
    bounds.push_back(text.size() - rest.size());
  }
  return bounds;
}

std::optional<uint32_t> only_character(llvm::StringRef text) {
  if (text.empty()) return std::nullopt;
  const std::optional<uint32_t> code_point = take_character(&text);
  return text.empty() ? code_point : std::nullopt;
}

std::optional<uint8_t> named_byte(llvm::StringRef text) {
  uint8_t byte = 0;
  if (text.size() != 6 || !text.consume_front("<0x") || !text.consume_back(">") ||
      text.getAsInteger(16, byte)) {
    return std::nullopt;
  }
  return byte;
}

bool bytes_of_letters(llvm::StringRef text, std::string* bytes) {
  static const std::array<int16_t, kAlphabetEnd> kAlphabet = make_alphabet();
  bytes->clear();
  while (!text.empty()) {
    const std::optional<uint32_t> letter = take_character(&text);
    if (!letter || *letter >= kAlphabetEnd || kAlphabet[*letter] == kNoByte) return false;
    bytes->push_back(static_cast<char>(kAlphabet[*letter]));
  }
  return true;
}

}  // namespace jllm::emit

// UTF-8 decoding by the table of well-formed byte sequences (Unicode standard, table 3-7).
#include "executor/text/utf8.h"

#include <cstring>

namespace jllm::text {

Utf8Character first_character(std::string_view bytes) {
  const auto lead = static_cast<uint8_t>(bytes[0]);
  if (lead < 0x80) return {Utf8Status::kValid, 1, lead};
  size_t length = 0;
  uint32_t code_point = 0;
  // Only the second byte has bounds that depend on the lead byte.
  uint8_t low = 0x80;
  uint8_t high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
    code_point = lead & 0x1f;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    code_point = lead & 0x0f;
    if (lead == 0xe0) low = 0xa0;   // overlong
    if (lead == 0xed) high = 0x9f;  // surrogates
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    code_point = lead & 0x07;
    if (lead == 0xf0) low = 0x90;   // overlong
    if (lead == 0xf4) high = 0x8f;  // above U+10FFFF
  } else {
    return {Utf8Status::kInvalid, 1, 0};
  }
  for (size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {Utf8Status::kIncomplete, i, 0};
    const auto byte = static_cast<uint8_t>(bytes[i]);
    if (byte < low || byte > high) return {Utf8Status::kInvalid, i, 0};
    code_point = code_point << 6 | (byte & 0x3f);
    low = 0x80;
    high = 0xbf;
  }
  return {Utf8Status::kValid, length, code_point};
}

bool is_valid_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    uint64_t block = 0;
    if (bytes.size() >= sizeof(block)) {
      std::memcpy(&block, bytes.data(), sizeof(block));
      if ((block & 0x8080808080808080u) == 0) {  // eight ASCII characters at once
        bytes.remove_prefix(sizeof(block));
        continue;
      }
    }
    const Utf8Character character = first_character(bytes);
    if (character.status != Utf8Status::kValid) return false;
    bytes.remove_prefix(character.size);
  }
  return true;
}

void append_valid_utf8(std::string_view bytes, std::string* out) {
  while (!bytes.empty()) {
    const Utf8Character character = first_character(bytes);
    if (character.status == Utf8Status::kValid) {
      out->append(bytes.substr(0, character.size));
    } else {
      out->append(kReplacementCharacter);
    }
    bytes.remove_prefix(character.size);
  }
}

}  // namespace jllm::text

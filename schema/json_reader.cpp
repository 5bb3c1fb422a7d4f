#include "schema/json_reader.h"

namespace jllm {
namespace {

constexpr int kMaxDepth = 64;

// UTF-8; the bytes written.
size_t write_code_point(uint32_t code, char* out) {
  size_t size = 0;
  const auto put = [&](uint32_t byte) { out[size++] = static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
    return size;
  }
  if (code < 0x800) {
    put(0xc0 | code >> 6);
  } else {
    if (code < 0x10000) {
      put(0xe0 | code >> 12);
    } else {
      put(0xf0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3f));
    }
    put(0x80 | (code >> 6 & 0x3f));
  }
  put(0x80 | (code & 0x3f));
  return size;
}

}  // namespace

char JsonReader::peek() {
  while (at_ < text_.size() &&
         std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
    ++at_;
  return at_ < text_.size() ? text_[at_] : '\0';
}

bool JsonReader::take(std::string_view word) {
  peek();
  if (text_.substr(at_, word.size()) != word) return false;
  at_ += word.size();
  return true;
}

bool JsonReader::skip_value(int depth) {
  if (depth > kMaxDepth) return false;
  switch (peek()) {
    case '"':
      return string([](std::string_view) { return true; });
    case '{':
      return skip_list('}', true, depth);
    case '[':
      return skip_list(']', false, depth);
    default:
      return take("true") || take("false") || take("null") || !number().empty();
  }
}

std::string_view JsonReader::number() {
  const size_t begin = position();
  one_of("-");
  const bool leading_zero = at_ < text_.size() && text_[at_] == '0';
  const size_t digits = skip_digits();
  if (digits == 0 || (leading_zero && digits > 1)) return {};
  if (one_of(".") && skip_digits() == 0) return {};
  if (one_of("eE")) {
    one_of("+-");
    if (skip_digits() == 0) return {};
  }
  return from(begin);
}

bool JsonReader::skip_list(char end, bool has_names, int depth) {
  ++at_;
  const std::string_view closing(&end, 1);
  if (take(closing)) return true;
  do {
    if (has_names && (!string([](std::string_view) { return true; }) || !take(":"))) return false;
    if (!skip_value(depth + 1)) return false;
  } while (take(","));
  return take(closing);
}

size_t JsonReader::skip_digits() {
  const size_t begin = at_;
  while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
  return at_ - begin;
}

bool JsonReader::one_of(const char* letters) {
  if (at_ == text_.size() || std::string_view(letters).find(text_[at_]) == std::string_view::npos)
    return false;
  ++at_;
  return true;
}

bool JsonReader::hex4(uint32_t* value) {
  *value = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    if (at_ == text_.size()) return false;
    const char c = text_[at_];
    const uint32_t digit = c >= '0' && c <= '9'   ? static_cast<uint32_t>(c - '0')
                           : c >= 'a' && c <= 'f' ? static_cast<uint32_t>(c - 'a' + 10)
                           : c >= 'A' && c <= 'F' ? static_cast<uint32_t>(c - 'A' + 10)
                                                  : 16;
    if (digit == 16) return false;
    *value = *value * 16 + digit;
  }
  return true;
}

// Behind "\u". Half a pair is no character.
bool JsonReader::escaped_code_point(uint32_t* code) {
  if (!hex4(code)) return false;
  if (*code < 0xd800 || *code > 0xdfff) return true;
  if (*code >= 0xdc00 || text_.substr(at_, 2) != "\\u") return false;
  at_ += 2;
  uint32_t low = 0;
  if (!hex4(&low) || low < 0xdc00 || low > 0xdfff) return false;
  *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
  return true;
}

bool JsonReader::next_piece(char* room, std::string_view* piece) {
  const size_t begin = at_;
  while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\') {
    if (static_cast<uint8_t>(text_[at_]) < 0x20) return false;
    ++at_;
  }
  *piece = from(begin);
  if (!piece->empty()) return true;
  if (at_ == text_.size()) return false;
  if (text_[at_++] == '"') return true;
  if (at_ == text_.size()) return false;
  constexpr std::string_view kLetters = "\"\\/bfnrt";
  constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
  const char c = text_[at_++];
  if (const size_t i = kLetters.find(c); i != std::string_view::npos) {
    *piece = kMeant.substr(i, 1);
    return true;
  }
  uint32_t code = 0;
  if (c != 'u' || !escaped_code_point(&code)) return false;
  *piece = {room, write_code_point(code, room)};
  return true;
}

}  // namespace jllm

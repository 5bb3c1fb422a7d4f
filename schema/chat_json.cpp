#include "schema/chat_json.h"

#include <charconv>
#include <cmath>

namespace jllm {
namespace {

constexpr int kMaxDepth = 64;

bool print_string(JsonReader* in, ChatSink* out) {
  return out->append("\"") &&
         in->string([&](std::string_view piece) { return print_escaped(piece, out); }) &&
         out->append("\"");
}

// Python tells whole numbers from others by their writing, and writes the others with as few digits
// as bring them back.
bool print_number(std::string_view text, ChatSink* out) {
  if (text.empty()) return false;
  if (text.find_first_of(".eE") == std::string_view::npos) {
    return out->append(text == "-0" ? "0" : text);
  }
  double value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc()) return false;
  char room[64];
  const double size = std::fabs(value);
  const bool plain = size == 0 || (size >= 1e-4 && size < 1e16);
  const auto format = plain ? std::chars_format::fixed : std::chars_format::scientific;
  const auto written = std::to_chars(room, room + sizeof room, value, format);
  const std::string_view digits(room, static_cast<size_t>(written.ptr - room));
  const bool is_whole = plain && digits.find('.') == std::string_view::npos;
  return out->append(digits) && (!is_whole || out->append(".0"));
}

bool print_break(const JsonStyle& style, int level, ChatSink* out) {
  if (style.indent < 0) return true;
  if (!out->append("\n")) return false;
  for (int i = 0; i < style.indent * level; ++i) {
    if (!out->append(" ")) return false;
  }
  return true;
}

bool print_list(JsonReader* in, const JsonStyle& style, ChatSink* out, int level) {
  const bool has_names = in->peek() == '{';
  const std::string_view close = has_names ? "}" : "]";
  const bool spaced = style.indent < 0 && !style.compact;
  if (!in->take(has_names ? "{" : "[") || !out->append(has_names ? "{" : "[")) return false;
  if (in->take(close)) return out->append(close);
  bool first = true;
  do {
    if (!first && !out->append(spaced ? ", " : ",")) return false;
    first = false;
    if (!print_break(style, level + 1, out)) return false;
    if (has_names &&
        (!print_string(in, out) || !in->take(":") || !out->append(style.compact ? ":" : ": "))) {
      return false;
    }
    if (!print_json(in, style, out, level + 1)) return false;
  } while (in->take(","));
  return in->take(close) && print_break(style, level, out) && out->append(close);
}

}  // namespace

bool print_json(JsonReader* in, const JsonStyle& style, ChatSink* out, int level) {
  if (level > kMaxDepth) return false;
  const char c = in->peek();
  if (c == '"') return print_string(in, out);
  if (c == '{' || c == '[') return print_list(in, style, out, level);
  for (std::string_view word : {"true", "false", "null"}) {
    if (in->take(word)) return out->append(word);
  }
  return print_number(in->number(), out);
}

bool print_escaped(std::string_view text, ChatSink* out) {
  constexpr std::string_view kMeant = "\"\\\b\f\n\r\t";
  constexpr std::string_view kLetters = "\"\\bfnrt";
  constexpr char kHex[] = "0123456789abcdef";
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const size_t letter = kMeant.find(text[i]);
    if (byte >= 0x20 && letter == std::string_view::npos) continue;
    if (!out->append(text.substr(begin, i - begin))) return false;
    begin = i + 1;
    const char code[] = {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]};
    const char escape[] = {'\\', letter == std::string_view::npos ? 'u' : kLetters[letter]};
    if (!out->append(letter == std::string_view::npos ? std::string_view(code, sizeof code)
                                                      : std::string_view(escape, sizeof escape))) {
      return false;
    }
  }
  return out->append(text.substr(begin));
}

}  // namespace jllm

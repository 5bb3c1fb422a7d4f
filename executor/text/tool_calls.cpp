// A small JSON scanner is enough: a call is an object of which two members matter, and the
// arguments stay the text that they are.
#include "executor/text/tool_calls.h"

#include <cstdint>
#include <optional>

namespace jllm::text {
namespace {

constexpr int kMaxDepth = 64;

class Json {
 public:
  explicit Json(std::string_view text) : text_(text) {}

  bool take(std::string_view word) {
    skip_spaces();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  bool at_end() {
    skip_spaces();
    return at_ == text_.size();
  }
  size_t position() {
    skip_spaces();
    return at_;
  }
  std::string_view from(size_t begin) const { return text_.substr(begin, at_ - begin); }

  // A value of any kind; false where there is none.
  bool skip_value(int depth = 0) {
    skip_spaces();
    if (at_ == text_.size() || depth > kMaxDepth) return false;
    if (text_[at_] == '"') return static_cast<bool>(string());
    if (text_[at_] == '{') return skip_list('}', true, depth);
    if (text_[at_] == '[') return skip_list(']', false, depth);
    if (take("true") || take("false") || take("null")) return true;
    return skip_number();
  }

  // A string with its escapes resolved.
  std::optional<std::string> string() {
    if (!take("\"")) return std::nullopt;
    std::string value;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return value;
      if (static_cast<uint8_t>(c) < 0x20) return std::nullopt;
      if (c != '\\') {
        value += c;
      } else if (!append_escape(&value)) {
        return std::nullopt;
      }
    }
    return std::nullopt;
  }

 private:
  void skip_spaces() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string::npos)
      ++at_;
  }

  bool skip_list(char end, bool has_names, int depth) {
    ++at_;
    const std::string_view closing(&end, 1);
    if (take(closing)) return true;
    do {
      if (has_names && (!string() || !take(":"))) return false;
      if (!skip_value(depth + 1)) return false;
    } while (take(","));
    return take(closing);
  }

  size_t skip_digits() {
    const size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    return at_ - begin;
  }

  bool one_of(const char* letters) {
    if (at_ == text_.size() || std::string_view(letters).find(text_[at_]) == std::string::npos)
      return false;
    ++at_;
    return true;
  }

  bool skip_number() {
    one_of("-");
    if (skip_digits() == 0) return false;
    if (one_of(".") && skip_digits() == 0) return false;
    if (!one_of("eE")) return true;
    one_of("+-");
    return skip_digits() > 0;
  }

  std::optional<uint32_t> hex4() {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      if (at_ == text_.size()) return std::nullopt;
      const char c = text_[at_];
      const uint32_t digit = c >= '0' && c <= '9'   ? static_cast<uint32_t>(c - '0')
                             : c >= 'a' && c <= 'f' ? static_cast<uint32_t>(c - 'a' + 10)
                             : c >= 'A' && c <= 'F' ? static_cast<uint32_t>(c - 'A' + 10)
                                                    : 16;
      if (digit == 16) return std::nullopt;
      value = value * 16 + digit;
    }
    return value;
  }

  // Behind a backslash.
  bool append_escape(std::string* out) {
    if (at_ == text_.size()) return false;
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
    const char c = text_[at_++];
    if (const size_t i = kLetters.find(c); i != std::string_view::npos) {
      *out += kMeant[i];
      return true;
    }
    if (c != 'u') return false;
    std::optional<uint32_t> code = hex4();
    if (!code) return false;
    if (*code >= 0xd800 && *code < 0xdc00) {  // the first half of a pair
      if (text_.substr(at_, 2) != "\\u") return false;
      at_ += 2;
      const std::optional<uint32_t> low = hex4();
      if (!low || *low < 0xdc00 || *low > 0xdfff) return false;
      code = 0x10000 + ((*code - 0xd800) << 10) + (*low - 0xdc00);
    } else if (*code >= 0xdc00 && *code <= 0xdfff) {
      return false;
    }
    append_code_point(*code, out);
    return true;
  }

  static void append_code_point(uint32_t code, std::string* out) {
    const auto put = [&](uint32_t byte) { *out += static_cast<char>(byte); };
    if (code < 0x80) return put(code);
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
  }

  std::string_view text_;
  size_t at_ = 0;
};

// {"name": "...", "arguments": {...}}; Llama says "parameters". Other members are passed over.
std::optional<ToolCall> call(Json& json) {
  ToolCall result;
  bool has_name = false, has_arguments = false;
  if (!json.take("{")) return std::nullopt;
  do {
    const std::optional<std::string> key = json.string();
    if (!key || !json.take(":")) return std::nullopt;
    const size_t begin = json.position();
    if (*key == "name") {
      std::optional<std::string> name = json.string();
      if (!name || name->empty()) return std::nullopt;
      result.name = std::move(*name);
      has_name = true;
    } else if (!json.skip_value()) {
      return std::nullopt;
    } else if (*key == "arguments" || *key == "parameters") {
      result.arguments = std::string(json.from(begin));
      if (result.arguments[0] != '{') return std::nullopt;
      has_arguments = true;
    }
  } while (json.take(","));
  if (!json.take("}") || !has_name || !has_arguments) return std::nullopt;
  return result;
}

std::optional<ToolAnswer> hermes(std::string_view text) {
  constexpr std::string_view kOpen = "<tool_call>";
  constexpr std::string_view kClose = "</tool_call>";
  ToolAnswer answer;
  while (true) {
    const size_t open = text.find(kOpen);
    answer.content += text.substr(0, open);
    if (open == std::string_view::npos) break;
    text.remove_prefix(open + kOpen.size());
    // "</tool_call>" may stand in an argument: the call's own end decides.
    Json json(text);
    std::optional<ToolCall> found = call(json);
    if (!found || !json.take(kClose)) return std::nullopt;
    answer.calls.push_back(std::move(*found));
    text.remove_prefix(json.position());
  }
  return answer;
}

std::optional<ToolAnswer> llama3(std::string_view text) {
  constexpr std::string_view kTag = "<|python_tag|>";
  Json json(text);
  json.take(kTag);
  ToolAnswer answer;
  std::optional<ToolCall> found = call(json);
  if (!found || !json.at_end()) return std::nullopt;
  answer.calls.push_back(std::move(*found));
  return answer;
}

std::optional<ToolAnswer> mistral(std::string_view text) {
  constexpr std::string_view kTag = "[TOOL_CALLS]";
  const size_t tag = text.find(kTag);
  if (tag == std::string_view::npos) return std::nullopt;
  ToolAnswer answer;
  answer.content = text.substr(0, tag);
  Json json(text.substr(tag + kTag.size()));
  if (!json.take("[")) return std::nullopt;
  do {
    std::optional<ToolCall> found = call(json);
    if (!found) return std::nullopt;
    answer.calls.push_back(std::move(*found));
  } while (json.take(","));
  if (!json.take("]") || !json.at_end()) return std::nullopt;
  return answer;
}

}  // namespace

ToolAnswer parse_tool_calls(std::string_view text, ToolNotation notation) {
  std::optional<ToolAnswer> answer;
  if (notation == ToolNotation::kHermes) answer = hermes(text);
  if (notation == ToolNotation::kLlama3) answer = llama3(text);
  if (notation == ToolNotation::kMistral) answer = mistral(text);
  if (answer) return *answer;
  return {std::string(text), {}};
}

}  // namespace jllm::text

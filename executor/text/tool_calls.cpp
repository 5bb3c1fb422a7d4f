// A JSON cursor is enough: a call is an object of which three members matter, and the arguments
// stay the text that they are.
#include "executor/text/tool_calls.h"

#include <algorithm>
#include <optional>

#include "schema/json_reader.h"

namespace jllm::text {
namespace {

// A string with its escapes resolved; false where there is none.
bool read_string(JsonReader* json, std::string* value) {
  value->clear();
  return json->string([&](std::string_view piece) {
    *value += piece;
    return true;
  });
}

// {"name": "...", "arguments": {...}}; Llama says "parameters". Other members are passed over.
std::optional<ToolCall> call(JsonReader& json) {
  ToolCall result;
  std::string key;
  bool has_name = false, has_arguments = false;
  if (!json.take("{")) return std::nullopt;
  do {
    if (!read_string(&json, &key) || !json.take(":")) return std::nullopt;
    const size_t begin = json.position();
    if (key == "name") {
      if (!read_string(&json, &result.name) || result.name.empty()) return std::nullopt;
      has_name = true;
    } else if (key == "id") {
      if (!read_string(&json, &result.id)) return std::nullopt;
    } else if (!json.skip_value()) {
      return std::nullopt;
    } else if (key == "arguments" || key == "parameters") {
      result.arguments = std::string(json.from(begin));
      if (result.arguments[0] != '{') return std::nullopt;
      has_arguments = true;
    }
  } while (json.take(","));
  if (!json.take("}") || !has_name || !has_arguments) return std::nullopt;
  return result;
}

constexpr std::string_view kHermesOpen = "<tool_call>";
constexpr std::string_view kHermesClose = "</tool_call>";
constexpr std::string_view kThoughtsEnd = "</think>";
constexpr std::string_view kLlamaTag = "<|python_tag|>";
constexpr std::string_view kMistralTag = "[TOOL_CALLS]";

std::optional<ToolAnswer> hermes(std::string_view text) {
  ToolAnswer answer;
  while (true) {
    const size_t open = text.find(kHermesOpen);
    answer.content += text.substr(0, open);
    if (open == std::string_view::npos) break;
    text.remove_prefix(open + kHermesOpen.size());
    // "</tool_call>" may stand in an argument: the call's own end decides.
    JsonReader json(text);
    std::optional<ToolCall> found = call(json);
    const size_t end = found && json.take(kHermesClose) ? json.position() : 0;
    if (text.find(kThoughtsEnd, end) != std::string_view::npos) {  // only thought of
      answer.content += kHermesOpen;
      answer.content += text.substr(0, end);
    } else if (end == 0) {
      return std::nullopt;
    } else {
      answer.calls.push_back(std::move(*found));
    }
    text.remove_prefix(end);
  }
  return answer;
}

std::optional<ToolAnswer> llama3(std::string_view text) {
  JsonReader json(text);
  json.take(kLlamaTag);
  ToolAnswer answer;
  std::optional<ToolCall> found = call(json);
  if (!found || !json.at_end()) return std::nullopt;
  answer.calls.push_back(std::move(*found));
  return answer;
}

std::optional<ToolAnswer> mistral(std::string_view text) {
  const size_t tag = text.find(kMistralTag);
  if (tag == std::string_view::npos) return std::nullopt;
  ToolAnswer answer;
  answer.content = text.substr(0, tag);
  JsonReader json(text.substr(tag + kMistralTag.size()));
  if (!json.take("[")) return std::nullopt;
  do {
    std::optional<ToolCall> found = call(json);
    if (!found) return std::nullopt;
    answer.calls.push_back(std::move(*found));
  } while (json.take(","));
  if (!json.take("]") || !json.at_end()) return std::nullopt;
  return answer;
}

// Where `mark` begins in a text, or what may become it at the end of the text.
size_t find_begun(std::string_view text, std::string_view mark) {
  const size_t whole = text.find(mark);
  if (whole != std::string_view::npos) return whole;
  for (size_t size = std::min(mark.size() - 1, text.size()); size > 0; --size) {
    if (text.substr(text.size() - size) == mark.substr(0, size)) return text.size() - size;
  }
  return text.size();
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

size_t text_before_calls(std::string_view text, ToolNotation notation) {
  switch (notation) {
    case ToolNotation::kNone:
      break;
    case ToolNotation::kHermes:
      return find_begun(text, kHermesOpen);
    case ToolNotation::kMistral:
      return find_begun(text, kMistralTag);
    case ToolNotation::kLlama3: {
      JsonReader json(text);
      if (json.peek() == '{' || json.at_end()) return 0;
      return find_begun(text.substr(json.position()), kLlamaTag) == 0 ? 0 : text.size();
    }
  }
  return text.size();
}

}  // namespace jllm::text

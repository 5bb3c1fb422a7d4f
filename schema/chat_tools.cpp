#include "schema/chat_tools.h"

namespace jllm {
namespace {

bool is(JsonReader* in, std::string_view word) {
  bool equal = true;
  const bool read = in->string([&](std::string_view piece) {
    equal = equal && word.substr(0, piece.size()) == piece;
    if (equal) word.remove_prefix(piece.size());
    return true;
  });
  return read && equal && word.empty();
}

// Puts the reader, which stands at an object, in front of its member's value.
bool find_member(JsonReader* in, std::string_view name) {
  if (!in->take("{")) return false;
  do {
    const JsonReader key = *in;
    if (is(in, name)) return in->take(":");
    *in = key;
    if (!in->string([](std::string_view) { return true; }) || !in->take(":") || !in->skip_value()) {
      return false;
    }
  } while (in->take(","));
  return false;
}

// An object's members without its braces, but "return"; names and texts as they are.
bool print_members(JsonReader* in, ChatSink* out) {
  const auto as_it_is = [&](std::string_view piece) { return out->append(piece); };
  bool first = true;
  if (!in->take("{")) return false;
  do {
    JsonReader key = *in;
    if (is(&key, "return")) {
      *in = key;
      if (!in->take(":") || !in->skip_value()) return false;
      continue;
    }
    if (!out->append(first ? "\"" : ", \"") || !in->string(as_it_is) || !in->take(":") ||
        !out->append("\": ")) {
      return false;
    }
    first = false;
    if (in->peek() == '"') {
      if (!out->append("\"") || !in->string(as_it_is) || !out->append("\"")) return false;
    } else if (!print_json(in, {}, out)) {
      return false;
    }
  } while (in->take(","));
  return in->take("}");
}

// One tool; the reader is then behind it.
bool print_tool(const fb::ToolFormat& format, const JsonStyle& style, JsonReader* in,
                ChatSink* out) {
  if (in->peek() != '{') return false;
  if (format.tool_text() == fb::ToolText::Tool) return print_json(in, style, out);
  JsonReader function = *in;
  if (!find_member(&function, "function") || function.peek() != '{') return false;
  const bool printed = format.tool_text() == fb::ToolText::Members
                           ? print_members(&function, out)
                           : print_json(&function, style, out);
  return printed && in->skip_value();
}

}  // namespace

bool check_tools(const fb::ToolFormat& format, std::string_view tools) {
  ChatSink counts;
  return print_tools(format, tools, &counts);
}

bool print_tools(const fb::ToolFormat& format, std::string_view tools, ChatSink* out) {
  const std::string_view between(format.between_tools()->c_str(), format.between_tools()->size());
  JsonStyle style;
  style.indent = format.indent();  // -1 is a value: NOLINT(bugprone-signed-char-misuse)
  style.compact = format.compact();
  JsonReader in(tools);
  if (format.tool_text() == fb::ToolText::List) {
    return in.peek() == '[' && print_json(&in, style, out) && in.at_end();
  }
  if (!in.take("[")) return false;
  bool first = true;
  do {
    if (!first && !out->append_trusted(between)) return false;
    first = false;
    if (!print_tool(format, style, &in, out)) return false;
  } while (in.take(","));
  return in.take("]") && in.at_end();
}

bool check_arguments(std::string_view arguments) {
  ChatSink counts;
  JsonReader in(arguments);
  return in.peek() == '{' && print_json(&in, {}, &counts) && in.at_end();
}

bool print_arguments(std::string_view arguments, ChatSink* out) {
  JsonReader in(arguments);
  return print_json(&in, {}, out);
}

}  // namespace jllm

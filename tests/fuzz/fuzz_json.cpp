// Any bytes as JSON (tools, arguments of calls) and as a model's answer with calls in it.
#include "executor/text/tool_calls.h"
#include "schema/chat_json.h"
#include "tests/fuzz/fuzz.h"

namespace jllm::fuzz {
namespace {

// What is printed is JSON again, and printing it once more changes nothing.
void print_again(std::string_view text, const JsonStyle& style) {
  const auto printed = [&](std::string_view from, std::string* out) {
    JsonReader in(from);
    ChatSink counter;
    if (!print_json(&in, style, &counter) || !in.at_end()) return false;
    out->resize(counter.size());
    ChatText room;
    room.text = out->data();
    room.capacity = out->size();
    ChatSink sink(&room);
    JsonReader again(from);
    JLLM_FUZZ_CHECK(print_json(&again, style, &sink) && room.size == out->size());
    return true;
  };
  std::string once, twice;
  if (!printed(text, &once)) return;
  JLLM_FUZZ_CHECK(printed(once, &twice) && once == twice);
}

void run(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  JsonReader reader(text);
  reader.skip_value();
  for (const JsonStyle style : {JsonStyle{-1, false}, JsonStyle{-1, true}, JsonStyle{2, false}}) {
    print_again(text, style);
  }
  for (const auto notation : {text::ToolNotation::kNone, text::ToolNotation::kHermes,
                              text::ToolNotation::kLlama3, text::ToolNotation::kMistral}) {
    JLLM_FUZZ_CHECK(text::text_before_calls(text, notation) <= size);
    const text::ToolAnswer answer = text::parse_tool_calls(text, notation);
    for (const text::ToolCall& call : answer.calls) {
      JsonReader arguments(call.arguments);
      JLLM_FUZZ_CHECK(arguments.skip_value() && arguments.at_end());
    }
  }
}

}  // namespace
}  // namespace jllm::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  jllm::fuzz::run(data, size);
  return 0;
}

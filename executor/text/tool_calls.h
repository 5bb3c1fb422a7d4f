// Tool calls in what a model has written, in the three families' notations. May use the heap.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace jllm::text {

enum class ToolNotation {
  kNone,
  kHermes,   // <tool_call>{"name": ..., "arguments": {...}}</tool_call>, as often as needed (Qwen)
  kLlama3,   // {"name": ..., "parameters": {...}}, the whole answer
  kMistral,  // [TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]
};

struct ToolCall {
  std::string name;
  std::string arguments;  // a JSON object as the model wrote it
  std::string id;         // where the model gave one
};

struct ToolAnswer {
  std::string content;  // what is not a call; all of the text where a call in it is damaged
  std::vector<ToolCall> calls;
};

// `text` with its special tokens written out ("[TOOL_CALLS]", "<|python_tag|>").
ToolAnswer parse_tool_calls(std::string_view text, ToolNotation notation);

// How much of an answer that is still being written is text for people, and no call nor what may
// become one.
size_t text_before_calls(std::string_view text, ToolNotation notation);

}  // namespace jllm::text

// A model's tokens become the text of an answer: characters whole, up to a stop string, without
// what is, or may become, a tool call.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "executor/text/tokenizer.h"
#include "executor/text/tool_calls.h"

namespace jllm::serve {

// How much of `text` is safe from stop strings that may still be completed; `*stopped`: one stands
// at the returned position. The first `searched` bytes are known to hold none that is whole.
size_t text_before_stop(std::string_view text, size_t searched,
                        const std::vector<std::string>& stops, bool* stopped);

class Answer {
 public:
  Answer(const text::Tokenizer& tokenizer, text::ToolNotation notation,
         std::vector<std::string> stops);

  // False where the text has reached a stop string: it ends in front of that.
  bool push(uint32_t token);
  // No more tokens come.
  void finish();

  // Text for people that take() has not returned yet; while tokens come, what is certain only.
  std::string take();
  // All of the text, calls included; behind finish().
  const std::string& text() const { return text_; }
  const std::vector<text::ToolCall>& calls() const { return parsed_.calls; }

 private:
  bool put(const std::string& piece);

  text::StreamDecoder decoder_;
  text::ToolNotation notation_;
  std::vector<std::string> stops_;
  std::string text_;
  size_t ready_ = 0, taken_ = 0;
  bool stopped_ = false, finished_ = false;
  text::ToolAnswer parsed_;
};

}  // namespace jllm::serve

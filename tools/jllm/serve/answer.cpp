#include "tools/jllm/serve/answer.h"

#include <algorithm>

namespace jllm::serve {

size_t text_before_stop(std::string_view text, size_t searched,
                        const std::vector<std::string>& stops, bool* stopped) {
  size_t whole = std::string_view::npos, begun = text.size();
  for (const std::string& stop : stops) {
    const size_t from = searched > stop.size() ? searched - stop.size() : 0;
    whole = std::min(whole, text.find(stop, from));
    for (size_t size = std::min(stop.size() - 1, text.size()); size > 0; --size) {
      if (text.substr(text.size() - size) == std::string_view(stop).substr(0, size)) {
        begun = std::min(begun, text.size() - size);
        break;
      }
    }
  }
  *stopped = whole != std::string_view::npos;
  return *stopped ? whole : begun;
}

// Calls may be written with control tokens.
Answer::Answer(const text::Tokenizer& tokenizer, text::ToolNotation notation,
               std::vector<std::string> stops)
    : decoder_(tokenizer, notation != text::ToolNotation::kNone),
      notation_(notation),
      stops_(std::move(stops)) {}

bool Answer::put(const std::string& piece) {
  const size_t searched = text_.size();
  text_ += piece;
  const size_t end = text_before_stop(text_, searched, stops_, &stopped_);
  if (stopped_) text_.resize(end);
  ready_ = std::min(end, text::text_before_calls(text_, notation_));
  return !stopped_;
}

bool Answer::push(uint32_t token) { return put(decoder_.push(token)); }

void Answer::finish() {
  if (finished_) return;
  finished_ = true;
  if (!stopped_) put(decoder_.finish());
  parsed_ = text::parse_tool_calls(text_, notation_);
  ready_ = parsed_.content.size();
}

std::string Answer::take() {
  // What was ready stays as it is: calls begin behind it.
  const std::string& source = finished_ ? parsed_.content : text_;
  if (ready_ <= taken_) return "";
  std::string text = source.substr(taken_, ready_ - taken_);
  taken_ = ready_;
  return text;
}

}  // namespace jllm::serve

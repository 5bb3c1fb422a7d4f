#include "executor/text/chat.h"

#include <ctime>

#include "schema/chat_generated.h"

namespace jllm::text {

std::unique_ptr<ChatFormat> ChatFormat::open(const uint8_t* segment, size_t size,
                                             std::string* error) {
  const char* why = nullptr;
  const fb::ChatFormat* format = open_chat_format(segment, size, &why);
  if (format != nullptr) return std::unique_ptr<ChatFormat>(new ChatFormat(*format));
  *error = why;
  return nullptr;
}

bool ChatFormat::encode(const Tokenizer& tokenizer, const Conversation& conversation,
                        std::vector<uint32_t>* tokens, std::string* error) const {
  Conversation today = conversation;
  if (today.date.tm_mday == 0) {  // days of a month begin at 1
    const std::time_t now = std::time(nullptr);
    localtime_r(&now, &today.date);
  }
  size_t bytes = 0, ranges = 0;
  chat_room(format_, today, &bytes, &ranges);
  std::string room(bytes, '\0');
  std::vector<TextRange> trusted(ranges);
  ChatText text;
  text.text = &room[0];
  text.capacity = room.size();
  text.trusted = trusted.data();
  text.trusted_capacity = trusted.size();
  const ChatError failure = render_chat(format_, today, &text);
  if (failure != ChatError::kOk) {
    *error = chat_error_text(failure);
    const auto* reason = format_.system_refusal();
    if (failure == ChatError::kSystemRefused && reason != nullptr && reason->size() > 0) {
      *error += " (" + reason->str() + ")";
    }
    if (failure == ChatError::kToolsRefused) *error += " (" + tools_refusal() + ")";
    return false;
  }
  trusted.resize(text.trusted_count);
  *tokens = tokenizer.encode_chat({text.text, text.size}, trusted);
  return true;
}

ToolNotation ChatFormat::notation() const {
  if (format_.tools() == nullptr) return ToolNotation::kNone;
  switch (format_.tools()->notation()) {
    case fb::CallNotation::Unknown:
      break;
    case fb::CallNotation::Hermes:
      return ToolNotation::kHermes;
    case fb::CallNotation::Llama3:
      return ToolNotation::kLlama3;
    case fb::CallNotation::Mistral:
      return ToolNotation::kMistral;
  }
  return ToolNotation::kNone;
}

std::string ChatFormat::tools_refusal() const {
  const auto* reason = format_.tools_refusal();
  return reason != nullptr ? reason->str() : "the plan was compiled without them";
}

}  // namespace jllm::text

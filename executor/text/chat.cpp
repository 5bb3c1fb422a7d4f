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
    return false;
  }
  trusted.resize(text.trusted_count);
  *tokens = tokenizer.encode_chat({text.text, text.size}, trusted);
  return true;
}

}  // namespace jllm::text

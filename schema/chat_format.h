// Fills in a plan's chat format: a conversation becomes the text that the model was trained on,
// with marks on the template's own text, so that a user's text never becomes a control token.
// Allocates nothing; the compiler proves every format with this very code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string_view>

namespace jllm {

namespace fb {
struct ChatFormat;
}

enum class Thinking : uint8_t { kDefault = 0, kOn = 1, kOff = 2 };

struct Conversation {
  bool has_system = false;
  std::string_view system;
  const std::string_view* messages = nullptr;  // user, assistant, user, ...
  size_t count = 0;
  Thinking thinking = Thinking::kDefault;
  bool generation_prompt = true;  // the text ends where the model begins to answer
  std::tm date = {};              // for templates that say what day it is
};

// A stretch of the rendered text, bytes [begin, end).
struct TextRange {
  size_t begin;
  size_t end;
};

struct ChatText {
  char* text = nullptr;  // given by the caller
  size_t capacity = 0;
  size_t size = 0;
  TextRange* trusted = nullptr;  // the template's own stretches, ascending and apart; given as well
  size_t trusted_capacity = 0;
  size_t trusted_count = 0;
};

enum class ChatError : uint8_t {
  kOk = 0,
  kTooSmall,  // the text or its list of stretches: chat_room() says how much is enough
  kNoMessages,
  kSystemRefused,  // the template takes no system text: ChatFormat.system_refusal says why
  kEndRefused,     // the template refuses a conversation that ends like this
};

// Short English text, never null.
const char* chat_error_text(ChatError error);

// Room that is enough for a conversation: bytes of text, stretches in `trusted`.
void chat_room(const fb::ChatFormat& format, const Conversation& conversation, size_t* bytes,
               size_t* ranges);

// Null unless the bytes are a chat format whose every index and count holds; `*why` says what is
// wrong.
const fb::ChatFormat* open_chat_format(const uint8_t* segment, size_t size, const char** why);

ChatError render_chat(const fb::ChatFormat& format, const Conversation& conversation,
                      ChatText* text);

}  // namespace jllm

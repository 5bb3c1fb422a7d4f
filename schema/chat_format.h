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
enum class ChatRole : uint8_t { kUser = 0, kAssistant = 1, kTool = 2 };

// A function that the model called.
struct ChatCall {
  std::string_view name;
  std::string_view arguments;  // a JSON object
  std::string_view id;         // formats may write it; Mistral's takes 9 letters or digits
};

// What a message is besides its text.
struct ChatTurn {
  ChatRole role = ChatRole::kUser;
  const ChatCall* calls = nullptr;  // of the assistant; its text stands in front of them
  size_t call_count = 0;
  std::string_view call_id;  // of the call that a tool's result answers
};

struct Conversation {
  bool has_system = false;
  std::string_view system;
  const std::string_view* messages = nullptr;
  size_t count = 0;
  // One for each message; null: user, assistant, user, ... Behind calls come their results, behind
  // results the assistant.
  const ChatTurn* turns = nullptr;
  std::string_view tools;  // a JSON array of {"type": "function", "function": {...}}; empty: none
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
  kToolsRefused,   // the format covers no tools: ChatFormat.tools_refusal says why
  kBadOrder,       // these roles in this order are no conversation
  kBadTools,       // the tools are not what Conversation.tools says
  kBadCall,        // a call's arguments are no JSON object, or calls stand where none may
  kSeveralCalls,   // the model makes one call at a time
  kBadCallId,      // its length is not what the format asks for
};

// Short English text, never null.
const char* chat_error_text(ChatError error);

// Room that is enough for a conversation: bytes of text, stretches in `trusted`. None where
// render_chat() refuses it.
void chat_room(const fb::ChatFormat& format, const Conversation& conversation, size_t* bytes,
               size_t* ranges);

// Null unless the bytes are a chat format whose every index and count holds; `*why` says what is
// wrong.
const fb::ChatFormat* open_chat_format(const uint8_t* segment, size_t size, const char** why);

ChatError render_chat(const fb::ChatFormat& format, const Conversation& conversation,
                      ChatText* text);

}  // namespace jllm

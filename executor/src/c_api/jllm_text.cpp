// The C ABI of executor/text, jllm_text.h. No exception leaves it: what is out of memory is an
// error.
#include "jllm/jllm_text.h"

#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "executor/text/chat.h"
#include "executor/text/tokenizer.h"

struct jllm_tokenizer {
  std::vector<uint64_t> segment;  // as aligned as the tokenizer wants it
  std::unique_ptr<jllm::text::Tokenizer> tokenizer;
};

struct jllm_decoder {
  jllm_decoder(const jllm_tokenizer& of, bool with_special) : stream(*of.tokenizer, with_special) {}
  jllm::text::StreamDecoder stream;
  std::string text;  // of the last call
};

struct jllm_chat {
  std::vector<uint64_t> segment;
  std::unique_ptr<jllm::text::ChatFormat> format;
  bool has_system = false;
  std::string system;
  std::vector<std::string> messages;  // the user's first, then by turns
};

namespace {

void say(jllm_message* message, const std::string& text) {
  if (message == nullptr) return;
  const size_t n = text.size() < sizeof message->text ? text.size() : sizeof message->text - 1;
  memcpy(message->text, text.data(), n);
  message->text[n] = '\0';
}

// Runs `work`, which returns an error code, and makes one of what it throws.
template <typename Work>
jllm_error guarded(jllm_message* message, const Work& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    say(message, "out of memory");
    return JLLM_HOST_MEMORY_TOO_SMALL;
  } catch (const std::exception& failure) {
    say(message, failure.what());
    return JLLM_BAD_ARGUMENT;
  }
}

// A whole segment, as aligned as its readers want it.
jllm_error read_segment(const jllm_plan* plan, uint32_t kind, const char* name,
                        std::vector<uint64_t>* segment, jllm_message* message) {
  const uint64_t size = jllm_plan_segment_bytes(plan, kind);
  if (size == 0) {
    say(message, std::string("the plan has no ") + name);
    return JLLM_PLAN_INVALID;
  }
  segment->resize((size + 7) / 8);
  const jllm_error error = jllm_plan_read_segment(plan, kind, segment->data(), size);
  if (error != JLLM_OK) say(message, std::string("the plan's ") + name + " cannot be read");
  return error;
}

// Opens what Part::open() reads from a segment, into an object that keeps both.
template <typename Object, typename Part>
jllm_error open_part(const jllm_plan* plan, uint32_t kind, const char* name,
                     std::unique_ptr<Part> Object::*part, Object** out, jllm_message* message) {
  auto opened = std::make_unique<Object>();
  const jllm_error error = read_segment(plan, kind, name, &opened->segment, message);
  if (error != JLLM_OK) return error;
  std::string reason;
  opened.get()->*part = Part::open(reinterpret_cast<const uint8_t*>(opened->segment.data()),
                                   jllm_plan_segment_bytes(plan, kind), &reason);
  if (opened.get()->*part == nullptr) {
    say(message, reason);
    return JLLM_PLAN_DAMAGED;
  }
  *out = opened.release();
  return JLLM_OK;
}

void give_tokens(const std::vector<uint32_t>& ids, uint32_t* tokens, uint64_t capacity,
                 uint64_t* count) {
  *count = ids.size();
  const uint64_t n = ids.size() < capacity ? ids.size() : capacity;
  if (n > 0) memcpy(tokens, ids.data(), n * sizeof(uint32_t));
}

jllm_error add_message(jllm_chat* chat, uint32_t role, std::string text) {
  if (role == JLLM_ROLE_SYSTEM) {
    if (chat->has_system || !chat->messages.empty()) return JLLM_BAD_ARGUMENT;
    chat->system = std::move(text);
    chat->has_system = true;
    return JLLM_OK;
  }
  const bool users_turn = chat->messages.size() % 2 == 0;
  if (role != (users_turn ? JLLM_ROLE_USER : JLLM_ROLE_ASSISTANT)) return JLLM_BAD_ARGUMENT;
  chat->messages.push_back(std::move(text));
  return JLLM_OK;
}

jllm_error give(jllm_decoder* decoder, std::string text, const char** out, uint64_t* size) {
  decoder->text = std::move(text);
  *out = decoder->text.c_str();
  *size = decoder->text.size();
  return JLLM_OK;
}

}  // namespace

extern "C" {

jllm_error jllm_tokenizer_open(const jllm_plan* plan, jllm_tokenizer** tokenizer,
                               jllm_message* message) {
  *tokenizer = nullptr;
  return guarded(message, [&] {
    return open_part(plan, JLLM_SEGMENT_TOKENIZER, "tokenizer", &jllm_tokenizer::tokenizer,
                     tokenizer, message);
  });
}

void jllm_tokenizer_close(jllm_tokenizer* tokenizer) { delete tokenizer; }

jllm_error jllm_tokenize(const jllm_tokenizer* tokenizer, const char* text, uint64_t size,
                         uint32_t flags, uint32_t* tokens, uint64_t capacity, uint64_t* count) {
  *count = 0;
  return guarded(nullptr, [&] {
    const std::vector<uint32_t> ids = tokenizer->tokenizer->encode(
        {text, size}, {(flags & JLLM_ADD_SPECIAL) != 0, (flags & JLLM_PARSE_SPECIAL) != 0});
    give_tokens(ids, tokens, capacity, count);
    return JLLM_OK;
  });
}

jllm_error jllm_token_piece(const jllm_tokenizer* tokenizer, uint32_t token, uint32_t flags,
                            char* out, uint64_t capacity, uint64_t* size) {
  *size = 0;
  return guarded(nullptr, [&]() -> jllm_error {
    if (token >= tokenizer->tokenizer->vocab_size()) return JLLM_BAD_ARGUMENT;
    const std::string piece = tokenizer->tokenizer->piece(token, (flags & JLLM_WITH_SPECIAL) != 0);
    *size = piece.size();
    const uint64_t n = piece.size() < capacity ? piece.size() : capacity;
    // Bytes with their number, no string of C.
    if (n > 0) memcpy(out, piece.data(), n);  // NOLINT(bugprone-not-null-terminated-result)
    return JLLM_OK;
  });
}

jllm_error jllm_decoder_open(const jllm_tokenizer* tokenizer, uint32_t flags,
                             jllm_decoder** decoder) {
  *decoder = nullptr;
  return guarded(nullptr, [&] {
    *decoder = new jllm_decoder(*tokenizer, (flags & JLLM_WITH_SPECIAL) != 0);
    return JLLM_OK;
  });
}

jllm_error jllm_decoder_push(jllm_decoder* decoder, uint32_t token, const char** text,
                             uint64_t* size) {
  return guarded(nullptr, [&] { return give(decoder, decoder->stream.push(token), text, size); });
}

jllm_error jllm_decoder_finish(jllm_decoder* decoder, const char** text, uint64_t* size) {
  return guarded(nullptr, [&] { return give(decoder, decoder->stream.finish(), text, size); });
}

void jllm_decoder_close(jllm_decoder* decoder) { delete decoder; }

jllm_error jllm_chat_open(const jllm_plan* plan, jllm_chat** chat, jllm_message* message) {
  *chat = nullptr;
  return guarded(message, [&] {
    return open_part(plan, JLLM_SEGMENT_CHAT_FORMAT, "chat format", &jllm_chat::format, chat,
                     message);
  });
}

void jllm_chat_close(jllm_chat* chat) { delete chat; }

jllm_error jllm_chat_add(jllm_chat* chat, uint32_t role, const char* text, uint64_t size) {
  return guarded(nullptr, [&] { return add_message(chat, role, std::string(text, size)); });
}

void jllm_chat_clear(jllm_chat* chat) {
  chat->has_system = false;
  chat->messages.clear();
}

jllm_error jllm_chat_tokens(const jllm_chat* chat, const jllm_tokenizer* tokenizer,
                            uint32_t* tokens, uint64_t capacity, uint64_t* count,
                            jllm_message* message) {
  *count = 0;
  return guarded(message, [&]() -> jllm_error {
    const std::vector<std::string_view> messages(chat->messages.begin(), chat->messages.end());
    jllm::Conversation conversation;
    conversation.has_system = chat->has_system;
    conversation.system = chat->system;
    conversation.messages = messages.data();
    conversation.count = messages.size();
    std::vector<uint32_t> ids;
    std::string reason;
    if (!chat->format->encode(*tokenizer->tokenizer, conversation, &ids, &reason)) {
      say(message, reason);
      return JLLM_BAD_ARGUMENT;
    }
    give_tokens(ids, tokens, capacity, count);
    return JLLM_OK;
  });
}

}  // extern "C"

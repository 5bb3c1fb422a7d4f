// The C ABI of executor/text, jllm_text.h. No exception leaves it: what is out of memory is an
// error.
#include "jllm/jllm_text.h"

#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

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

jllm_error open_tokenizer(const jllm_plan* plan, jllm_tokenizer** out, jllm_message* message) {
  const uint64_t size = jllm_plan_segment_bytes(plan, JLLM_SEGMENT_TOKENIZER);
  if (size == 0) {
    say(message, "the plan has no tokenizer");
    return JLLM_PLAN_INVALID;
  }
  auto opened = std::make_unique<jllm_tokenizer>();
  opened->segment.resize((size + 7) / 8);
  const jllm_error error =
      jllm_plan_read_segment(plan, JLLM_SEGMENT_TOKENIZER, opened->segment.data(), size);
  if (error != JLLM_OK) {
    say(message, "the plan's tokenizer cannot be read");
    return error;
  }
  std::string reason;
  opened->tokenizer = jllm::text::Tokenizer::open(
      reinterpret_cast<const uint8_t*>(opened->segment.data()), size, &reason);
  if (opened->tokenizer == nullptr) {
    say(message, reason);
    return JLLM_PLAN_DAMAGED;
  }
  *out = opened.release();
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
  return guarded(message, [&] { return open_tokenizer(plan, tokenizer, message); });
}

void jllm_tokenizer_close(jllm_tokenizer* tokenizer) { delete tokenizer; }

jllm_error jllm_tokenize(const jllm_tokenizer* tokenizer, const char* text, uint64_t size,
                         uint32_t flags, uint32_t* tokens, uint64_t capacity, uint64_t* count) {
  *count = 0;
  return guarded(nullptr, [&] {
    const std::vector<uint32_t> ids = tokenizer->tokenizer->encode(
        {text, size}, {(flags & JLLM_ADD_SPECIAL) != 0, (flags & JLLM_PARSE_SPECIAL) != 0});
    *count = ids.size();
    const uint64_t n = ids.size() < capacity ? ids.size() : capacity;
    if (n > 0) memcpy(tokens, ids.data(), n * sizeof(uint32_t));
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

}  // extern "C"

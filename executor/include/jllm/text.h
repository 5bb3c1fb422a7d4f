// Tokenizers and decoders of jllm_text.h for C++17, held by objects.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "jllm/jllm_text.h"

namespace jllm {

class Tokenizer {
 public:
  Tokenizer() = default;
  ~Tokenizer() { jllm_tokenizer_close(handle_); }
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // On failure *why says what to do.
  jllm_error open(const jllm_plan* plan, std::string* why) {
    jllm_tokenizer_close(handle_);
    jllm_message message;
    const jllm_error error = jllm_tokenizer_open(plan, &handle_, &message);
    if (error != JLLM_OK) *why = message.text;
    return error;
  }
  const jllm_tokenizer* handle() const { return handle_; }

  std::vector<uint32_t> tokenize(std::string_view text,
                                 uint32_t flags = JLLM_ADD_SPECIAL | JLLM_PARSE_SPECIAL) const {
    std::vector<uint32_t> tokens(text.size() + 2);  // a token is a byte at least, but for BOS, EOS
    uint64_t count = 0;
    if (jllm_tokenize(handle_, text.data(), text.size(), flags, tokens.data(), tokens.size(),
                      &count) != JLLM_OK) {
      count = 0;
    }
    if (count > tokens.size()) {
      tokens.resize(count);
      jllm_tokenize(handle_, text.data(), text.size(), flags, tokens.data(), tokens.size(), &count);
    }
    tokens.resize(count);
    return tokens;
  }

 private:
  jllm_tokenizer* handle_ = nullptr;
};

class Decoder {
 public:
  explicit Decoder(const Tokenizer& tokenizer, uint32_t flags = 0) {
    jllm_decoder_open(tokenizer.handle(), flags, &handle_);
  }
  ~Decoder() { jllm_decoder_close(handle_); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Text that is complete now; valid until the next call.
  std::string_view push(uint32_t token) {
    const char* text = "";
    uint64_t size = 0;
    jllm_decoder_push(handle_, token, &text, &size);
    return {text, size};
  }
  std::string_view finish() {
    const char* text = "";
    uint64_t size = 0;
    jllm_decoder_finish(handle_, &text, &size);
    return {text, size};
  }

 private:
  jllm_decoder* handle_ = nullptr;
};

}  // namespace jllm

// What the server answers: the objects of OpenAI's API as JSON, and server-sent events.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "executor/text/tool_calls.h"

namespace jllm::serve {

// One token as the model saw it: its own log-probability, and the likeliest in its place.
struct TokenChoice {
  uint32_t token = 0;
  float logprob = 0;
  std::vector<std::pair<uint32_t, float>> top;
};

// The same with the tokens' bytes, for people.
struct ShownToken {
  std::string bytes;
  float logprob = 0;
  std::vector<std::pair<std::string, float>> top;
};

struct Usage {
  uint64_t prompt = 0, completion = 0, cached = 0;
};

// "data: ...\n\n".
std::string server_sent_event(std::string_view data);
inline constexpr std::string_view kEndOfEvents = "data: [DONE]\n\n";

// The replies to one request, which share id, time and model.
class ReplyFormat {
 public:
  enum class Kind { kChat, kText };
  ReplyFormat(Kind kind, std::string id, int64_t created, std::string model,
              std::string fingerprint);

  // The whole answer. `logprobs` null: not asked for. `finish`: the API's finish_reason.
  std::string whole(const std::string& text, const std::vector<text::ToolCall>& calls,
                    const std::vector<ShownToken>* logprobs, const std::string& finish,
                    const Usage& usage) const;

  // Chunks of a stream, as JSON. With `usage_follows` each says so, as the API does.
  void set_usage_follows() { usage_follows_ = true; }
  std::string role_chunk() const;  // of a chat: the first
  std::string text_chunk(const std::string& text, const std::vector<ShownToken>* logprobs);
  std::string calls_chunk(const std::vector<text::ToolCall>& calls) const;
  std::string finish_chunk(const std::string& finish) const;
  std::string usage_chunk(const Usage& usage) const;

 private:
  struct Parts;  // keeps JSON out of this header
  Kind kind_;
  std::string id_;
  int64_t created_;
  std::string model_, fingerprint_;
  bool usage_follows_ = false;
  uint64_t text_offset_ = 0;
};

// A model as /v1/models shows it.
struct ModelObject {
  std::string id;
  int64_t created = 0;
  uint32_t context = 0, vocab_size = 0;
  uint32_t embedding_length = 0;  // 0: it makes text
};
std::string models_json(const ModelObject& model);
std::string model_json(const ModelObject& model);
std::string tokens_json(const std::vector<uint32_t>& tokens, const std::vector<std::string>* pieces,
                        uint32_t context);
std::string text_json(const std::string& text);

}  // namespace jllm::serve

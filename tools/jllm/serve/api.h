// What requests of OpenAI's API ask for, read from their JSON and checked. Knows neither sockets
// nor models.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "executor/text/dialogue.h"
#include "jllm/executor.h"

namespace jllm::serve {

// The error object of the API, and the status that goes with it. Thrown.
struct ApiError {
  int status = 400;
  std::string message;
  std::string param{};  // the member of the request that is wrong; empty: none
  std::string code{};   // for programs; empty: none
  std::string type = "invalid_request_error";

  std::string json() const;
};

// What a request gets that does not say.
struct RequestDefaults {
  Sampling sampling;  // but for the seed
  uint32_t max_tokens = UINT32_MAX;
  bool tools = false;  // the plan's chat format covers them
  std::string no_tools_because;
  std::string system;  // text of conversations that bring none
};

// What both kinds of completion have in common.
struct CompletionRequest {
  std::string model;  // empty: the one there is
  Sampling sampling;
  std::optional<uint64_t> seed;
  uint32_t max_tokens = UINT32_MAX;
  std::vector<std::string> stop;
  bool stream = false, include_usage = false;
  bool logprobs = false;
  uint32_t top_logprobs = 0;
  // The text must be JSON, of any form or as the schema says, or a call of one of the functions.
  enum class Form { kText, kJsonObject, kJsonSchema, kToolCall };
  Form form = Form::kText;
  std::string schema;     // of kJsonSchema: JSON
  std::string functions;  // of kToolCall: a JSON array of objects with name and parameters
};

struct ChatRequest : CompletionRequest {
  text::Dialogue dialogue;
  bool parallel_calls = true;
};

struct TextRequest : CompletionRequest {
  std::string prompt;
  std::optional<std::vector<uint32_t>> tokens;  // in place of the text
};

// Each throws ApiError.
ChatRequest parse_chat_request(std::string_view body, const RequestDefaults& defaults);
TextRequest parse_text_request(std::string_view body, const RequestDefaults& defaults);

struct TokenizeRequest {
  std::string text;
  bool special = false;  // add the begin token, and read control tokens in the text
  bool with_pieces = false;
};
TokenizeRequest parse_tokenize_request(std::string_view body);
std::vector<uint32_t> parse_detokenize_request(std::string_view body);

}  // namespace jllm::serve

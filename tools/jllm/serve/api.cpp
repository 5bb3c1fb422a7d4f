#include "tools/jllm/serve/api.h"

#include <algorithm>

#include "tools/jllm/serve/json_members.h"
#include "tools/jllm/serve/messages.h"

namespace jllm::serve {
namespace {

constexpr uint32_t kMostStops = 16, kMostTopLogprobs = 20;
constexpr size_t kLongestStop = 1024;

void read_stops(const Members& members, CompletionRequest* request) {
  const Json* stop = members.find("stop");
  if (stop == nullptr) return;
  const Json list = stop->is_array() ? *stop : Json::array({*stop});
  if (list.size() > kMostStops) {
    refuse("stop", "may have " + std::to_string(kMostStops) + " strings at most");
  }
  for (const Json& text : list) {
    if (!text.is_string()) refuse("stop", "must be a string or an array of strings");
    request->stop.push_back(text.get<std::string>());
    if (request->stop.back().empty() || request->stop.back().size() > kLongestStop) {
      refuse("stop", "must have strings of 1 to " + std::to_string(kLongestStop) + " bytes");
    }
  }
}

// What this server cannot do must not be passed over in silence, unless it changes nothing.
void refuse_unsupported(const Members& members) {
  if (members.integer("n", 1, 1, UINT32_MAX) != 1) {
    refuse("n", "must be 1: this server makes one choice for each request", "unsupported_value");
  }
  if (members.integer("best_of", 1, 1, UINT32_MAX) != 1) {
    refuse("best_of", "must be 1", "unsupported_value");
  }
  for (const char* name : {"frequency_penalty", "presence_penalty"}) {
    if (members.number(name, 0, -2, 2) != 0) {
      refuse(name, "is not supported; repeat_penalty is", "unsupported_parameter");
    }
  }
  const Json* bias = members.find("logit_bias");
  if (bias != nullptr && !bias->empty()) {
    refuse("logit_bias", "is not supported", "unsupported_parameter");
  }
}

void read_form(const Members& members, CompletionRequest* request) {
  const Json* value = members.find("response_format");
  if (value == nullptr) return;
  const Members format(*value, "response_format");
  const std::string type = format.needed_text("type");
  if (type == "json_object") {
    request->form = CompletionRequest::Form::kJsonObject;
  } else if (type == "json_schema") {
    request->form = CompletionRequest::Form::kJsonSchema;
    const Json* holder = format.find("json_schema");
    if (holder == nullptr) refuse("response_format.json_schema", "is missing");
    const Json* schema = Members(*holder, "response_format.json_schema").find("schema");
    if (schema == nullptr) refuse("response_format.json_schema.schema", "is missing");
    request->schema = dump(*schema);
  } else if (type != "text") {
    refuse("response_format.type", "must be text, json_object or json_schema");
  }
}

void read_common(const Members& members, const RequestDefaults& defaults,
                 CompletionRequest* request) {
  request->model = members.text("model");
  Sampling& sampling = request->sampling;
  sampling = defaults.sampling;
  sampling.temperature =
      static_cast<float>(members.number("temperature", double(sampling.temperature), 0, 100));
  sampling.top_p = static_cast<float>(members.number("top_p", double(sampling.top_p), 0, 1));
  sampling.top_p = std::max(sampling.top_p, 1e-6f);  // 0, too, means the likeliest token
  sampling.min_p = static_cast<float>(members.number("min_p", double(sampling.min_p), 0, 1));
  sampling.top_k = static_cast<uint32_t>(members.integer("top_k", sampling.top_k, 0, UINT32_MAX));
  sampling.repeat_penalty = static_cast<float>(
      members.number("repeat_penalty", double(sampling.repeat_penalty), 1e-3, 100));
  sampling.repeat_last_n = static_cast<uint32_t>(
      members.integer("repeat_last_n", sampling.repeat_last_n, 0, UINT32_MAX));
  sampling.ignore_end = members.flag("ignore_end", sampling.ignore_end);
  if (const Json* seed = members.find("seed")) {
    if (!seed->is_number_integer()) refuse("seed", "must be an integer");
    request->seed = seed->get<uint64_t>();  // negative ones are as good as others
  }
  request->max_tokens =
      static_cast<uint32_t>(members.integer("max_tokens", defaults.max_tokens, 1, UINT32_MAX));
  read_stops(members, request);
  request->stream = members.flag("stream", false);
  if (const Json* options = members.find("stream_options")) {
    if (!request->stream) refuse("stream_options", "goes with stream: true only");
    request->include_usage = Members(*options, "stream_options").flag("include_usage", false);
  }
  read_form(members, request);
  refuse_unsupported(members);
}

}  // namespace

std::string ApiError::json() const {
  Json error = {{"message", message}, {"type", type}};
  error["param"] = param.empty() ? Json() : Json(param);
  error["code"] = code.empty() ? Json() : Json(code);
  return dump(Json{{"error", std::move(error)}});
}

ChatRequest parse_chat_request(std::string_view body, const RequestDefaults& defaults) {
  const Json json = parse_body(body);
  const Members members(json);
  ChatRequest request;
  read_common(members, defaults, &request);
  request.max_tokens = static_cast<uint32_t>(
      members.integer("max_completion_tokens", request.max_tokens, 1, UINT32_MAX));
  request.logprobs = members.flag("logprobs", false);
  request.top_logprobs =
      static_cast<uint32_t>(members.integer("top_logprobs", 0, 0, kMostTopLogprobs));
  if (request.top_logprobs > 0 && !request.logprobs) {
    refuse("top_logprobs", "goes with logprobs: true only");
  }
  request.parallel_calls = members.flag("parallel_tool_calls", true);
  read_messages(members, &request.dialogue);
  if (request.dialogue.system.empty()) request.dialogue.system = defaults.system;
  read_tools(members, defaults, &request);
  return request;
}

TextRequest parse_text_request(std::string_view body, const RequestDefaults& defaults) {
  const Json json = parse_body(body);
  const Members members(json);
  TextRequest request;
  read_common(members, defaults, &request);
  if (members.find("logprobs") != nullptr) {
    request.logprobs = true;
    request.top_logprobs = static_cast<uint32_t>(members.integer("logprobs", 0, 0, 5));
  }
  if (members.flag("echo", false)) refuse("echo", "is not supported", "unsupported_parameter");
  if (!members.text("suffix").empty()) {
    refuse("suffix", "is not supported", "unsupported_parameter");
  }
  const Json* prompt = members.find("prompt");
  if (prompt == nullptr) refuse("prompt", "is missing");
  if (prompt->is_array() && prompt->size() == 1 && !prompt->front().is_number()) {
    prompt = &prompt->front();
  }
  if (prompt->is_string()) {
    request.prompt = prompt->get<std::string>();
  } else {
    request.tokens.emplace();
    if (!prompt->is_array() || prompt->empty()) refuse("prompt", "must be a string or tokens");
    for (const Json& token : *prompt) {
      if (!token.is_number_unsigned() || token.get<uint64_t>() > UINT32_MAX) {
        refuse("prompt",
               "must be one string or one array of tokens: this server takes one prompt "
               "for each request");
      }
      request.tokens->push_back(token.get<uint32_t>());
    }
  }
  return request;
}

TokenizeRequest parse_tokenize_request(std::string_view body) {
  const Json json = parse_body(body);
  const Members members(json);
  // llama.cpp's server calls the text content, vLLM's prompt.
  const char* name = members.find("prompt") != nullptr ? "prompt" : "content";
  return {members.needed_text(name), members.flag("add_special", false),
          members.flag("with_pieces", false)};
}

std::vector<uint32_t> parse_detokenize_request(std::string_view body) {
  const Json json = parse_body(body);
  const Json* tokens = Members(json).find("tokens");
  if (tokens == nullptr || !tokens->is_array()) refuse("tokens", "must be an array of tokens");
  std::vector<uint32_t> ids;
  for (const Json& token : *tokens) {
    if (!token.is_number_unsigned() || token.get<uint64_t>() > UINT32_MAX) {
      refuse("tokens", "must be an array of tokens");
    }
    ids.push_back(token.get<uint32_t>());
  }
  return ids;
}

}  // namespace jllm::serve

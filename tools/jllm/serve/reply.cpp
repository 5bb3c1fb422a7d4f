#include "tools/jllm/serve/reply.h"

#include "tools/jllm/serve/json_members.h"

namespace jllm::serve {
namespace {

Json usage_of(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt},
          {"completion_tokens", usage.completion},
          {"total_tokens", usage.prompt + usage.completion},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached}}}};
}

Json bytes_of(const std::string& bytes) {
  Json list = Json::array();
  for (const char byte : bytes) list.push_back(static_cast<unsigned char>(byte));
  return list;
}

Json chat_logprobs(const std::vector<ShownToken>& tokens) {
  Json content = Json::array();
  for (const ShownToken& token : tokens) {
    Json top = Json::array();
    for (const auto& [bytes, logprob] : token.top) {
      top.push_back({{"token", bytes}, {"logprob", logprob}, {"bytes", bytes_of(bytes)}});
    }
    content.push_back({{"token", token.bytes},
                       {"logprob", token.logprob},
                       {"bytes", bytes_of(token.bytes)},
                       {"top_logprobs", std::move(top)}});
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

// The older form, of /v1/completions; `*offset`: bytes of text in front.
Json text_logprobs(const std::vector<ShownToken>& tokens, uint64_t* offset) {
  Json json = {{"tokens", Json::array()},
               {"token_logprobs", Json::array()},
               {"top_logprobs", Json::array()},
               {"text_offset", Json::array()}};
  for (const ShownToken& token : tokens) {
    json["tokens"].push_back(token.bytes);
    json["token_logprobs"].push_back(token.logprob);
    Json top = Json::object();
    for (const auto& [bytes, logprob] : token.top) {
      // Two tokens may stand for the same bytes; the likelier comes first.
      if (!top.contains(bytes)) top[bytes] = logprob;
    }
    json["top_logprobs"].push_back(std::move(top));
    json["text_offset"].push_back(*offset);
    *offset += token.bytes.size();
  }
  return json;
}

Json calls_of(const std::vector<text::ToolCall>& calls, bool with_index) {
  Json list = Json::array();
  for (size_t i = 0; i < calls.size(); ++i) {
    Json call;
    if (with_index) call["index"] = i;
    call["id"] = calls[i].id;
    call["type"] = "function";
    call["function"] = {{"name", calls[i].name}, {"arguments", calls[i].arguments}};
    list.push_back(std::move(call));
  }
  return list;
}

}  // namespace

std::string server_sent_event(std::string_view data) {
  std::string event = "data: ";
  event += data;
  event += "\n\n";
  return event;
}

// What every object of a reply begins with.
struct ReplyFormat::Parts {
  static Json head(const ReplyFormat& f, const char* object) {
    return {{"id", f.id_},
            {"object", object},
            {"created", f.created_},
            {"model", f.model_},
            {"system_fingerprint", f.fingerprint_}};
  }
  static std::string chunk(const ReplyFormat& f, Json choice) {
    Json json = head(f, f.kind_ == Kind::kChat ? "chat.completion.chunk" : "text_completion");
    json["choices"] = Json::array({std::move(choice)});
    if (f.usage_follows_) json["usage"] = nullptr;
    return dump(json);
  }
  static Json delta(Json delta, Json finish = nullptr, Json logprobs = nullptr) {
    return {{"index", 0},
            {"delta", std::move(delta)},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", std::move(finish)}};
  }
  static Json text(const std::string& text, Json finish, Json logprobs) {
    return {{"index", 0},
            {"text", text},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", std::move(finish)}};
  }
};

ReplyFormat::ReplyFormat(Kind kind, std::string id, int64_t created, std::string model,
                         std::string fingerprint)
    : kind_(kind),
      id_(std::move(id)),
      created_(created),
      model_(std::move(model)),
      fingerprint_(std::move(fingerprint)) {}

std::string ReplyFormat::whole(const std::string& text, const std::vector<text::ToolCall>& calls,
                               const std::vector<ShownToken>* logprobs, const std::string& finish,
                               const Usage& usage) const {
  Json json = Parts::head(*this, kind_ == Kind::kChat ? "chat.completion" : "text_completion");
  Json choice;
  if (kind_ == Kind::kText) {
    uint64_t offset = 0;
    choice =
        Parts::text(text, finish, logprobs != nullptr ? text_logprobs(*logprobs, &offset) : Json());
  } else {
    Json message = {{"role", "assistant"}, {"content", text}, {"refusal", nullptr}};
    if (!calls.empty()) {
      if (text.empty()) message["content"] = nullptr;
      message["tool_calls"] = calls_of(calls, false);
    }
    choice = {{"index", 0},
              {"message", std::move(message)},
              {"logprobs", logprobs != nullptr ? chat_logprobs(*logprobs) : Json()},
              {"finish_reason", finish}};
  }
  json["choices"] = Json::array({std::move(choice)});
  json["usage"] = usage_of(usage);
  return dump(json);
}

std::string ReplyFormat::role_chunk() const {
  return Parts::chunk(*this, Parts::delta({{"role", "assistant"}, {"content", ""}}));
}

std::string ReplyFormat::text_chunk(const std::string& text,
                                    const std::vector<ShownToken>* logprobs) {
  if (kind_ == Kind::kText) {
    return Parts::chunk(
        *this, Parts::text(text, nullptr,
                           logprobs != nullptr ? text_logprobs(*logprobs, &text_offset_) : Json()));
  }
  return Parts::chunk(*this, Parts::delta({{"content", text}}, nullptr,
                                          logprobs != nullptr ? chat_logprobs(*logprobs) : Json()));
}

std::string ReplyFormat::calls_chunk(const std::vector<text::ToolCall>& calls) const {
  return Parts::chunk(*this, Parts::delta({{"tool_calls", calls_of(calls, true)}}));
}

std::string ReplyFormat::finish_chunk(const std::string& finish) const {
  return Parts::chunk(*this, kind_ == Kind::kText ? Parts::text("", finish, nullptr)
                                                  : Parts::delta(Json::object(), finish));
}

std::string ReplyFormat::usage_chunk(const Usage& usage) const {
  Json json =
      Parts::head(*this, kind_ == Kind::kChat ? "chat.completion.chunk" : "text_completion");
  json["choices"] = Json::array();
  json["usage"] = usage_of(usage);
  return dump(json);
}

namespace {

Json object_of(const ModelObject& model) {
  Json object = {{"id", model.id},
                 {"object", "model"},
                 {"created", model.created},
                 {"owned_by", "jllm"},
                 {"max_model_len", model.context},
                 {"vocab_size", model.vocab_size}};
  if (model.embedding_length > 0) object["embedding_length"] = model.embedding_length;
  return object;
}

}  // namespace

std::string models_json(const ModelObject& model) {
  return dump({{"object", "list"}, {"data", Json::array({object_of(model)})}});
}

std::string model_json(const ModelObject& model) { return dump(object_of(model)); }

std::string tokens_json(const std::vector<uint32_t>& tokens, const std::vector<std::string>* pieces,
                        uint32_t context) {
  Json json = {{"tokens", tokens}, {"count", tokens.size()}, {"max_model_len", context}};
  if (pieces != nullptr) json["pieces"] = *pieces;
  return dump(json);
}

std::string text_json(const std::string& text) { return dump({{"content", text}}); }

}  // namespace jllm::serve

#include "tools/jllm/serve/service.h"

#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <random>

#include "tools/jllm/serve/json_grammar.h"
#include "tools/jllm/session.h"

namespace jllm::serve {
namespace {

ApiError unavailable(const std::string& message, const std::string& code) {
  return {503, message, "", code, "server_error"};
}

// Takes as long for a wrong key as for the right one.
bool equal_in_constant_time(const std::string& a, const std::string& b) {
  unsigned differs = a.size() != b.size() ? 1u : 0u;
  for (size_t i = 0; i < b.size(); ++i) {
    const char c = a.empty() ? '\0' : a[i % a.size()];
    differs |= static_cast<unsigned>(static_cast<unsigned char>(c ^ b[i]));
  }
  return differs == 0;
}

// Whether a Host header is an address, or a name that others cannot have: a page of a foreign name
// that was made to lead here is no page of this server.
bool names_this_machine(const std::string& host, const std::string& own) {
  const bool is_v6 = !host.empty() && host[0] == '[';
  const std::string name = is_v6 ? host : host.substr(0, host.rfind(':'));
  if (is_v6 || name.find_first_not_of("0123456789.") == std::string::npos) return true;
  char machine[256] = {};
  (void)gethostname(machine, sizeof machine - 1);
  return name == "localhost" || name == own || name == machine ||
         name == std::string(machine) + ".local";
}

std::string random_id(const std::string& prefix, size_t size) {
  constexpr std::string_view kLetters =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  thread_local std::random_device random;
  std::string id = prefix;
  for (size_t i = 0; i < size; ++i) id += kLetters[random() % kLetters.size()];
  return id;
}

uint64_t random_seed() {
  std::random_device random;
  return (uint64_t{random()} << 32) | random();
}

const char* finish_reason(Finish why, bool has_calls) {
  switch (why) {
    case Finish::kStop:
      return has_calls ? "tool_calls" : "stop";
    case Finish::kLength:
    case Finish::kContext:
      return "length";
    case Finish::kMemory:
      return "memory";
    case Finish::kTimeout:
      return "timeout";
    case Finish::kCancelled:
      return "cancelled";
    case Finish::kShutdown:
      return "shutdown";
    case Finish::kFailed:
      return "error";
  }
  return "error";
}

}  // namespace

std::optional<ApiError> Service::empty_answer(Finish why) {
  switch (why) {
    case Finish::kMemory:
      return unavailable("The system's memory is below --memory-floor", "out_of_memory");
    case Finish::kTimeout:
      return unavailable("The request waited longer than --timeout allows", "timeout");
    case Finish::kShutdown:
      return unavailable("The server is shutting down", "shutting_down");
    case Finish::kFailed:
      return ApiError{500, "The device failed; the server's log says how", "", "device_failed",
                      "server_error"};
    default:
      return std::nullopt;
  }
}

// Nobody reads it, and the scheduler may not be done with the job.
ApiError Service::client_gone() {
  constexpr int kClientGone = 499;  // as nginx counts them
  return {kClientGone, "The client is gone"};
}

// A request that was accepted.
struct Service::Task {
  std::shared_ptr<Channel> channel;
  std::shared_ptr<Job> job;
  ReplyFormat format;
  bool logprobs, include_usage, parallel_calls;
  bool is_chat;

  std::vector<text::ToolCall> calls() const {
    std::vector<text::ToolCall> calls = channel->calls();
    if (!parallel_calls && calls.size() > 1) calls.resize(1);
    for (text::ToolCall& call : calls) {
      if (call.id.empty()) call.id = random_id("", 9);  // as Mistral's formats want them back
    }
    return calls;
  }
  Usage usage() const { return {job->prompt.size(), channel->made(), channel->cached()}; }
};

Service::Service(const ServiceOptions& options, const text::Tokenizer& tokenizer,
                 const text::ChatFormat* format, uint32_t context, Scheduler* scheduler,
                 Metrics* metrics, Monitor* monitor)
    : options_(options),
      tokenizer_(tokenizer),
      json_(tokenizer),
      format_(format),
      context_(context),
      scheduler_(scheduler),
      metrics_(metrics),
      monitor_(monitor),
      started_(std::time(nullptr)) {}

bool Service::has_key(const HttpRequest& request) const {
  constexpr std::string_view kBearer = "Bearer ";
  return options_.api_key.empty() ||
         (request.authorization.rfind(kBearer, 0) == 0 &&
          equal_in_constant_time(request.authorization.substr(kBearer.size()), options_.api_key));
}

HttpReply Service::finished(HttpReply reply, const HttpRequest& request) const {
  if (!options_.cors_origin.empty() && !request.origin.empty()) {
    reply.headers.emplace_back("Access-Control-Allow-Origin", options_.cors_origin);
    if (options_.cors_origin != "*") reply.headers.emplace_back("Vary", "Origin");
  }
  return reply;
}

HttpReply Service::failed(const ApiError& error) const {
  HttpReply reply;
  reply.status = error.status;
  reply.body = error.json();
  if (error.status == 429 || error.status == 503) {
    reply.headers.emplace_back("Retry-After", std::to_string(scheduler_->retry_after()));
  }
  if (error.status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

std::optional<HttpReply> Service::admit(const HttpRequest& head) {
  if (head.method == "OPTIONS" && !options_.cors_origin.empty()) {
    HttpReply reply;
    reply.status = 204;
    reply.headers = {{"Access-Control-Allow-Methods", "GET, POST, OPTIONS"},
                     {"Access-Control-Allow-Headers", "Authorization, Content-Type"},
                     {"Access-Control-Max-Age", "86400"}};
    return finished(std::move(reply), head);
  }
  // A page of somewhere else: its scripts may send requests without reading replies.
  const bool is_own =
      names_this_machine(head.host, options_.host) &&
      (head.origin == "http://" + head.host || head.origin == "https://" + head.host);
  if (!head.origin.empty() && !is_own && options_.cors_origin != "*" &&
      head.origin != options_.cors_origin) {
    return failed({403, "Pages of " + head.origin + " may not use this server (--cors-origin)", "",
                   "forbidden_origin"});
  }
  const bool is_page = options_.page != nullptr && Page::is_for_everyone(head);
  if (head.path != "/health" && !is_page && !has_key(head)) {
    return finished(failed({401,
                            head.authorization.empty()
                                ? "This server wants an API key: Authorization: Bearer KEY"
                                : "The API key is not the server's",
                            "", "invalid_api_key"}),
                    head);
  }
  return std::nullopt;
}

HttpReply Service::refusal(int status, const HttpRequest& request) {
  switch (status) {
    case 413:
      return finished(
          failed({413, "The request's body is longer than --max-body allows", "", "body_too_long"}),
          request);
    case 431:
      return failed({431, "The request's headers are too long", "", "headers_too_long"});
    case 404:
      return failed({404, "There is no " + request.method + " " + request.path, "", "not_found"});
    default:
      return failed({status > 0 ? status : 400, "The request is no HTTP/1.1 that can be read", "",
                     "bad_request"});
  }
}

void Service::replied(const HttpRequest& request, int status) {
  // Other paths than the known ones would let clients fill the memory.
  constexpr std::string_view kPaths[] = {
      "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/tokenize",
      "/detokenize",          "/health",         "/metrics",       "/",          "/plan.svg"};
  std::string path = "other";
  for (const std::string_view known : kPaths) {
    if (request.path == known) path = known;
  }
  metrics_->replied(path, status);
  if (options_.verbose) {
    std::fprintf(stderr, "%s %s %d\n", request.method.c_str(), path.c_str(), status);
  }
}

HttpReply Service::handle(const HttpRequest& request, const HttpPeer& peer) {
  try {
    return finished(route(request, peer), request);
  } catch (const ApiError& error) {
    return finished(failed(error), request);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "jllm serve: %s %s: %s\n", request.method.c_str(), request.path.c_str(),
                 failure.what());
    return finished(failed({500, "The server failed; its log says how", "", "", "server_error"}),
                    request);
  }
}

HttpReply Service::route(const HttpRequest& request, const HttpPeer& peer) {
  const std::string& path = request.path;
  const bool get = request.method == "GET" || request.method == "HEAD";
  const bool post = request.method == "POST";
  if (get && path == "/health") return health(has_key(request));
  if (get && path == "/metrics") return metrics_page();
  if (get && path.rfind("/v1/models", 0) == 0) return model(path);
  const bool is_text = path == "/v1/chat/completions" || path == "/v1/completions";
  const bool makes_text = options_.embedding_length == 0;
  if (post && is_text && !makes_text) {
    throw ApiError{400,
                   "The plan makes embeddings, no text: use /v1/embeddings, or a plan of jllmc "
                   "compile --embedding none",
                   "", "makes_embeddings"};
  }
  if (post && path == "/v1/embeddings") {
    if (!makes_text) return embeddings(request, peer);
    throw ApiError{400,
                   "The plan makes text, no embeddings: compile the model with jllmc compile "
                   "--embedding last",
                   "", "makes_text"};
  }
  if (post && path == "/v1/chat/completions") return chat(request, peer);
  if (post && path == "/v1/completions") return completion(request, peer);
  if (post && path == "/tokenize") return tokenize(request);
  if (post && path == "/detokenize") return detokenize(request);
  if (get && options_.page != nullptr) {
    if (std::optional<HttpReply> reply = options_.page->answer(path)) return std::move(*reply);
  }
  throw ApiError{404, "There is no " + request.method + " " + path, "", "not_found"};
}

HttpReply Service::health(bool whole) const {
  const Scheduler::State state = scheduler_->state();
  HttpReply reply;
  reply.status = state.failed || state.draining ? 503 : 200;
  reply.body = whole ? monitor_->health_json(state, *metrics_)
                     : std::string(reply.status == 200 ? R"({"status":"ok"})"
                                                       : R"({"status":"unavailable"})");
  return reply;
}

HttpReply Service::metrics_page() const {
  PrometheusText text;
  metrics_->write(&text);
  monitor_->write(scheduler_->state(), *metrics_, &text);
  HttpReply reply;
  reply.type = "text/plain; version=0.0.4";
  reply.body = text.text();
  return reply;
}

HttpReply Service::model(const std::string& path) const {
  const ModelObject object = {options_.model, started_, context_, tokenizer_.vocab_size(),
                              options_.embedding_length};
  HttpReply reply;
  if (path == "/v1/models") {
    reply.body = models_json(object);
  } else if (path == "/v1/models/" + options_.model) {
    reply.body = model_json(object);
  } else {
    throw ApiError{404, "There is no such model; this server has '" + options_.model + "'", "model",
                   "model_not_found"};
  }
  return reply;
}

HttpReply Service::tokenize(const HttpRequest& request) const {
  const TokenizeRequest wanted = parse_tokenize_request(request.body);
  const std::vector<uint32_t> tokens =
      tokenizer_.encode(wanted.text, {wanted.special, wanted.special});
  std::vector<std::string> pieces;
  for (const uint32_t token : tokens) pieces.push_back(tokenizer_.piece(token, true));
  HttpReply reply;
  reply.body = tokens_json(tokens, wanted.with_pieces ? &pieces : nullptr, context_);
  return reply;
}

HttpReply Service::detokenize(const HttpRequest& request) const {
  const std::vector<uint32_t> tokens = parse_detokenize_request(request.body);
  for (const uint32_t token : tokens) {
    if (token >= tokenizer_.vocab_size()) {
      throw ApiError{400,
                     "'tokens' has " + std::to_string(token) + ", which is none of the model's",
                     "tokens"};
    }
  }
  HttpReply reply;
  reply.body = text_json(tokenizer_.decode(tokens, true));
  return reply;
}

HttpReply Service::chat(const HttpRequest& request, const HttpPeer& peer) {
  if (format_ == nullptr) {
    throw ApiError{400,
                   "The plan has no chat format; compile it again with --chat-format NAME, or use "
                   "/v1/completions",
                   "", "no_chat_format"};
  }
  const ChatRequest wanted = parse_chat_request(request.body, options_.defaults);
  std::vector<uint32_t> prompt;
  std::string reason;
  if (!wanted.dialogue.encode(*format_, tokenizer_, &prompt, &reason)) {
    throw ApiError{400, "The model's chat format refuses the conversation: " + reason, "messages"};
  }
  const text::ToolNotation notation =
      wanted.dialogue.tools.empty() ? text::ToolNotation::kNone : format_->notation();
  return complete(wanted, std::move(prompt), ReplyFormat::Kind::kChat, notation,
                  wanted.parallel_calls, peer);
}

HttpReply Service::completion(const HttpRequest& request, const HttpPeer& peer) {
  TextRequest wanted = parse_text_request(request.body, options_.defaults);
  std::vector<uint32_t> prompt =
      wanted.tokens ? std::move(*wanted.tokens) : tokenizer_.encode(wanted.prompt, {true, true});
  if (prompt.empty() && tokenizer_.bos() >= 0) {
    prompt.push_back(static_cast<uint32_t>(tokenizer_.bos()));
  }
  for (const uint32_t token : prompt) {
    if (token >= tokenizer_.vocab_size()) {
      throw ApiError{
          400, "'prompt' has token " + std::to_string(token) + ", which is none of the model's",
          "prompt"};
    }
  }
  return complete(wanted, std::move(prompt), ReplyFormat::Kind::kText, text::ToolNotation::kNone,
                  true, peer);
}

std::unique_ptr<Constraint> Service::constraint(const CompletionRequest& request,
                                                text::ToolNotation notation) const {
  const bool is_call = request.form == CompletionRequest::Form::kToolCall;
  try {
    switch (request.form) {
      case CompletionRequest::Form::kText:
        return nullptr;
      case CompletionRequest::Form::kJsonObject:
        return json_.object();
      case CompletionRequest::Form::kJsonSchema:
        return json_.schema(request.schema);
      case CompletionRequest::Form::kToolCall:
        return json_.call(notation, request.functions);
    }
  } catch (const SchemaError& error) {
    const std::string what = is_call ? "The parameters " : "The schema cannot be followed: ";
    throw ApiError{400, what + error.what() + (is_call ? " (a call cannot be forced so)" : ""),
                   is_call ? "tools" : "response_format.json_schema.schema", "unsupported_schema"};
  }
  return nullptr;
}

void Service::check_model(const std::string& model) const {
  if (model.empty() || model == options_.model) return;
  throw ApiError{404, "There is no model '" + model + "'; this server has '" + options_.model + "'",
                 "model", "model_not_found"};
}

void Service::submit(const std::shared_ptr<Job>& job) {
  switch (scheduler_->submit(job)) {
    case Scheduler::Admission::kFull:
      throw ApiError{429, "The server is busy and its queue is full; try again later", "",
                     "queue_full", "rate_limit_exceeded"};
    case Scheduler::Admission::kDraining:
      throw *empty_answer(Finish::kShutdown);
    case Scheduler::Admission::kFailed:
      throw *empty_answer(Finish::kFailed);
    case Scheduler::Admission::kQueued:
      break;
  }
}

HttpReply Service::complete(const CompletionRequest& request, std::vector<uint32_t> prompt,
                            ReplyFormat::Kind kind, text::ToolNotation notation,
                            bool parallel_calls, const HttpPeer& peer) {
  const bool is_chat = kind == ReplyFormat::Kind::kChat;
  const char* param = is_chat ? "messages" : "prompt";
  check_model(request.model);
  if (prompt.empty()) throw ApiError{400, "The prompt is empty", param};
  if (prompt.size() >= context_) {
    throw ApiError{400,
                   "The prompt has " + std::to_string(prompt.size()) +
                       " tokens; the model's context of " + std::to_string(context_) +
                       " takes one less at most",
                   param, "context_length_exceeded"};
  }
  auto job = std::make_shared<Job>();
  job->prompt = std::move(prompt);
  job->constraint = constraint(request, notation);
  job->sampling = request.sampling;
  const std::optional<uint64_t> seed = request.seed ? request.seed : options_.seed;
  job->sampling.seed = seed ? *seed : random_seed();
  job->max_tokens = request.max_tokens;
  job->logprobs = request.logprobs;
  job->top_logprobs = request.top_logprobs;
  job->deadline = tool::now_seconds() + options_.timeout;
  auto channel = std::make_shared<Channel>(tokenizer_, notation, request.stop, request.logprobs,
                                           request.stream);
  job->sink = channel;
  ReplyFormat format(kind, random_id(is_chat ? "chatcmpl-" : "cmpl-", 24), std::time(nullptr),
                     options_.model, options_.fingerprint);
  auto task = std::make_shared<Task>(Task{channel, job, std::move(format), request.logprobs,
                                          request.include_usage, parallel_calls, is_chat});
  submit(job);
  if (!request.stream) return whole(*task, peer);
  HttpReply reply;
  reply.type = "text/event-stream";
  reply.headers.emplace_back("Cache-Control", "no-cache");
  reply.stream = [this, task](HttpWriter& writer) {
    try {
      stream(*task, writer);
    } catch (const std::exception& failure) {
      task->job->cancelled = true;
      std::fprintf(stderr, "jllm serve: a stream failed: %s\n", failure.what());
    }
  };
  return reply;
}

bool Service::follow(Task& task, const HttpPeer& peer,
                     const std::function<bool(Channel::Piece&)>& put) {
  while (!task.channel->ended()) {
    std::optional<Channel::Piece> piece = task.channel->next(kPeerLookSeconds);
    if (piece ? put(*piece) : !peer.is_gone()) continue;
    task.job->cancelled = true;
    return false;
  }
  return true;
}

HttpReply Service::whole(Task& task, const HttpPeer& peer) {
  std::string text;
  std::vector<ShownToken> tokens;
  const bool ended = follow(task, peer, [&](Channel::Piece& piece) {
    text += piece.text;
    std::move(piece.tokens.begin(), piece.tokens.end(), std::back_inserter(tokens));
    return true;
  });
  if (!ended) throw client_gone();
  const Finish why = task.channel->why();
  if (task.channel->made() == 0) {
    if (const std::optional<ApiError> error = empty_answer(why)) throw *error;
  }
  const std::vector<text::ToolCall> calls = task.calls();
  HttpReply reply;
  reply.body = task.format.whole(text, calls, task.logprobs ? &tokens : nullptr,
                                 finish_reason(why, !calls.empty()), task.usage());
  return reply;
}

void Service::stream(Task& task, HttpWriter& writer) {
  if (task.include_usage) task.format.set_usage_follows();
  bool begun = !task.is_chat;
  const auto write = [&](const std::string& json) { return writer.write(server_sent_event(json)); };
  // The first event says that tokens come; until then an error may stand in its place.
  const auto begin = [&] {
    if (begun) return true;
    begun = true;
    return write(task.format.role_chunk());
  };
  const bool whole = follow(task, writer, [&](Channel::Piece& piece) {
    return begin() &&
           write(task.format.text_chunk(piece.text, task.logprobs ? &piece.tokens : nullptr));
  });
  if (!whole) return;
  const Finish why = task.channel->why();
  const std::optional<ApiError> error =
      task.channel->made() == 0 || why == Finish::kFailed ? empty_answer(why) : std::nullopt;
  if (error) {
    write(error->json());
  } else {
    const std::vector<text::ToolCall> calls = task.calls();
    begin();
    if (!calls.empty()) write(task.format.calls_chunk(calls));
    write(task.format.finish_chunk(finish_reason(why, !calls.empty())));
    if (task.include_usage) write(task.format.usage_chunk(task.usage()));
  }
  writer.write(kEndOfEvents);
}

}  // namespace jllm::serve

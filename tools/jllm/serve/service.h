// The server's paths: what each request becomes, and what becomes of it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "tools/jllm/serve/api.h"
#include "tools/jllm/serve/channel.h"
#include "tools/jllm/serve/embedding_api.h"
#include "tools/jllm/serve/http.h"
#include "tools/jllm/serve/json_constraint.h"
#include "tools/jllm/serve/monitor.h"
#include "tools/jllm/serve/page.h"
#include "tools/jllm/serve/scheduler.h"

namespace jllm::serve {

struct ServiceOptions {
  std::string model;        // its name in the API
  std::string fingerprint;  // of the plan
  std::string api_key;      // empty: everyone may
  std::string host;         // that it listens on
  std::string cors_origin;  // empty: no other page's scripts may read replies
  double timeout = 600;     // seconds for a request
  RequestDefaults defaults;
  std::optional<uint64_t> seed;   // of requests that bring none; none: a new one each
  uint32_t embedding_length = 0;  // of a plan that makes embeddings; 0: it makes text
  bool verbose = false;           // a line on standard error for each request
  const Page* page = nullptr;     // null: nothing at `/`
};

class Service final : public HttpHandler {
 public:
  // `format` null: the plan has none, and there are no chats.
  Service(const ServiceOptions& options, const text::Tokenizer& tokenizer,
          const text::ChatFormat* format, uint32_t context, Scheduler* scheduler, Metrics* metrics,
          Monitor* monitor);

  std::optional<HttpReply> admit(const HttpRequest& head) override;
  HttpReply handle(const HttpRequest& request, const HttpPeer& peer) override;
  HttpReply refusal(int status, const HttpRequest& request) override;
  void replied(const HttpRequest& request, int status) override;

 private:
  struct Task;

  bool has_key(const HttpRequest& request) const;
  HttpReply finished(HttpReply reply, const HttpRequest& request) const;
  HttpReply failed(const ApiError& error) const;
  HttpReply route(const HttpRequest& request, const HttpPeer& peer);
  HttpReply health(bool whole) const;
  HttpReply metrics_page() const;
  HttpReply chat(const HttpRequest& request, const HttpPeer& peer);
  HttpReply completion(const HttpRequest& request, const HttpPeer& peer);
  HttpReply embeddings(const HttpRequest& request, const HttpPeer& peer);
  std::vector<uint32_t> tokens_of(EmbeddingRequest::Input& input, size_t index) const;
  HttpReply model(const std::string& path) const;
  HttpReply tokenize(const HttpRequest& request) const;
  HttpReply detokenize(const HttpRequest& request) const;
  // Submits the tokens, and answers at once or in a stream.
  HttpReply complete(const CompletionRequest& request, std::vector<uint32_t> prompt,
                     ReplyFormat::Kind kind, text::ToolNotation notation, bool parallel_calls,
                     const HttpPeer& peer);
  void check_model(const std::string& model) const;  // that it is the one there is, or not said
  void submit(const std::shared_ptr<Job>& job);      // throws what its client gets otherwise
  // What a request that got nothing gets, where that is no answer.
  static std::optional<ApiError> empty_answer(Finish why);
  static ApiError client_gone();
  std::unique_ptr<Constraint> constraint(const CompletionRequest& request,
                                         text::ToolNotation notation) const;
  void stream(Task& task, HttpWriter& writer);
  HttpReply whole(Task& task, const HttpPeer& peer);
  // Follows the task's channel; `put` gets each piece and returns false where nobody wants more.
  bool follow(Task& task, const HttpPeer& peer, const std::function<bool(Channel::Piece&)>& put);

  // How often a thread that waits looks whether its client is still there.
  static constexpr double kPeerLookSeconds = 0.1;

  const ServiceOptions options_;
  const text::Tokenizer& tokenizer_;
  const JsonConstraints json_;
  const text::ChatFormat* format_;
  const uint32_t context_;
  Scheduler* scheduler_;
  Metrics* metrics_;
  Monitor* monitor_;
  const int64_t started_;
};

}  // namespace jllm::serve

// The service's /v1/embeddings: one job for all inputs of a request, which have a slot one after
// the other, in the same queue as texts have.
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "tools/jllm/embedding_vector.h"
#include "tools/jllm/serve/embedding_api.h"
#include "tools/jllm/serve/service.h"
#include "tools/jllm/session.h"

namespace jllm::serve {
namespace {

// Collects what the scheduler's thread makes.
class VectorSink final : public TokenSink {
 public:
  void start(uint32_t) override {}
  bool has_room(size_t) override { return true; }
  bool push(const TokenChoice&) override { return false; }  // there are no tokens
  void push_vector(const std::vector<float>& vector) override { vectors_.push_back(vector); }
  void finish(Finish why) override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      why_ = why;
      ended_ = true;
    }
    changed_.notify_one();
  }

  // False: it has not ended within so many seconds.
  bool wait(double seconds) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                             [this] { return ended_; });
  }
  // Only once it has ended.
  Finish why() const { return why_; }
  std::vector<std::vector<float>>& vectors() { return vectors_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<float>> vectors_;  // the scheduler's until the end
  Finish why_ = Finish::kStop;
  bool ended_ = false;
};

}  // namespace

std::vector<uint32_t> Service::tokens_of(EmbeddingRequest::Input& input, size_t index) const {
  std::vector<uint32_t> tokens;
  if (const std::string* text = std::get_if<std::string>(&input)) {
    tokens = tokenizer_.encode(*text, {true, true});
  } else {
    tokens = std::move(std::get<std::vector<uint32_t>>(input));
  }
  const std::string which = "Input " + std::to_string(index) + " has ";
  if (tokens.empty()) throw ApiError{400, which + "no tokens", "input"};
  if (tokens.size() > context_) {
    throw ApiError{400,
                   which + std::to_string(tokens.size()) + " tokens; the plan's context takes " +
                       std::to_string(context_) + " at most",
                   "input", "context_length_exceeded"};
  }
  for (const uint32_t token : tokens) {
    if (token < tokenizer_.vocab_size()) continue;
    throw ApiError{400, which + "token " + std::to_string(token) + ", which is none of the model's",
                   "input"};
  }
  return tokens;
}

HttpReply Service::embeddings(const HttpRequest& request, const HttpPeer& peer) {
  EmbeddingRequest wanted = parse_embedding_request(request.body, options_.embedding_length);
  check_model(wanted.model);
  auto job = std::make_shared<Job>();
  uint64_t count = 0;
  for (size_t i = 0; i < wanted.inputs.size(); ++i) {
    job->inputs.push_back(tokens_of(wanted.inputs[i], i));
    count += job->inputs.back().size();
  }
  job->deadline = tool::now_seconds() + options_.timeout;
  const auto sink = std::make_shared<VectorSink>();
  job->sink = sink;
  submit(job);
  while (!sink->wait(kPeerLookSeconds)) {
    if (!peer.is_gone()) continue;
    job->cancelled = true;
    throw client_gone();
  }
  if (const std::optional<ApiError> error = empty_answer(sink->why())) throw *error;
  for (std::vector<float>& vector : sink->vectors()) {
    if (tool::normalise(&vector, wanted.dimensions)) continue;
    throw ApiError{500, "The model made a vector of zeros or of no numbers", "", "bad_embedding",
                   "server_error"};
  }
  HttpReply reply;
  reply.body = embeddings_json(sink->vectors(), wanted.base64, options_.model, count);
  return reply;
}

}  // namespace jllm::serve

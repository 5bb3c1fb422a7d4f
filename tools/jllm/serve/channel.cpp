#include "tools/jllm/serve/channel.h"

#include <chrono>

namespace jllm::serve {

void Channel::start(uint32_t cached) { cached_ = cached; }

bool Channel::has_room(size_t tokens) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return pieces_.size() + tokens <= kMostPieces;
}

bool Channel::push(const TokenChoice& choice) {
  ++made_;
  if (logprobs_) {
    ShownToken shown{tokenizer_.piece(choice.token, true), choice.logprob, {}};
    for (const auto& [token, logprob] : choice.top) {
      shown.top.emplace_back(tokenizer_.piece(token, true), logprob);
    }
    shown_.push_back(std::move(shown));
  }
  const bool goes_on = answer_.push(choice.token);
  if (streams_) put(answer_.take());
  return goes_on;
}

void Channel::put(std::string text) {
  if (text.empty()) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    pieces_.push_back({std::move(text), std::move(shown_)});
  }
  shown_.clear();
  changed_.notify_one();
}

void Channel::finish(Finish why) {
  answer_.finish();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    // There may be tokens without a text of their own: of a stop string, or a call.
    std::string rest = answer_.take();
    if (!rest.empty() || !shown_.empty()) pieces_.push_back({std::move(rest), std::move(shown_)});
    why_ = why;
    ended_ = true;
  }
  changed_.notify_one();
}

std::optional<Channel::Piece> Channel::next(double seconds) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                    [this] { return ended_ || !pieces_.empty(); });
  if (pieces_.empty()) return std::nullopt;
  Piece piece = std::move(pieces_.front());
  pieces_.pop_front();
  return piece;
}

bool Channel::ended() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ended_ && pieces_.empty();
}

}  // namespace jllm::serve

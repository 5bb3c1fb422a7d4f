// From the scheduler's thread to that of a request's connection: text as it becomes certain, in a
// queue of bounded length.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tools/jllm/serve/answer.h"
#include "tools/jllm/serve/scheduler.h"

namespace jllm::serve {

class Channel final : public TokenSink {
 public:
  // `streams`: pieces are wanted as they come; else all of the text is one piece at the end, and
  // the reader is not woken for less.
  Channel(const text::Tokenizer& tokenizer, text::ToolNotation notation,
          std::vector<std::string> stops, bool logprobs, bool streams)
      : tokenizer_(tokenizer),
        answer_(tokenizer, notation, std::move(stops)),
        logprobs_(logprobs),
        streams_(streams) {}

  void start(uint32_t cached) override;
  bool has_room(size_t tokens) override;
  bool push(const TokenChoice& choice) override;
  void finish(Finish why) override;

  struct Piece {
    std::string text;
    std::vector<ShownToken> tokens;  // that it is of, where log-probabilities are asked for
  };
  // The next piece; none when nothing came within `seconds`, or nothing more comes: ended().
  std::optional<Piece> next(double seconds);
  bool ended() const;

  // Only once it has ended(): until then they are the scheduler's.
  Finish why() const { return why_; }
  uint32_t cached() const { return cached_; }
  uint32_t made() const { return made_; }
  const std::vector<text::ToolCall>& calls() const { return answer_.calls(); }

 private:
  static constexpr size_t kMostPieces = 256;

  void put(std::string text);

  const text::Tokenizer& tokenizer_;
  Answer answer_;
  const bool logprobs_, streams_;
  std::vector<ShownToken> shown_;  // of tokens whose text is not certain yet
  uint32_t cached_ = 0, made_ = 0;
  Finish why_ = Finish::kStop;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Piece> pieces_;
  bool ended_ = false;
};

}  // namespace jllm::serve

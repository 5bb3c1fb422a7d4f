// Who gets the model when. One thread owns the engine; requests wait in a bounded queue until one
// of its slots is free, are consumed there chunk by chunk while the other slots' texts go on, and
// then get a token with each step. They come and go between two steps. Where nothing speaks against
// it, a step is asked for before the tokens of the one before are looked at, so that the device has
// no time without work; what it makes for a text that turns out to have ended is dropped.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "executor/platform/guard.h"
#include "tools/jllm/serve/constraint.h"
#include "tools/jllm/serve/engine.h"
#include "tools/jllm/serve/metrics.h"
#include "tools/jllm/serve/reply.h"

namespace jllm::serve {

// Why a request's text ended.
enum class Finish {
  kStop,       // the model ended it, or a stop string did
  kLength,     // max_tokens
  kContext,    // no room is left
  kMemory,     // the system's memory is below the floor
  kTimeout,    // --timeout
  kCancelled,  // the client is gone
  kShutdown,   // the server ends
  kFailed,     // the device failed
};

// Where a request's tokens go; called by the scheduler's thread, which must not wait for it.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void start(uint32_t cached) = 0;   // it has a slot, with so many of its tokens in it
  virtual bool has_room(size_t tokens) = 0;  // for so many more; else its text pauses
  virtual bool push(const TokenChoice& choice) = 0;       // false: that is enough (a stop string)
  virtual void push_vector(const std::vector<float>&) {}  // where embeddings are asked for
  virtual void finish(Finish why) = 0;                    // always the last call
};

struct Job {
  std::vector<uint32_t> prompt;  // 1 to context() - 1 tokens
  // In its place, of a plan that makes embeddings: those whose vectors are asked for, each of 1 to
  // context() tokens.
  std::vector<std::vector<uint32_t>> inputs;
  Sampling sampling;
  uint32_t max_tokens = UINT32_MAX;
  bool logprobs = false;
  uint32_t top_logprobs = 0;
  std::unique_ptr<Constraint> constraint;  // null: none
  double deadline = 0;                     // monotonic seconds
  std::shared_ptr<TokenSink> sink;
  std::atomic<bool> cancelled{false};  // set by anyone
  double submitted = 0;                // set by submit()
};

class Scheduler {
 public:
  using Care = std::function<platform::Guard::Verdict(double now)>;

  // `care` is asked before each step that makes tokens.
  // `beat` is called by the thread that owns the engine, between two steps and at least every
  // kBeatSeconds while there is nothing to do: where it is not, that thread hangs.
  using Beat = std::function<void(double now)>;
  static constexpr double kBeatSeconds = 1;
  // `prefix`: what each of the engine's slots has already.
  Scheduler(Engine& engine, Metrics& metrics, Care care, uint32_t queue_limit, Beat beat = nullptr,
            const std::vector<uint32_t>& prefix = {});
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  enum class Admission { kQueued, kFull, kDraining, kFailed };
  Admission submit(std::shared_ptr<Job> job);

  void drain();  // takes no more requests; those it has go on
  void stop();   // ends all with kShutdown, and the thread; may be called again
  // Where requests can be cancelled early, a hint that one was.
  void wake() { changed_.notify_one(); }

  struct State {
    uint32_t slots = 0, busy = 0, queued = 0, queue_limit = 0;
    bool draining = false, failed = false;
    std::string failure;
    std::vector<uint32_t> kept;  // tokens in each slot
  };
  State state() const;
  // Seconds that a request which finds the queue full had better wait.
  uint32_t retry_after() const;

 private:
  struct Slot {
    std::shared_ptr<Job> job;      // null: free
    std::vector<uint32_t> tokens;  // of its sequence, the job's or what an earlier one left
    uint32_t to_consume = 0;       // at the end of them
    uint32_t made = 0;             // tokens, or vectors
    uint32_t asked = 0;            // tokens of the job that are on their way
    double last_token = 0;
    uint64_t used = 0;  // when, in jobs
  };

  void run();
  bool wait();
  void end_unwanted();
  void admit();
  void start(std::shared_ptr<Job> job);
  void begin(uint32_t slot);
  uint32_t choose_slot(const std::vector<uint32_t>& prompt) const;
  void reuse(uint32_t slot, const std::vector<uint32_t>& prompt, uint32_t* kept);
  bool consume();
  bool decode();
  bool may_run_ahead();
  bool choose_ready();
  void generate(uint32_t slot);
  void ask();
  bool collect();
  void take_waiting();
  void embed(uint32_t slot);
  void mask(uint32_t slot);
  void deliver(uint32_t slot, const SampledToken& token);
  TokenChoice choice(uint32_t slot, uint32_t token);
  void finish(uint32_t slot, Finish why);
  void finish_queued(Job& job, Finish why);
  void finish_all(Finish why);
  void publish();
  void pause(double seconds);

  Engine& engine_;
  Metrics& metrics_;
  Care care_;
  Beat beat_;
  std::vector<Slot> slots_;
  std::vector<float> logits_, vector_;
  std::vector<uint32_t> mask_;
  std::vector<uint32_t> ready_, batch_;    // slots that a step is about
  std::vector<uint32_t> asked_, waiting_;  // the same of the last to be asked for, and before it
  uint32_t next_to_consume_ = 0;
  uint64_t jobs_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Job>> queue_;
  State state_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace jllm::serve

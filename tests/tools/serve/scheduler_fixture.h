// Requests, a sink that keeps what it gets and a scheduler over an engine without a model.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/tools/serve/scripted_engine.h"
#include "tools/jllm/serve/scheduler.h"
#include "tools/jllm/session.h"

namespace jllm::serve {

using test::ScriptedEngine;
using testing::ElementsAre;

constexpr double kLimit = 60;  // seconds that anything here may take
constexpr uint32_t kContext = 200, kVocab = 100;

// Keeps what it gets. A test can hold it up, or have it end its text at a token.
class Collector final : public TokenSink {
 public:
  void start(uint32_t cached) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    cached_ = cached;
  }
  bool has_room(size_t tokens) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return tokens <= room_ && choices_.size() <= room_ - tokens;
  }
  bool push(const TokenChoice& choice) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    choices_.push_back(choice);
    changed_.notify_all();
    return choice.token != stop_at;
  }
  void push_vector(const std::vector<float>& vector) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    vectors_.push_back(vector);
  }
  void finish(Finish why) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    why_ = why;
    ended_ = true;
    changed_.notify_all();
  }

  void set_room(size_t tokens) {
    const std::lock_guard<std::mutex> lock(mutex_);
    room_ = tokens;
  }
  Finish wait() {
    wait_for([this] { return ended_; });
    return why_;
  }
  void wait_for_tokens(size_t count) {
    wait_for([this, count] { return choices_.size() >= count; });
  }
  std::vector<TokenChoice> choices() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return choices_;
  }
  std::vector<uint32_t> tokens() const {
    std::vector<uint32_t> tokens;
    for (const TokenChoice& choice : choices()) tokens.push_back(choice.token);
    return tokens;
  }
  uint32_t cached() const { return cached_; }
  std::vector<std::vector<float>> vectors() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return vectors_;
  }

  uint32_t stop_at = UINT32_MAX;

 private:
  template <typename Condition>
  void wait_for(Condition condition) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::duration<double>(kLimit), condition)) {
      ADD_FAILURE() << "nothing came";
    }
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<TokenChoice> choices_;
  std::vector<std::vector<float>> vectors_;
  size_t room_ = SIZE_MAX;
  uint32_t cached_ = 0;
  Finish why_ = Finish::kStop;
  bool ended_ = false;
};

struct Request {
  std::shared_ptr<Job> job = std::make_shared<Job>();
  std::shared_ptr<Collector> sink = std::make_shared<Collector>();

  explicit Request(std::vector<uint32_t> prompt) {
    job->prompt = std::move(prompt);
    job->deadline = tool::now_seconds() + kLimit;
    job->sink = sink;
  }
};

// `count` tokens, each `first` plus its place.
inline std::vector<uint32_t> counting(uint32_t count, uint32_t first = 10) {
  std::vector<uint32_t> tokens(count);
  for (uint32_t i = 0; i < count; ++i) tokens[i] = first + i % 50;
  return tokens;
}

class SchedulerTest : public testing::Test {
 protected:
  explicit SchedulerTest(uint32_t slots = 2) : engine(slots, kContext, kVocab) {
    engine.replies = {{5, 6, 7}};
  }
  Scheduler& start(uint32_t queue = 8) {
    scheduler = std::make_unique<Scheduler>(
        engine, metrics, [this](double) { return verdict(); }, queue);
    return *scheduler;
  }
  void expect_queued(const Request& request) {
    EXPECT_EQ(scheduler->submit(request.job), Scheduler::Admission::kQueued);
  }
  // None begins before all are there.
  void submit_at_once(const std::vector<Request>& requests) {
    const std::lock_guard<std::mutex> lock(engine.gate);
    for (const Request& request : requests) expect_queued(request);
  }
  void run(const Request& request, Finish why = Finish::kStop) {
    expect_queued(request);
    EXPECT_EQ(request.sink->wait(), why);
  }
  void wait_until_idle() {
    const double end = tool::now_seconds() + kLimit;
    while (scheduler->state().busy > 0 && tool::now_seconds() < end) std::this_thread::yield();
  }

  ScriptedEngine engine;
  Metrics metrics;
  std::function<platform::Guard::Verdict()> verdict = [] { return platform::Guard::Verdict(); };
  std::unique_ptr<Scheduler> scheduler;  // the last, and so the first to go
};

// Allows token 40 and then 41 only.
class Two final : public Constraint {
 public:
  void fill(uint32_t* words, uint32_t count) override {
    std::fill(words, words + count, 0u);
    const uint32_t token = 40 + taken_;
    words[token / 32] |= 1u << (token % 32);
  }
  bool accept(uint32_t token) override { return token == 40 + taken_++; }
  bool done() const override { return taken_ == 2; }

 private:
  uint32_t taken_ = 0;
};

}  // namespace jllm::serve

// Steps that are asked for before the tokens of the last are looked at: nobody can tell, but by the
// time that it takes.
#include <deque>
#include <random>

#include "tests/tools/serve/scheduler_fixture.h"

namespace jllm::serve {
namespace {

class RunningAhead : public SchedulerTest {
 protected:
  explicit RunningAhead(uint32_t slots = 2) : SchedulerTest(slots) { engine.runs_ahead_ = true; }
};

TEST_F(RunningAhead, AStepIsAskedForBeforeTheTokensOfTheLast) {
  engine.replies = {{5, 5, 5, 5, 5, 5}, {6}};
  start();
  Request first(counting(10)), second(counting(10, 30));
  first.job->max_tokens = 5;
  submit_at_once({first, second});
  EXPECT_EQ(first.sink->wait(), Finish::kLength);
  EXPECT_EQ(second.sink->wait(), Finish::kStop);
  EXPECT_THAT(first.sink->tokens(), ElementsAre(5, 5, 5, 5, 5));
  EXPECT_THAT(second.sink->tokens(), ElementsAre(6));
  // The second ends with the second step, when the third is asked for. That the first ends with its
  // fifth token is known beforehand.
  EXPECT_THAT(engine.calls(),
              ElementsAre("rewind 0 to 0", "rewind 1 to 0", "consume 0", "generate 0", "consume 1",
                          "decode 0 1", "decode 0 1", "take 0", "take 1",  //
                          "decode 0 1", "take 0", "take 1", "take 0", "generate 0"));
  // What was made for it is not in its slot.
  std::vector<uint32_t> longer = counting(10, 30);
  longer.insert(longer.end(), {6, ScriptedEngine::kEnd, ScriptedEngine::kJunk, 9});
  const Request again(longer);
  run(again);
  EXPECT_EQ(again.sink->cached(), 12u);
  EXPECT_TRUE(engine.called("rewind 1 to 12"));
}

TEST_F(RunningAhead, NotWhereMasksOrLogitsComeBetweenTwoTokens) {
  engine.replies = {std::vector<uint32_t>(8, 5)};
  for (const bool masked : {true, false}) {
    start();
    Request free(counting(10)), bound(counting(10, 30));
    bound.job->logprobs = !masked;
    if (masked) bound.job->constraint = std::make_unique<Two>();
    free.job->max_tokens = bound.job->max_tokens = 4;
    submit_at_once({free, bound});
    free.sink->wait();
    bound.sink->wait();
    if (masked) {
      EXPECT_THAT(bound.sink->tokens(), ElementsAre(40, 41));
    }
    const std::vector<std::string> calls = engine.calls();
    for (size_t i = 0; i + 1 < calls.size(); ++i) {
      const bool asked = calls[i].rfind("decode", 0) == 0;
      EXPECT_TRUE(!asked || calls[i + 1].rfind("take", 0) == 0) << calls[i + 1];
    }
    EXPECT_TRUE(engine.called("decode 0 1"));
  }
}

TEST_F(RunningAhead, NothingIsMadeBeyondWhatIsWantedOrHasRoom) {
  engine.replies = {std::vector<uint32_t>(30, 5)};
  start();
  Request first(counting(10)), second(counting(10, 30));
  first.job->max_tokens = second.job->max_tokens = 8;
  first.sink->set_room(5);
  second.sink->set_room(5);
  submit_at_once({first, second});
  first.sink->wait_for_tokens(5);
  second.sink->wait_for_tokens(5);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // for what must not come
  EXPECT_EQ(first.sink->tokens().size(), 5u);
  EXPECT_EQ(second.sink->tokens().size(), 5u);
  first.sink->set_room(100);
  second.sink->set_room(100);
  EXPECT_EQ(first.sink->wait(), Finish::kLength);
  EXPECT_EQ(second.sink->wait(), Finish::kLength);
  size_t made = 0, taken = 0;  // for the first
  for (const std::string& call : engine.calls()) {
    made += call == "generate 0" || call == "decode 0" || call == "decode 0 1" ? 1 : 0;
    taken += call == "generate 0" || call == "take 0" ? 1 : 0;
  }
  EXPECT_EQ(made, 8u);
  EXPECT_EQ(taken, 8u);
}

class RunningAheadInMany : public RunningAhead {
 protected:
  RunningAheadInMany() : RunningAhead(6) {}
};

TEST_F(RunningAheadInMany, WhatIsThereDoesNotWaitForAPrompt) {
  engine.replies = {std::vector<uint32_t>(30, 5), std::vector<uint32_t>(30, 6), {7}};
  const Request first(counting(10)), second(counting(10, 30)), third(counting(20, 50));
  int steps = 0;
  verdict = [&] {
    if (++steps == 10) expect_queued(third);  // while two run ahead
    return platform::Guard::Verdict();
  };
  start();
  submit_at_once({first, second});
  EXPECT_EQ(first.sink->wait(), Finish::kStop);
  EXPECT_EQ(second.sink->wait(), Finish::kStop);
  EXPECT_EQ(third.sink->wait(), Finish::kStop);
  EXPECT_THAT(third.sink->tokens(), ElementsAre(7));
  const std::vector<std::string> calls = engine.calls();
  const auto consumed = std::find(calls.begin(), calls.end(), "consume 2");
  ASSERT_GE(consumed - calls.begin(), 4);
  EXPECT_THAT(std::vector<std::string>(consumed - 4, consumed),
              ElementsAre("take 1", "rewind 2 to 0", "take 0", "take 1"));
}

// Requests that come, end in every way and come back to what a slot has kept: each has the
// beginning of its reply, as far as its end allows, and an engine that is asked for what it cannot
// do throws.
TEST_F(RunningAheadInMany, RepliesAreThoseOfOneStepAfterTheOther) {
  constexpr uint32_t kRequests = 300;
  std::mt19937 random(3);
  const auto below = [&random](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  engine.most_batched_ = 4;
  engine.by_seed_ = true;
  engine.replies.clear();
  for (uint32_t i = 0; i < kRequests; ++i) {
    engine.replies.emplace_back(below(40));
    for (uint32_t& token : engine.replies.back()) token = 10 + below(80);
  }
  start(8);
  std::deque<Request> running;
  const auto end_one = [&] {
    const Request request = std::move(running.front());
    running.pop_front();
    const Job& job = *request.job;
    if (job.sampling.seed % 5 == 0) request.job->cancelled = true;
    const Finish why = request.sink->wait();
    std::vector<uint32_t> want = engine.replies[job.sampling.seed];
    const std::vector<uint32_t> got = request.sink->tokens();
    const auto stop = std::find(want.begin(), want.end(), request.sink->stop_at);
    if (stop != want.end()) want.erase(stop + 1, want.end());
    if (want.size() > job.max_tokens) want.resize(job.max_tokens);
    if (why == Finish::kCancelled && got.size() < want.size()) want.resize(got.size());
    EXPECT_EQ(got, want) << job.sampling.seed;
  };
  for (uint32_t i = 0; i < kRequests; ++i) {
    Request request(counting(8 + below(40), 10 + below(3)));
    request.job->sampling.seed = i;
    if (i % 3 == 0) request.job->max_tokens = 1 + below(20);
    if (i % 4 == 0) request.sink->stop_at = 10 + below(80);
    if (i % 7 == 0) request.job->logprobs = true;
    expect_queued(request);
    running.push_back(std::move(request));
    if (running.size() > 8) end_one();
  }
  while (!running.empty()) end_one();
  EXPECT_FALSE(scheduler->state().failed) << scheduler->state().failure;
  EXPECT_GT(metrics.cached_tokens, 0u);
}

}  // namespace
}  // namespace jllm::serve

// Who gets the model when: over an engine without a model.
#include <cmath>

#include "tests/tools/serve/scheduler_fixture.h"

namespace jllm::serve {
namespace {

class OneSlot : public SchedulerTest {
 protected:
  OneSlot() : SchedulerTest(1) {}
};

TEST_F(OneSlot, ATextIsConsumedAndThenMade) {
  start();
  const Request request(counting(20));
  run(request);
  EXPECT_THAT(request.sink->tokens(), ElementsAre(5, 6, 7));
  EXPECT_THAT(engine.calls(), ElementsAre("rewind 0 to 0", "consume 0", "consume 0", "generate 0",
                                          "generate 0", "generate 0", "generate 0"));
  EXPECT_EQ(metrics.generated_tokens, 4u);  // with that which ends it
  EXPECT_EQ(metrics.prompt_tokens, 20u);
  EXPECT_EQ(metrics.first_token.count(), 1u);
  EXPECT_EQ(metrics.each_token.count(), 3u);
}

TEST_F(OneSlot, WhatAPromptHasInCommonWithTheSlotIsKept) {
  start();
  run(Request(counting(20)));
  std::vector<uint32_t> longer = counting(20);
  longer.insert(longer.end(), {5, 6, 7, 90, 91});  // the answer, the end of which is not 90
  const Request request(longer);
  run(request);
  EXPECT_EQ(request.sink->cached(), 23u);
  EXPECT_EQ(metrics.cached_tokens, 23u);
  // The same again: its last token is left, for the logits behind it.
  const Request again(longer);
  run(again);
  EXPECT_EQ(again.sink->cached(), longer.size() - 1);
  EXPECT_TRUE(engine.called("rewind 0 to 24"));
}

TEST_F(OneSlot, WhatTheEngineBeganWithIsKept) {
  engine.begin(0, {}, nullptr, 15);
  while (engine.consume(0) > 0) {
  }
  scheduler = std::make_unique<Scheduler>(
      engine, metrics, [this](double) { return verdict(); }, 8, nullptr, counting(15));
  EXPECT_THAT(scheduler->state().kept, ElementsAre(15));
  const Request request(counting(20));
  run(request);
  EXPECT_EQ(request.sink->cached(), 15u);
  EXPECT_TRUE(engine.called("rewind 0 to 15"));
}

TEST_F(OneSlot, TextsEndAtTheirLimits) {
  engine.replies = {std::vector<uint32_t>(kContext, 5)};
  start();
  Request few(counting(20));
  few.job->max_tokens = 2;
  run(few, Finish::kLength);
  EXPECT_THAT(few.sink->tokens(), ElementsAre(5, 5));
  const Request full(counting(190, 20));
  run(full, Finish::kContext);
  EXPECT_EQ(full.sink->tokens().size(), 11u);
  engine.replies = {{5, 6, 7}};
  Request stopped(counting(30, 40));
  stopped.sink->stop_at = 6;
  run(stopped);
  EXPECT_THAT(stopped.sink->tokens(), ElementsAre(5, 6));
}

TEST_F(OneSlot, RequestsWaitInTheirOrderAndNoMoreThanTheQueueTakes) {
  engine.replies = {{5, 5, 5}, {6}, {7}};
  start(2);
  const Request first(counting(20));
  first.sink->set_room(1);
  expect_queued(first);
  first.sink->wait_for_tokens(1);
  const Request second(counting(20, 20)), third(counting(20, 30)), fourth(counting(20, 40));
  expect_queued(second);
  expect_queued(third);
  EXPECT_EQ(scheduler->submit(fourth.job), Scheduler::Admission::kFull);
  EXPECT_EQ(scheduler->state().queued, 2u);
  EXPECT_EQ(metrics.refused_full, 1u);
  EXPECT_GE(scheduler->retry_after(), 1u);
  first.sink->set_room(9);
  EXPECT_EQ(third.sink->wait(), Finish::kStop);
  EXPECT_THAT(second.sink->tokens(), ElementsAre(6));
  EXPECT_THAT(third.sink->tokens(), ElementsAre(7));
  EXPECT_TRUE(fourth.sink->tokens().empty());
}

TEST_F(OneSlot, CancelledAndLateRequestsEndWhereverTheyAre) {
  engine.replies = {std::vector<uint32_t>(150, 5)};
  start();
  Request running(counting(20)), waiting(counting(20, 30)), late(counting(20, 40));
  running.sink->set_room(3);
  late.job->deadline = tool::now_seconds() + 0.05;
  expect_queued(running);
  running.sink->wait_for_tokens(3);
  expect_queued(waiting);
  expect_queued(late);
  waiting.job->cancelled = true;
  EXPECT_EQ(waiting.sink->wait(), Finish::kCancelled);
  EXPECT_EQ(late.sink->wait(), Finish::kTimeout);
  running.job->cancelled = true;
  EXPECT_EQ(running.sink->wait(), Finish::kCancelled);
  EXPECT_EQ(running.sink->tokens().size(), 3u);
  EXPECT_EQ(metrics.cancelled, 2u);
  EXPECT_EQ(metrics.timed_out, 1u);
}

TEST_F(OneSlot, APromptThatIsGivenUpLeavesWhatWasConsumed) {
  start();
  Request request(counting(60));
  {
    const std::lock_guard<std::mutex> lock(engine.gate);
    expect_queued(request);
    while (scheduler->state().queued > 0) std::this_thread::yield();
    request.job->cancelled = true;  // it has its slot
  }
  EXPECT_EQ(request.sink->wait(), Finish::kCancelled);
  EXPECT_THAT(engine.calls(), ElementsAre("rewind 0 to 0", "consume 0", "rewind 0 to 16"));
  const Request again(counting(60));
  run(again);
  EXPECT_EQ(again.sink->cached(), 16u);
}

TEST_F(OneSlot, TheHeartBeatsWhileItsThreadDoesNotHang) {
  std::atomic<int> beats{0};
  scheduler = std::make_unique<Scheduler>(
      engine, metrics, [this](double) { return verdict(); }, 8, [&beats](double) { ++beats; });
  const auto expect_beats = [&beats](int more) {
    const int before = beats;
    const double end = tool::now_seconds() + kLimit;
    while (beats < before + more && tool::now_seconds() < end) std::this_thread::yield();
    EXPECT_GE(beats, before + more);
  };
  expect_beats(2);  // nothing to do
  const Request request(counting(20));
  {
    const std::lock_guard<std::mutex> lock(engine.gate);  // the engine hangs
    expect_queued(request);
    while (scheduler->state().queued > 0) std::this_thread::yield();
    const int before = beats;
    std::this_thread::sleep_for(std::chrono::duration<double>(1.5 * Scheduler::kBeatSeconds));
    EXPECT_EQ(beats, before);
  }
  EXPECT_EQ(request.sink->wait(), Finish::kStop);
  expect_beats(1);
}

TEST_F(OneSlot, LowMemoryEndsWhatIsThere) {
  std::atomic<bool> low{false};
  verdict = [&low] {
    platform::Guard::Verdict v;
    v.stop = low;
    return v;
  };
  engine.replies = {std::vector<uint32_t>(150, 5)};
  start();
  const Request running(counting(20)), waiting(counting(20, 30));
  running.sink->set_room(3);
  expect_queued(running);
  running.sink->wait_for_tokens(3);
  expect_queued(waiting);
  low = true;
  running.sink->set_room(9);
  EXPECT_EQ(running.sink->wait(), Finish::kMemory);
  EXPECT_EQ(waiting.sink->wait(), Finish::kMemory);
  EXPECT_EQ(metrics.ended_by_memory, 2u);
  low = false;
  engine.replies = {{8}};
  run(Request(counting(20, 40)));
}

TEST_F(OneSlot, DrainingFinishesWhatWasTaken) {
  start();
  const Request running(counting(20)), waiting(counting(20, 30)), refused(counting(20));
  running.sink->set_room(1);
  expect_queued(running);
  running.sink->wait_for_tokens(1);
  expect_queued(waiting);
  scheduler->drain();
  EXPECT_EQ(scheduler->submit(refused.job), Scheduler::Admission::kDraining);
  running.sink->set_room(9);
  EXPECT_EQ(running.sink->wait(), Finish::kStop);
  EXPECT_EQ(waiting.sink->wait(), Finish::kStop);
}

TEST_F(OneSlot, StoppingEndsEverything) {
  engine.replies = {std::vector<uint32_t>(150, 5)};
  start();
  const Request running(counting(20)), waiting(counting(20, 30));
  running.sink->set_room(1);
  expect_queued(running);
  running.sink->wait_for_tokens(1);
  expect_queued(waiting);
  scheduler->stop();
  EXPECT_EQ(running.sink->wait(), Finish::kShutdown);
  EXPECT_EQ(waiting.sink->wait(), Finish::kShutdown);
  EXPECT_EQ(scheduler->submit(Request(counting(3)).job), Scheduler::Admission::kDraining);
}

TEST_F(OneSlot, AFailureOfTheDeviceEndsTheService) {
  engine.fails = true;
  start();
  run(Request(counting(20)), Finish::kFailed);
  EXPECT_TRUE(scheduler->state().failed);
  EXPECT_EQ(scheduler->state().failure, "the device is gone");
  EXPECT_EQ(scheduler->submit(Request(counting(3)).job), Scheduler::Admission::kFailed);
}

TEST_F(OneSlot, LogProbabilitiesAreThoseOfTheLogits) {
  engine.replies = {{5}};
  start();
  Request request(counting(20));
  request.job->logprobs = true;
  request.job->top_logprobs = 3;
  run(request);
  const TokenChoice choice = request.sink->choices().at(0);
  // One logit of 10 among zeros.
  const double sum = std::exp(10.0) + (kVocab - 1);
  EXPECT_NEAR(choice.logprob, 10 - std::log(sum), 1e-6);
  ASSERT_EQ(choice.top.size(), 3u);
  EXPECT_EQ(choice.top[0].first, 5u);
  EXPECT_EQ(choice.top[1].first, 0u);  // equals in the order of the tokens
  EXPECT_NEAR(choice.top[1].second, -std::log(sum), 1e-5);
}

TEST_F(OneSlot, AConstraintDecidesWhatComes) {
  start();
  Request request(counting(20));
  request.job->constraint = std::make_unique<Two>();
  run(request);
  EXPECT_THAT(request.sink->tokens(), ElementsAre(40, 41));
  const Request free(counting(20, 30));  // the mask is gone with it
  run(free);
  EXPECT_THAT(free.sink->tokens(), ElementsAre(5, 6, 7));
}

TEST_F(SchedulerTest, TextsGoOnWhileAPromptIsConsumedAndThenTogether) {
  engine.replies = {{5, 5, 5, 5, 5, 5}, {6, 6}};
  start();
  const Request first(counting(10)), second(counting(60, 30));
  submit_at_once({first, second});
  EXPECT_EQ(first.sink->wait(), Finish::kStop);
  EXPECT_EQ(second.sink->wait(), Finish::kStop);
  EXPECT_THAT(engine.calls(),
              ElementsAre("rewind 0 to 0", "rewind 1 to 0", "consume 0", "generate 0",  //
                          "consume 1", "generate 0", "consume 1", "generate 0",         //
                          "consume 1", "generate 0", "consume 1", "decode 0 1",         //
                          "decode 0 1", "decode 0 1"));
  EXPECT_THAT(first.sink->tokens(), ElementsAre(5, 5, 5, 5, 5, 5));
  EXPECT_THAT(second.sink->tokens(), ElementsAre(6, 6));
}

TEST_F(SchedulerTest, PromptsTakeTurns) {
  start();
  const Request first(counting(40)), second(counting(40, 30));
  submit_at_once({first, second});
  first.sink->wait();
  second.sink->wait();
  std::vector<std::string> calls = engine.calls();
  calls.resize(8);
  EXPECT_THAT(calls, ElementsAre("rewind 0 to 0", "rewind 1 to 0", "consume 0", "consume 1",
                                 "consume 0", "consume 1", "consume 0", "generate 0"));
}

TEST_F(SchedulerTest, TheSlotWithTheLongestPrefixIsTaken) {
  start();
  const Request first(counting(40, 10)), second(counting(40, 30));
  submit_at_once({first, second});  // in two slots
  first.sink->wait();
  second.sink->wait();
  for (const uint32_t begin : {10u, 30u}) {
    wait_until_idle();
    const Request again(counting(45, begin));
    run(again);
    EXPECT_EQ(again.sink->cached(), 40u);
  }
}

TEST_F(SchedulerTest, APrefixInABusySlotIsCopied) {
  engine.replies = {std::vector<uint32_t>(100, 5), {6}};
  start();
  const Request first(counting(60));
  first.sink->set_room(2);
  expect_queued(first);
  first.sink->wait_for_tokens(2);
  std::vector<uint32_t> prompt = counting(50);
  prompt.push_back(99);
  const Request second(prompt);
  run(second);
  EXPECT_EQ(second.sink->cached(), 50u);
  EXPECT_TRUE(engine.called("copy 1 from 0: 50"));
  first.job->cancelled = true;
  first.sink->wait();
}

TEST_F(SchedulerTest, AShortPrefixIsNotWorthCopying) {
  engine.replies = {std::vector<uint32_t>(100, 5), {6}};
  start();
  const Request first(counting(60));
  first.sink->set_room(2);
  expect_queued(first);
  first.sink->wait_for_tokens(2);
  std::vector<uint32_t> prompt = counting(20);
  prompt.push_back(99);
  const Request second(prompt);
  run(second);
  EXPECT_EQ(second.sink->cached(), 0u);
}

TEST_F(SchedulerTest, APromptThatIsNotConsumedYetIsNoPrefix) {
  start();
  const Request first(counting(60)), second(counting(60));
  submit_at_once({first, second});
  EXPECT_EQ(first.sink->wait(), Finish::kStop);
  EXPECT_EQ(second.sink->wait(), Finish::kStop);
  EXPECT_EQ(second.sink->cached(), 0u);
}

class ManySlots : public SchedulerTest {
 protected:
  ManySlots() : SchedulerTest(12) {}
};

TEST_F(ManySlots, BatchesHaveNoMoreThanTheEngineTakes) {
  engine.replies.clear();
  for (uint32_t i = 0; i < 40; ++i) engine.replies.push_back(std::vector<uint32_t>(20, 5 + i));
  start(40);
  std::vector<Request> requests;
  for (uint32_t i = 0; i < 40; ++i) requests.emplace_back(counting(10 + i, i));
  submit_at_once(requests);
  for (const Request& request : requests) EXPECT_EQ(request.sink->wait(), Finish::kStop);
  for (uint32_t i = 0; i < 40; ++i) {
    EXPECT_EQ(requests[i].sink->tokens(), std::vector<uint32_t>(20, 5 + i)) << i;
  }
  const std::vector<std::string> calls = engine.calls();
  EXPECT_TRUE(std::any_of(calls.begin(), calls.end(), [](const std::string& call) {
    return call.rfind("decode", 0) == 0 && std::count(call.begin(), call.end(), ' ') == 8;
  })) << "no batch of eight";
}

}  // namespace
}  // namespace jllm::serve

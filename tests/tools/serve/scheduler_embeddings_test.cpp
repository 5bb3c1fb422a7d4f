// Requests for embeddings: their inputs have a slot one after the other, and the limits of texts.
#include "tests/tools/serve/scheduler_fixture.h"

namespace jllm::serve {
namespace {

// One slot of an engine that makes embeddings: of the tokens that the slot has, as it seems.
class OneSlotOfVectors : public SchedulerTest {
 protected:
  OneSlotOfVectors() : SchedulerTest(1) { engine.embeds_ = true; }
  static Request request_of(std::vector<std::vector<uint32_t>> inputs) {
    Request request({});
    request.job->inputs = std::move(inputs);
    return request;
  }
  static std::vector<float> vector_of(uint32_t tokens) {
    return std::vector<float>(ScriptedEngine::kWidth, static_cast<float>(tokens));
  }
};

TEST_F(OneSlotOfVectors, InputsHaveTheSlotOneAfterTheOther) {
  start();
  std::vector<uint32_t> other = counting(20);
  other.back() = 99;
  const Request request = request_of({counting(20), other, {7}, counting(kContext, 30)});
  run(request);
  EXPECT_THAT(request.sink->vectors(),
              ElementsAre(vector_of(20), vector_of(20), vector_of(1), vector_of(kContext)));
  EXPECT_TRUE(request.sink->tokens().empty());
  std::vector<std::string> calls = engine.calls();
  calls.resize(9);
  // What an input begins with like the one before is not computed again.
  EXPECT_THAT(calls,
              ElementsAre("rewind 0 to 0", "consume 0", "consume 0", "embed 0", "rewind 0 to 19",
                          "consume 0", "embed 0", "rewind 0 to 0", "consume 0"));
  EXPECT_EQ(metrics.prompt_tokens, 20u + 20 + 1 + kContext);
  EXPECT_EQ(metrics.cached_tokens, 19u);
  EXPECT_EQ(metrics.generated_tokens, 0u);
  EXPECT_EQ(metrics.request.count(), 1u);
  EXPECT_EQ(metrics.queued.count(), 1u);
}

TEST_F(OneSlotOfVectors, LimitsAreThoseOfTexts) {
  start(1);
  Request first = request_of(std::vector<std::vector<uint32_t>>(1000, counting(50)));
  Request late = request_of({counting(20)});
  const Request refused = request_of({counting(20)});
  {
    const std::lock_guard<std::mutex> lock(engine.gate);
    expect_queued(first);
    while (scheduler->state().queued > 0) std::this_thread::yield();
    late.job->deadline = tool::now_seconds();
    expect_queued(late);
    EXPECT_EQ(scheduler->submit(refused.job), Scheduler::Admission::kFull);
    first.job->cancelled = true;
  }
  EXPECT_EQ(first.sink->wait(), Finish::kCancelled);
  EXPECT_LT(first.sink->vectors().size(), 1000u);
  EXPECT_EQ(late.sink->wait(), Finish::kTimeout);
  EXPECT_TRUE(late.sink->vectors().empty());
  const Request again = request_of({counting(20)});
  run(again);
  EXPECT_THAT(again.sink->vectors(), ElementsAre(vector_of(20)));
}

TEST_F(OneSlotOfVectors, LowMemoryAndFailuresEndThem) {
  std::atomic<bool> low{true};
  verdict = [&low] {
    platform::Guard::Verdict v;
    v.stop = low;
    return v;
  };
  start();
  const Request first = request_of({counting(20)}), waiting = request_of({counting(20)});
  submit_at_once({first, waiting});
  EXPECT_EQ(first.sink->wait(), Finish::kMemory);
  EXPECT_EQ(waiting.sink->wait(), Finish::kMemory);
  low = false;
  run(request_of({counting(20)}));
  engine.fails = true;
  run(request_of({counting(20, 30)}), Finish::kFailed);
  EXPECT_TRUE(scheduler->state().failed);
}

}  // namespace
}  // namespace jllm::serve

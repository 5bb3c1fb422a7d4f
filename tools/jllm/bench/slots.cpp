#include "tools/jllm/bench/slots.h"

#include <algorithm>
#include <cstdio>

namespace jllm::tool {
namespace {

constexpr uint32_t kAhead = 2;  // batches in flight: the device does not wait for the host

// 1, 2, 4, ... and all.
std::vector<uint32_t> counts(uint32_t slots) {
  std::vector<uint32_t> list;
  for (uint32_t n = 1; n < slots; n *= 2) list.push_back(n);
  list.push_back(slots);
  return list;
}

}  // namespace

SlotsBench::SlotsBench(const PlanView& plan, Session& session)
    : session_(session), executor_(session.executor()), bench_(plan, session) {
  if (executor_.slots() < 2) {
    throw Failure(kUsage, "--slots: the plan has room for one sequence; compile it with --slots N");
  }
}

std::vector<SlotsTest> SlotsBench::run(const std::vector<Test>& tests, uint64_t repetitions) {
  std::vector<SlotsTest> done;
  for (const Test& test : tests) {
    if (test.generate > 0) done.push_back(run(test, repetitions));
  }
  return done;
}

SlotsTest SlotsBench::run(const Test& test, uint64_t repetitions) {
  SlotsTest result;
  result.depth = std::max(test.depth, 1u);  // something must be there to go on from
  result.generate = test.generate;
  Sampling endless;
  endless.ignore_end = true;
  for (uint32_t slot = 0; slot < executor_.slots(); ++slot) {
    select(slot);
    session_.check(executor_.set_sampling(endless));
    session_.check(executor_.rewind(0));
    bench_.feed(result.depth);
    bench_.step();
  }
  for (const uint32_t slots : counts(executor_.slots())) {
    SlotsTest::Times times;
    times.slots = slots;
    for (uint64_t i = 0; i <= repetitions; ++i) {
      for (uint32_t slot = 0; slot < slots; ++slot) {
        select(slot);
        session_.check(executor_.rewind(result.depth));
      }
      const double start = now_seconds();
      generate(slots, result.generate);
      if (i > 0) times.seconds.push_back(now_seconds() - start);  // the first warms up
    }
    result.times.push_back(std::move(times));
  }
  select(0);
  return result;
}

void SlotsBench::generate(uint32_t slots, uint32_t count) {
  std::vector<uint32_t> batch(slots);
  for (uint32_t slot = 0; slot < slots; ++slot) batch[slot] = slot;
  uint32_t asked = 0;
  for (uint32_t taken = 0; taken < count; ++taken) {
    for (; asked < count && asked < taken + kAhead; ++asked) {
      session_.check(executor_.enqueue_batch(batch.data(), slots));
    }
    for (const uint32_t slot : batch) {
      select(slot);
      session_.check(executor_.next().error());
    }
  }
}

void print_slots(const std::vector<SlotsTest>& tests) {
  std::printf("%8s %8s %8s %14s %14s %8s\n", "depth", "tokens", "slots", "total tok/s",
              "each tok/s", "gain");
  for (const SlotsTest& test : tests) {
    const double one = test.total_rate(test.times.front());
    for (const SlotsTest::Times& times : test.times) {
      const double rate = test.total_rate(times);
      std::printf("%8u %8u %8u %14.1f %14.1f %7.2fx\n", test.depth, test.generate, times.slots,
                  rate, rate / times.slots, rate / one);
    }
  }
}

nlohmann::ordered_json slots_json(const SlotsTest& test) {
  nlohmann::ordered_json d;
  d["depth"] = test.depth;
  d["n_gen"] = test.generate;
  d["slots"] = nlohmann::ordered_json::array();
  for (const SlotsTest::Times& times : test.times) {
    d["slots"].push_back({{"slots", times.slots},
                          {"seconds", times.seconds},
                          {"total_tokens_per_second", test.total_rate(times)}});
  }
  return d;
}

}  // namespace jllm::tool

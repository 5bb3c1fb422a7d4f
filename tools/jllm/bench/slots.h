// What several sequences at once gain: generation in 1, 2, 4, ... slots of a plan, decoded
// together.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "tools/jllm/bench/measure.h"

namespace jllm::tool {

struct SlotsTest {
  uint32_t depth = 0, generate = 0;  // tokens, of each sequence
  struct Times {
    uint32_t slots = 0;
    std::vector<double> seconds;  // one per repetition: from the first batch to its last token
  };
  std::vector<Times> times;

  // Tokens per second of all sequences together.
  double total_rate(const Times& t) const { return double(generate) * t.slots / median(t.seconds); }
};

class SlotsBench {
 public:
  // kUsage where the plan has one slot.
  SlotsBench(const PlanView& plan, Session& session);

  // Of the tests, those that generate.
  std::vector<SlotsTest> run(const std::vector<Test>& tests, uint64_t repetitions);

 private:
  SlotsTest run(const Test& test, uint64_t repetitions);
  void generate(uint32_t slots, uint32_t count);
  void select(uint32_t slot) { session_.check(executor_.select(slot)); }

  Session& session_;
  Executor& executor_;
  Bench bench_;
};

void print_slots(const std::vector<SlotsTest>& tests);
nlohmann::ordered_json slots_json(const SlotsTest& test);

}  // namespace jllm::tool

// What drafts gain: generation behind a prompt that repeats itself, without drafts, with those that
// prompt lookup finds, and with drafts that all hold or all fail: the most and the least that a
// text can make of it.
#pragma once

#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/jllm/bench/measure.h"

namespace jllm::tool {

enum class Drafts { kNone, kLookedUp, kAllHold, kAllFail };
constexpr Drafts kAllDrafts[] = {Drafts::kNone, Drafts::kLookedUp, Drafts::kAllHold,
                                 Drafts::kAllFail};
const char* drafts_name(Drafts drafts);  // "none", "looked up", ...

struct SpeculationTest {
  Test test;  // depth: length of the prompt
  struct Times {
    std::vector<double> seconds;  // one per repetition
    uint64_t steps = 0;           // of one repetition; the last one's
  };
  Times times[std::size(kAllDrafts)];

  const Times& of(Drafts drafts) const { return times[static_cast<size_t>(drafts)]; }
  double rate(Drafts drafts) const { return test.rate(median(of(drafts).seconds)); }
  double tokens_per_step(Drafts drafts) const;
};

class SpeculationBench {
 public:
  // kUsage where the plan has no verify graphs.
  SpeculationBench(const PlanView& plan, Session& session);

  // Of the tests, those that generate.
  std::vector<SpeculationTest> run(const std::vector<Test>& tests, uint64_t repetitions);

 private:
  SpeculationTest run(const Test& test, uint64_t repetitions);
  void prompt(uint32_t count);
  // How many steps it took.
  uint64_t generate(Drafts drafts, uint32_t count);
  uint64_t verify(bool right, uint32_t count);

  Session& session_;
  Executor& executor_;
  Bench bench_;
  uint32_t context_;
  std::vector<uint32_t> text_;  // what plain decoding generated
};

void print_speculation(const std::vector<SpeculationTest>& tests);
nlohmann::ordered_json speculation_json(const SpeculationTest& test);

}  // namespace jllm::tool

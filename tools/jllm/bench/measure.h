// One test of jllm bench: a prompt or a generation behind some depth, run over and over.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/jllm/bench/nvtx.h"
#include "tools/jllm/bench/power.h"
#include "tools/jllm/bench/statistics.h"
#include "tools/jllm/session.h"

namespace jllm::tool {

struct Test {
  uint32_t prompt = 0, generate = 0, depth = 0;  // tokens; one of the first two is 0
  // One per repetition. A prompt's time ends with the token behind it.
  std::vector<double> seconds;
  // Generation: from each token to the next as they reach the host, all repetitions.
  std::vector<double> token_seconds;
  // CPU time of the whole process in all repetitions.
  double cpu_seconds = 0;
  // Of the module in all repetitions; none without --power or rails.
  platform::Energy energy;

  std::string name() const;
  double tokens() const { return double(prompt) + generate; }
  double rate(double time) const { return time > 0 ? tokens() / time : 0; }
  double median_rate() const { return rate(median(seconds)); }
  // At the median rate; none where the power is not known.
  std::optional<double> tokens_per_joule() const;
  double cpu_seconds_per_token() const {
    return seconds.empty() ? 0 : cpu_seconds / double(seconds.size()) / tokens();
  }
};

// Runs tests on a session, with pseudo-random tokens that are the same each time, greedily.
class Bench {
 public:
  // `power`, if not null, measures the energy of each test.
  Bench(const PlanView& plan, Session& session, PowerSampler* power = nullptr);

  // Appends one repetition to `test`.
  void repeat(Test* test);
  // Fills the sequence up to this many tokens, ready for a prompt behind them, and waits.
  void fill(uint32_t depth);
  void feed(uint32_t count);
  // One token through, waited for: whatever was fed is done then.
  void step();
  // From nothing to the first token.
  void first_token();
  std::vector<uint32_t> random_tokens(uint32_t count);
  // Generates tokens without drafts; `token_seconds`, if not null, gets the time of each.
  std::vector<uint32_t> take(uint32_t count, std::vector<double>* token_seconds);

 private:
  Session& session_;
  Executor& executor_;
  uint32_t ahead_;  // tokens asked for ahead of the one that is read, as jllm run does
  PowerSampler* power_;
  Nvtx nvtx_;
  uint64_t state_ = 1;
  std::vector<float> logits_;
};

double cpu_seconds();  // of this process, all threads

}  // namespace jllm::tool

// A ScriptedEngine whose steps take time, as those of a device do, and which counts how long that
// device had nothing to do: what a server's own work costs, without a GPU.
#pragma once

#include <sched.h>

#include <algorithm>
#include <deque>
#include <vector>

#include "tests/tools/serve/scripted_engine.h"
#include "tools/jllm/session.h"

namespace jllm::test {

class TimedEngine final : public ScriptedEngine {
 public:
  TimedEngine(uint32_t slots, uint32_t context, uint32_t vocab_size, double step_seconds)
      : ScriptedEngine(slots, context, vocab_size), step_(step_seconds), ready_(slots) {}

  uint64_t steps() const { return steps_; }
  double idle_seconds() const { return idle_; }  // between two steps

  uint32_t consume(uint32_t slot) override {
    wait_until(launch());
    return ScriptedEngine::consume(slot);
  }
  SampledToken generate(uint32_t slot, bool speculates, uint32_t wanted) override {
    wait_until(launch());
    return ScriptedEngine::generate(slot, speculates, wanted);
  }
  void ask(const uint32_t* slots, uint32_t n) override {
    const double end = launch();
    ScriptedEngine::ask(slots, n);
    for (uint32_t i = 0; i < n; ++i) ready_[slots[i]].push_back(end);
  }
  SampledToken take(uint32_t slot) override {
    wait_until(ready_[slot].front());
    ready_[slot].pop_front();
    return ScriptedEngine::take(slot);
  }
  void rewind(uint32_t slot, uint32_t count) override {
    drop(slot);
    ScriptedEngine::rewind(slot, count);
  }
  void copy_prefix(uint32_t slot, uint32_t from, uint32_t count) override {
    drop(slot);
    ScriptedEngine::copy_prefix(slot, from, count);
  }

 private:
  // Puts a step behind those under way; when it ends.
  double launch() {
    const double now = tool::now_seconds();
    if (steps_++ > 0) idle_ += std::max(0.0, now - busy_until_);
    busy_until_ = std::max(now, busy_until_) + step_;
    return busy_until_;
  }
  void drop(uint32_t slot) {
    if (!ready_[slot].empty()) wait_until(ready_[slot].back());
    ready_[slot].clear();
  }
  static void wait_until(double time) {
    while (tool::now_seconds() < time) sched_yield();
  }

  const double step_;
  std::vector<std::deque<double>> ready_;  // by slot: when the tokens on their way are there
  double busy_until_ = 0, idle_ = 0;
  uint64_t steps_ = 0;
};

}  // namespace jllm::test

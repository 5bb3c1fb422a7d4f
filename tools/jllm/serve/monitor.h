// The machine and the model as /health and /metrics tell of them.
#pragma once

#include <mutex>
#include <string>

#include "executor/platform/guard.h"
#include "executor/platform/power.h"
#include "tools/jllm/prefix_cache.h"
#include "tools/jllm/serve/metrics.h"
#include "tools/jllm/serve/scheduler.h"

namespace jllm::serve {

// What does not change while the server runs.
struct ModelFacts {
  std::string model, plan, architecture, device;
  uint32_t context = 0, vocab_size = 0;
  MemoryUse memory;
  double load_seconds = 0;
  tool::PrefixReport prefix;
};

class Monitor {
 public:
  Monitor(ModelFacts facts, platform::Guard guard, double now);

  // Asks the guard, and keeps what it saw; reads the rails now and then. `generated`: tokens so
  // far. For the scheduler's thread, before each step that makes tokens.
  platform::Guard::Verdict care(double now, uint64_t generated);

  // {"status": "ok", ...}; the status is "draining" or "failed" where the scheduler is.
  std::string health_json(const Scheduler::State& scheduler, const Metrics& metrics) const;
  void write(const Scheduler::State& scheduler, const Metrics& metrics, PrometheusText* text) const;

 private:
  // What the module took while it made tokens. Time without requests does not count, but for
  // pauses of up to a second.
  struct Metered {
    platform::Energy energy;
    uint64_t tokens = 0;  // generated meanwhile

    std::optional<double> tokens_per_joule() const;
  };
  void meter(double now, uint64_t generated);
  Metered metered() const;

  const ModelFacts facts_;
  const platform::Sysfs sysfs_;
  const std::vector<platform::ThermalZone> zones_;
  const double started_;
  platform::Guard guard_;  // of the scheduler's thread, and so are
  uint64_t looks_ = 0;     // its looks that report_ has
  platform::PowerMeter meter_;
  double metered_at_ = 0;        // when meter_ was asked last,
  uint64_t metered_tokens_ = 0;  // and the tokens by then

  mutable std::mutex mutex_;
  platform::GuardReport report_;  // of guard_, for the others
  uint32_t level_ = 0;
  Metered metered_;
};

}  // namespace jllm::serve

// The machine and the model as /health and /metrics tell of them.
#pragma once

#include <mutex>
#include <string>

#include "executor/platform/guard.h"
#include "tools/jllm/serve/metrics.h"
#include "tools/jllm/serve/scheduler.h"

namespace jllm::serve {

// What does not change while the server runs.
struct ModelFacts {
  std::string model, plan, architecture, device;
  uint32_t context = 0, vocab_size = 0;
  MemoryUse memory;
  double load_seconds = 0;
};

class Monitor {
 public:
  Monitor(ModelFacts facts, platform::Guard guard, double now);

  // Asks the guard, and keeps what it saw. For the scheduler's thread.
  platform::Guard::Verdict care(double now);

  // {"status": "ok", ...}; the status is "draining" or "failed" where the scheduler is.
  std::string health_json(const Scheduler::State& scheduler, const Metrics& metrics) const;
  void write(const Scheduler::State& scheduler, const Metrics& metrics, PrometheusText* text) const;

 private:
  const ModelFacts facts_;
  const platform::Sysfs sysfs_;
  const std::vector<platform::ThermalZone> zones_;
  const std::vector<platform::PowerRail> rails_;
  const double started_;
  platform::Guard guard_;  // of the scheduler's thread, and so are
  uint64_t looks_ = 0;     // its looks that report_ has

  mutable std::mutex mutex_;
  platform::GuardReport report_;  // of guard_, for the others
  uint32_t level_ = 0;
};

}  // namespace jllm::serve

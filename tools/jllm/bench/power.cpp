#include "tools/jllm/bench/power.h"

#include <chrono>

#include "tools/jllm/session.h"

namespace jllm::tool {

PowerSampler::PowerSampler(const std::string& root, double interval_seconds)
    : meter_(platform::Sysfs(root)), source_(meter_.source()) {
  if (source_.empty()) return;
  thread_ = std::thread([this, interval_seconds] {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!ends_) {
      meter_.sample(now_seconds());
      changed_.wait_for(lock, std::chrono::duration<double>(interval_seconds));
    }
  });
}

PowerSampler::~PowerSampler() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

platform::Energy PowerSampler::read() {
  const std::lock_guard<std::mutex> lock(mutex_);
  meter_.sample(now_seconds());
  return meter_.energy();
}

}  // namespace jllm::tool

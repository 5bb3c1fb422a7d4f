// The power of the module's rails while jllm bench runs: a thread that samples them many times a
// second.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "executor/platform/power.h"

namespace jllm::tool {

class PowerSampler {
 public:
  // Files below `root`, as platform::Sysfs has it. Throws nothing where there are no rails.
  explicit PowerSampler(const std::string& root, double interval_seconds = 0.05);
  ~PowerSampler();
  PowerSampler(const PowerSampler&) = delete;
  PowerSampler& operator=(const PowerSampler&) = delete;

  const std::string& source() const { return source_; }  // empty: there are no rails
  // Samples now: what was taken up to now.
  platform::Energy read();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false;
  platform::PowerMeter meter_;  // behind the mutex
  const std::string source_;
  std::thread thread_;
};

}  // namespace jllm::tool

// Care for the machine between two tokens: says when to stop because memory runs out, before the
// system kills somebody for it, and how long to pause because the chip is hot, before the hardware
// throttles it. Whoever generates asks check() before each token; files are read a few times a
// second at most, whatever the rate of tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "executor/platform/sysfs.h"

namespace jllm::platform {

struct GuardOptions {
  uint64_t memory_floor = 0;  // bytes of MemAvailable; below it generation stops. 0: not watched
  bool thermal = true;
  // Degrees Celsius, ascending: each that is reached doubles the pause. Empty: 9, 6 and 3 degrees
  // below the point where the kernel throttles.
  std::vector<double> steps;
  double interval_seconds = 0.25;  // between two looks
};

struct GuardReport {
  uint64_t looks = 0;
  std::optional<uint64_t> lowest_available;  // bytes
  std::optional<double> hottest;             // degrees Celsius
  std::string hottest_zone;
  std::vector<std::string> alerts;  // throttling that the system told of, each once
  uint32_t highest_level = 0;       // of backing off
  uint64_t pauses = 0;
  double paused_seconds = 0;

  std::string text() const;  // one line
  std::string json() const;  // one object
};

class Guard {
 public:
  struct Verdict {
    bool stop = false;         // memory is below the floor
    double pause_seconds = 0;  // before the next token
    std::string notice;        // for people, when something has changed; else empty
  };

  Guard(Sysfs sysfs, GuardOptions options);

  // `now`: monotonic seconds. The pause counts as taken.
  Verdict check(double now);

  // Whether `bytes` more would leave the floor free; true where nothing is known.
  bool has_room_for(uint64_t bytes) const;

  const GuardReport& report() const { return report_; }
  uint32_t level() const { return level_; }  // of backing off, at the last look
  // What is watched, for people: one line a sensor, with its steps.
  std::vector<std::string> watched() const;

 private:
  struct Watched {
    ThermalZone zone;
    std::vector<double> steps;
  };

  void look();
  bool look_at_memory();
  // The level that temperatures and alerts ask for, and by what.
  uint32_t look_at_heat(std::string* why);
  uint32_t level_of(const Watched& watched, double celsius) const;

  Sysfs sysfs_;
  GuardOptions options_;
  std::vector<Watched> zones_;
  std::vector<CoolingDevice> alerts_;
  std::optional<double> last_look_;
  bool below_floor_ = false;
  uint32_t level_ = 0;
  std::string notice_;
  GuardReport report_;
};

// "64M", "1.5G", "0", "500000"; none for anything else. K, M, G: powers of 1024.
std::optional<uint64_t> parse_size(const std::string& text);

// "auto", "off", or temperatures "85,90,95" that ascend; false for anything else.
bool parse_thermal(const std::string& text, GuardOptions* options);

}  // namespace jllm::platform

#include "executor/platform/guard.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace jllm::platform {
namespace {

// Orin's kernels throttle at 99 degrees; what does not say where it does is taken for one of them.
constexpr double kThrottle = 99;
constexpr double kStepsBelow[] = {9, 6, 3};
// A level is left only so far below its step, or else every look would change it.
constexpr double kHysteresis = 2;
constexpr double kFirstPause = 0.05;
constexpr uint32_t kMaxLevel = 6;  // 1.6 s

double pause_of(uint32_t level) {
  return level == 0 ? 0 : kFirstPause * static_cast<double>(1u << (level - 1));
}

uint64_t mebibytes(uint64_t bytes) { return bytes >> 20; }

template <typename... Values>
std::string formatted(const char* format, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

// A name from sysfs as a JSON string.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
    out += plain ? c : '?';
  }
  return out + "\"";
}

}  // namespace

Guard::Guard(Sysfs sysfs, GuardOptions options)
    : sysfs_(std::move(sysfs)), options_(std::move(options)) {
  if (!options_.thermal) return;
  for (ThermalZone& zone : sysfs_.zones()) {
    if (!zone.is_of_chip()) continue;
    std::vector<double> steps = options_.steps;
    if (steps.empty()) {
      const double throttle = zone.throttles_at.value_or(kThrottle);
      for (const double below : kStepsBelow) steps.push_back(throttle - below);
    }
    zones_.push_back({std::move(zone), std::move(steps)});
  }
  for (CoolingDevice& device : sysfs_.cooling_devices()) {
    if (device.tells_of_throttling()) alerts_.push_back(std::move(device));
  }
}

Guard::Verdict Guard::check(double now) {
  notice_.clear();
  if (!last_look_ || now - *last_look_ >= options_.interval_seconds) {
    last_look_ = now;
    look();
  }
  Verdict verdict;
  verdict.stop = below_floor_;
  verdict.notice = std::move(notice_);
  if (verdict.stop) return verdict;
  verdict.pause_seconds = pause_of(level_);
  if (level_ > 0) {
    ++report_.pauses;
    report_.paused_seconds += verdict.pause_seconds;
  }
  return verdict;
}

void Guard::look() {
  ++report_.looks;
  if (look_at_memory()) return;
  if (!options_.thermal) return;
  std::string why;
  const uint32_t level = look_at_heat(&why);
  if (level > level_) {
    notice_ =
        formatted("%s: pausing %.0f ms before each token", why.c_str(), 1e3 * pause_of(level));
  } else if (level == 0 && level_ > 0) {
    notice_ = "cool again: full speed";
  }
  level_ = level;
  report_.highest_level = std::max(report_.highest_level, level);
}

// True below the floor.
bool Guard::look_at_memory() {
  const std::optional<uint64_t> available = sysfs_.mem_available();
  if (!available) return below_floor_ = false;
  report_.lowest_available = std::min(report_.lowest_available.value_or(UINT64_MAX), *available);
  below_floor_ = *available < options_.memory_floor;
  if (below_floor_) {
    notice_ = formatted("%llu MiB of memory are left, less than the floor of %llu MiB: stopping",
                        static_cast<unsigned long long>(mebibytes(*available)),
                        static_cast<unsigned long long>(mebibytes(options_.memory_floor)));
  }
  return below_floor_;
}

// The steps that are reached; of those already taken, the ones that are not left yet.
uint32_t Guard::level_of(const Watched& watched, double celsius) const {
  uint32_t level = 0;
  for (const double step : watched.steps) {
    const bool taken = level < level_;
    if (celsius < (taken ? step - kHysteresis : step)) break;
    ++level;
  }
  return level;
}

uint32_t Guard::look_at_heat(std::string* why) {
  uint32_t level = 0, most_steps = 0;
  for (const Watched& watched : zones_) {
    most_steps = std::max(most_steps, static_cast<uint32_t>(watched.steps.size()));
    const std::optional<double> celsius = sysfs_.temperature(watched.zone);
    if (!celsius) continue;
    if (!report_.hottest || *celsius > *report_.hottest) {
      report_.hottest = celsius;
      report_.hottest_zone = watched.zone.type;
    }
    const uint32_t wanted = level_of(watched, *celsius);
    if (wanted <= level) continue;
    level = wanted;
    *why = formatted("%.64s at %.1f degrees", watched.zone.type.c_str(), *celsius);
  }
  for (const CoolingDevice& alert : alerts_) {
    if (sysfs_.state(alert).value_or(0) == 0) continue;
    const auto& known = report_.alerts;
    if (std::find(known.begin(), known.end(), alert.type) == known.end()) {
      report_.alerts.push_back(alert.type);
    }
    // The system is throttling already: beyond all steps, and further as long as it lasts.
    const uint32_t wanted = std::max(most_steps + 1, std::min(level_ + 1, kMaxLevel));
    if (wanted <= level) continue;
    level = wanted;
    *why = formatted("%.64s is on", alert.type.c_str());
  }
  return std::min(level, kMaxLevel);
}

bool Guard::has_room_for(uint64_t bytes) const {
  if (options_.memory_floor == 0) return true;
  const std::optional<uint64_t> available = sysfs_.mem_available();
  if (!available) return true;
  return bytes <= *available && *available - bytes >= options_.memory_floor;
}

std::vector<std::string> Guard::watched() const {
  std::vector<std::string> lines;
  for (const Watched& watched : zones_) {
    const std::optional<double> celsius = sysfs_.temperature(watched.zone);
    std::string line = formatted("%-16.64s ", watched.zone.type.c_str());
    line += celsius ? formatted("%5.1f", *celsius) : "  off";
    line += " degrees; backs off at";
    for (const double step : watched.steps) line += formatted(" %g", step);
    lines.push_back(std::move(line));
  }
  for (const CoolingDevice& alert : alerts_) {
    const std::optional<uint64_t> state = sysfs_.state(alert);
    lines.push_back(formatted("%-16.64s %s", alert.type.c_str(),
                              !state       ? "  unreadable"
                              : *state > 0 ? "   on"
                                           : "  off"));
  }
  return lines;
}

std::string GuardReport::text() const {
  std::string line;
  if (lowest_available) {
    line += formatted("at least %llu MiB of memory were free",
                      static_cast<unsigned long long>(mebibytes(*lowest_available)));
  }
  if (hottest) {
    line += formatted("%s%.1f degrees at most (%.64s)", line.empty() ? "" : "; ", *hottest,
                      hottest_zone.c_str());
  }
  for (const std::string& alert : alerts) line += formatted("; %.64s", alert.c_str());
  if (pauses > 0) {
    line += formatted("; paused %llu times, %.1f s in all", static_cast<unsigned long long>(pauses),
                      paused_seconds);
  }
  return line.empty() ? "nothing to read of memory and temperatures here" : line;
}

std::string GuardReport::json() const {
  std::string out = formatted("{\"looks\": %llu", static_cast<unsigned long long>(looks));
  out += ", \"lowest_available_bytes\": ";
  out += lowest_available ? formatted("%llu", static_cast<unsigned long long>(*lowest_available))
                          : "null";
  out += ", \"hottest_celsius\": " + (hottest ? formatted("%.1f", *hottest) : "null");
  out += ", \"hottest_zone\": " + (hottest ? quoted(hottest_zone) : "null") + ", \"alerts\": [";
  for (size_t i = 0; i < alerts.size(); ++i) out += (i > 0 ? ", " : "") + quoted(alerts[i]);
  out += formatted("], \"highest_level\": %u, \"pauses\": %llu, \"paused_seconds\": %.3f}",
                   highest_level, static_cast<unsigned long long>(pauses), paused_seconds);
  return out;
}

std::optional<uint64_t> parse_size(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || !(number >= 0) || text[0] == '-') return std::nullopt;
  const std::string unit = end;
  const double factor = unit.empty()                 ? 1.0
                        : unit == "K" || unit == "k" ? 1024.0
                        : unit == "M" || unit == "m" ? 1048576.0
                        : unit == "G" || unit == "g" ? 1073741824.0
                                                     : 0.0;
  const double bytes = number * factor;
  if (factor == 0 || !(bytes < 0x1p62)) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

bool parse_thermal(const std::string& text, GuardOptions* options) {
  options->thermal = text != "off";
  options->steps.clear();
  if (text == "off" || text == "auto") return true;
  const char* at = text.c_str();
  for (;;) {
    char* end = nullptr;
    const double celsius = std::strtod(at, &end);
    const bool ascends = options->steps.empty() || celsius > options->steps.back();
    if (end == at || !(celsius > 0 && celsius < 150) || !ascends) return false;
    if (options->steps.size() == kMaxLevel - 1) return false;  // an alert comes behind the last
    options->steps.push_back(celsius);
    if (*end == 0) return true;
    if (*end != ',') return false;
    at = end + 1;
  }
}

}  // namespace jllm::platform

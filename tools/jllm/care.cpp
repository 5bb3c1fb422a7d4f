#include "tools/jllm/care.h"

#include <cmath>
#include <cstdio>
#include <ctime>

namespace jllm::tool {
namespace {

// A signal ends the pause: Ctrl-C is not kept waiting.
void sleep_for(double seconds) {
  if (!(seconds > 0)) return;
  const double whole = std::floor(seconds);
  timespec time = {};
  time.tv_sec = static_cast<time_t>(whole);
  time.tv_nsec = static_cast<long>((seconds - whole) * 1e9);
  nanosleep(&time, nullptr);
}

}  // namespace

void add_options(Arguments* a, CareOptions* o) {
  a->text("", "--memory-floor", &o->memory_floor,
          "end the text when less than this is left of the system's memory (MemAvailable), as 64M "
          "or 1.5G; 0 is off (default 64M)");
  a->text(
      "", "--thermal", &o->thermal,
      "pause between tokens when the chip is hot: auto (9, 6 and 3 degrees below the point where "
      "the kernel throttles, and while it does), off, or your steps in Celsius, as 80,85,90 "
      "(default auto)");
}

platform::Guard make_guard(const CareOptions& o) {
  platform::GuardOptions options;
  const std::optional<uint64_t> floor = platform::parse_size(o.memory_floor);
  if (!floor) {
    throw Failure(kUsage,
                  "--memory-floor " + o.memory_floor + ": expected a size such as 64M, 1.5G or 0");
  }
  if (!platform::parse_thermal(o.thermal, &options)) {
    throw Failure(kUsage, "--thermal " + o.thermal +
                              ": expected auto, off, or up to 5 ascending temperatures in Celsius, "
                              "as 80,85,90");
  }
  options.memory_floor = *floor;
  return {platform::Sysfs(platform::sysfs_root()), std::move(options)};
}

void require_room(const platform::Guard& guard, const CareOptions& o, const OpenPlan& plan) {
  const PlanView& view = plan.view();
  const platform::Sysfs sysfs(platform::sysfs_root());
  if (!view.is_host() && !sysfs.is_jetson()) return;
  const fb::Requirements& needs = *view.plan().requirements();
  uint64_t bytes = needs.host_bytes_estimate();
  for (const fb::Arena* arena : *view.plan().arenas()) bytes += arena->size();
  if (!view.is_host()) {
    bytes += needs.code_memory_estimate() + needs.graph_bytes_estimate() +
             needs.context_bytes_estimate();
  }
  if (guard.has_room_for(bytes)) return;
  char text[200];
  std::snprintf(
      text, sizeof text,
      ": needs %.0f MiB of memory, %.0f are available, and --memory-floor %.20s is to stay "
      "free; end other programs, compile with less --context, or say --memory-floor 0",
      static_cast<double>(bytes) / 0x1p20,
      static_cast<double>(sysfs.mem_available().value_or(0)) / 0x1p20, o.memory_floor.c_str());
  throw Failure(kDoesNotFit, plan.path() + text);
}

bool may_go_on(platform::Guard* guard) {
  const platform::Guard::Verdict verdict = guard->check(now_seconds());
  if (!verdict.notice.empty()) {
    std::fflush(stdout);
    std::fprintf(stderr, "\n[device care: %s]\n", verdict.notice.c_str());
  }
  sleep_for(verdict.pause_seconds);
  return !verdict.stop;
}

}  // namespace jllm::tool

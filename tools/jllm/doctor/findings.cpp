#include "tools/jllm/doctor/findings.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <optional>
#include <tuple>

namespace jllm::tool {
namespace {

using Result = std::optional<Finding>;

constexpr uint32_t kLeastCapability = 80;  // that there are kernels for
constexpr uint64_t kGibibyte = uint64_t{1} << 30;
constexpr const char* kDropCaches = "sync; echo 3 | sudo tee /proc/sys/vm/drop_caches";

template <typename... Values>
std::string formatted(const char* format, Values... values) {
  char text[400];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string mebibytes(uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

Finding ok(std::string text) { return {"", Severity::kOk, std::move(text), ""}; }
Finding note(std::string text, std::string advice) {
  return {"", Severity::kNote, std::move(text), std::move(advice)};
}
Finding warning(std::string text, std::string advice) {
  return {"", Severity::kWarning, std::move(text), std::move(advice)};
}
Finding problem(std::string text, std::string advice) {
  return {"", Severity::kProblem, std::move(text), std::move(advice)};
}

Result check_release(const Machine& m) {
  if (!m.is_jetson) return std::nullopt;
  if (!m.l4t.is_known()) {
    return note("The release is not known: /etc/nv_tegra_release cannot be read",
                "In a container, mount it (docs/doctor.md)");
  }
  if (const BadRelease* bad = find_bad(m.l4t)) {
    return problem(
        "L4T " + m.l4t.text() + " refuses GPU memory although it is free (NvMap error 12)",
        std::string("Upgrade to ") + bad->instead + "; until then, before loading: " + kDropCaches);
  }
  return ok("L4T " + m.l4t.text() + ": nothing known against it");
}

Result check_driver(const Machine& m) {
  if (m.gpu) {
    return ok(formatted("the driver takes code of CUDA %u.%u and earlier",
                        m.gpu->driver_version / 1000, m.gpu->driver_version % 1000 / 10));
  }
  const std::string text = "No CUDA device: " + m.no_gpu;
  if (!m.is_jetson) {
    return note(text, m.container.empty()
                          ? "Plans for host run here; for others install NVIDIA's driver"
                          : "Plans for host run here; others need --gpus all or --runtime nvidia");
  }
  if (!m.container.empty()) return problem(text, "Start the container with --runtime nvidia");
  return problem(text,
                 "sudo usermod -aG video,render $USER, and log in again; if that is not it, "
                 "reinstall the package nvidia-l4t-cuda");
}

Result check_kernels(const Machine& m) {
  const uint32_t capability = m.compute_capability();
  if (capability == 0) return std::nullopt;
  if (capability < kLeastCapability) {
    return problem(formatted("jllm has no kernels for sm_%u", capability),
                   "Plans for host run here; those for CUDA need an Orin or later (8.0)");
  }
  return ok(formatted("jllm has kernels for sm_%u", capability));
}

// Firmware of before JetPack 6 keeps over a gigabyte from later systems.
Result check_firmware(const Machine& m) {
  if (m.module == nullptr || m.module->visible_mib == 0 || m.memory.total == 0) return std::nullopt;
  const uint64_t seen = m.memory.total >> 20;
  if (seen * 10 >= uint64_t{m.module->visible_mib} * 9) {
    return ok("the system sees " + std::to_string(seen) + " MiB of memory, as it should");
  }
  return warning(formatted("The system sees %llu MiB of memory; this module has %u",
                           static_cast<unsigned long long>(seen), m.module->visible_mib),
                 "Update its firmware (QSPI): it is older than the system");
}

Result check_super(const Machine& m) {
  if (m.part.rfind("p3767", 0) != 0 || !m.l4t.is_known()) return std::nullopt;
  if (m.is_super) return ok("the firmware has the Super modes");
  const bool has_modes =
      m.l4t.major == 35 ? !m.l4t.is_before({35, 6, 1}) : !m.l4t.is_before({36, 4, 3});
  if (!has_modes) return std::nullopt;
  return note("This module could have Super modes (Orin Nano: 1.5 times the bandwidth)",
              "Flash it with the -super configuration: packages alone do not do it");
}

// More is better: SMs, then memory clock, then GPU clock; no cap is most.
auto strength(const Machine& m, const PowerMode& mode) {
  constexpr double kNoCap = std::numeric_limits<double>::max();
  const double full = m.full_memory_mhz();
  const double memory = mode.memory_mhz.value_or(kNoCap);
  const bool all = full > 0 && memory >= full - 1;
  return std::tuple(-int(mode.gated_tpcs), all ? kNoCap : memory, mode.gpu_mhz.value_or(kNoCap));
}

std::string caps(const Machine& m, const PowerMode& mode, const PowerMode& best) {
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  const auto [tpcs, memory, gpu] = strength(m, mode);
  const auto [best_tpcs, best_memory, best_gpu] = strength(m, best);
  if (tpcs < best_tpcs && m.compute_capability() == 87) {
    add(formatted("%u SMs of %u", m.sm_count_of(mode), m.sm_count_of(best)));
  } else if (tpcs < best_tpcs) {
    add("part of the GPU off");
  }
  if (memory < best_memory) add(formatted("memory at %.0f MHz", memory));
  if (gpu < best_gpu) add(formatted("GPU at %.0f MHz", gpu));
  return text;
}

Result check_power_mode(const Machine& m) {
  if (!m.is_jetson) return std::nullopt;
  const PowerMode* mode = m.power_mode();
  if (mode == nullptr) {
    return note("The power mode is not known: nvpmodel's files cannot be read",
                "sudo nvpmodel -q shows it; in a container, mount them (docs/doctor.md)");
  }
  const PowerMode& best = *std::max_element(
      m.modes.begin(), m.modes.end(),
      [&](const PowerMode& a, const PowerMode& b) { return strength(m, a) < strength(m, b); });
  const std::string less = caps(m, *mode, best);
  if (less.empty()) return ok("power mode " + mode->name + ": no other has more");
  const std::string text = "Power mode " + mode->name + ": " + less;
  const std::string advice =
      formatted("sudo nvpmodel -m %u sets %.60s; supply and cooling must bear it", best.id,
                best.name.c_str());
  // Text generation is bound by memory, then by SMs; clocks of the GPU matter to prompts.
  const auto [tpcs, memory, gpu] = strength(m, *mode);
  const auto [best_tpcs, best_memory, best_gpu] = strength(m, best);
  return tpcs < best_tpcs || memory < best_memory ? warning(text, advice) : note(text, advice);
}

Result check_sms(const Machine& m) {
  if (!m.gpu || m.module == nullptr) return std::nullopt;
  if (m.gpu->sm_count >= m.module->sm_count) {
    return ok(formatted("all %u SMs are on", m.gpu->sm_count));
  }
  return note(
      formatted("%u of %u SMs are on in this power mode", m.gpu->sm_count, m.module->sm_count),
      "To stay in it: jllm doctor --target-json FILE, and compile for FILE");
}

Result check_clocks(const Machine& m) {
  if (!m.is_jetson || !m.clocks.is_known()) return std::nullopt;
  if (m.clocks.are_pinned()) return ok("clocks are pinned");
  return note(formatted("Clocks follow the load: GPU %.0f to %.0f MHz", m.clocks.gpu_min_mhz,
                        m.clocks.gpu_max_mhz),
              "sudo jetson_clocks pins them until the next start: steadier times");
}

Result check_memory(const Machine& m) {
  if (m.memory.total == 0) return std::nullopt;
  const std::string text =
      mebibytes(m.memory.available) + " of " + std::to_string(m.memory.total >> 20);
  if (m.memory.available >= m.memory.total / 4) return ok(text + " are available");
  return warning("Only " + text + " of memory are available",
                 "End other programs; jllmc fit tells what a model takes");
}

Result check_desktop(const Machine& m) {
  if (!m.is_jetson) return std::nullopt;
  if (m.desktop.empty()) return ok("no desktop runs");
  const std::string text = "A desktop runs (" + m.desktop + "): about 800 MiB of memory";
  const std::string advice = "sudo systemctl set-default multi-user.target, and restart";
  // What that is of the memory decides.
  return m.memory.total < 20 * kGibibyte ? warning(text, advice) : note(text, advice);
}

Result check_zram(const Machine& m) {
  if (!m.is_jetson) return std::nullopt;
  if (!m.memory.zram) return ok("no zram");
  return note("Swap is in compressed memory (zram)",
              "No help to GPU memory: sudo systemctl disable nvzramconfig, restart");
}

Result check_swap(const Machine& m) {
  if (m.memory.swap_total == 0) return std::nullopt;
  constexpr uint64_t kMuch = kGibibyte / 2;
  const std::string used = mebibytes(m.memory.swap_used);
  if (m.memory.swap_used < kMuch) return ok(used + " are swapped out");
  return warning(used + " are swapped out: memory was short",
                 "End what is not needed: programs in swap make times uneven");
}

Result check_page_cache(const Machine& m) {
  if (!m.is_jetson || m.memory.total == 0) return std::nullopt;
  const std::string text = mebibytes(m.memory.cached) + " are page cache";
  if (m.memory.cached <= m.memory.total / 3) return ok(text);
  return note(text + ", which the GPU's allocator takes back slowly",
              std::string("If loading fails: ") + kDropCaches);
}

Result check_held_memory(const Machine& m) {
  if (m.compute_capability() != 110 || !m.is_jetson || !m.l4t.is_known()) return std::nullopt;
  if (!m.l4t.is_before({39, 2, 0})) return ok("freed GPU memory returns to the system");
  return note("Before JetPack 7.2 the driver may keep GPU memory that was freed",
              std::string(kDropCaches) + " returns it");
}

Result check_gpu_memory(const Machine& m) {
  if (!m.memory.nvmap) return std::nullopt;
  constexpr uint64_t kMuch = kGibibyte / 4;
  const std::string held = mebibytes(*m.memory.nvmap);
  if (*m.memory.nvmap < kMuch) return ok("others hold " + held + " of GPU memory");
  return note("Other programs hold " + held + " of GPU memory",
              "sudo cat /sys/kernel/debug/nvmap/iovmm/clients shows which");
}

Result check_throttling(const Machine& m) {
  if (m.heat.zones.empty() || !m.is_jetson) return std::nullopt;
  if (m.heat.alerts.empty()) return ok("nothing throttles");
  std::string names;
  for (const std::string& alert : m.heat.alerts) names += (names.empty() ? "" : ", ") + alert;
  return warning("The system slows the chip down now (" + names + ")",
                 "Cooling, a lower power mode, or a stronger supply");
}

Result check_heat(const Machine& m) {
  const Heat::Zone* zone = m.heat.hottest();
  if (zone == nullptr || !zone->zone.throttles_at) return std::nullopt;
  const std::string text =
      formatted("%.40s at %.1f degrees C, throttles at %g", zone->zone.type.c_str(), *zone->celsius,
                *zone->zone.throttles_at);
  if (*zone->celsius < *zone->zone.throttles_at - kPausesBelow) return ok(text);
  return warning("Hot: " + text,
                 "Fan, heat sink, or a lower power mode; jllm pauses between tokens");
}

Result check_over_current(const Machine& m) {
  if (!m.heat.over_current_events) return std::nullopt;
  const auto events = static_cast<unsigned long long>(*m.heat.over_current_events);
  if (events == 0) return ok("no over-current since the start");
  return warning(formatted("The supply was overloaded %llu times since the start", events),
                 "A stronger supply, or a lower power mode: each time, clocks drop");
}

Result check_storage(const Machine& m) {
  const std::string& kind = m.disk.kind;
  if (kind.empty()) return std::nullopt;
  if (kind == "SD card" || kind == "USB disk" || kind == "hard disk") {
    return note(m.disk.path + " is on a slow disk (" + kind + ")",
                "A model loads as fast as the disk reads: keep plans on NVMe");
  }
  if (kind == "overlay" || kind == "tmpfs" || kind == "nfs" || kind == "nfs4" || kind == "cifs") {
    return note(m.disk.path + " is on " + kind + ", which may keep what is read in memory",
                "Keep plans on a disk of the machine's own, mounted into a container");
  }
  return ok(m.disk.path + " is on " + kind);
}

Result check_disk_space(const Machine& m) {
  if (!m.disk.free) return std::nullopt;
  const std::string text = mebibytes(*m.disk.free) + " are free at " + m.disk.path;
  if (*m.disk.free >= 2 * kGibibyte) return ok(text);
  const std::string advice = "Plans are as large as models; an update needs room for a second one";
  return *m.disk.free < kGibibyte / 4 ? problem("Only " + text, advice)
                                      : warning("Only " + text, advice);
}

Result check_container(const Machine& m) {
  if (m.container.empty()) return ok("no container");
  return note("In a container (" + m.container + "): power, clocks and modes may be out of sight",
              "docs/doctor.md tells what to mount (JLLM_SYSFS_ROOT)");
}

struct Check {
  const char* id;
  Result (*run)(const Machine& machine);
};

constexpr Check kChecks[] = {
    {"release", check_release},
    {"driver", check_driver},
    {"kernels", check_kernels},
    {"firmware", check_firmware},
    {"power_mode", check_power_mode},
    {"sms", check_sms},
    {"memory", check_memory},
    {"desktop", check_desktop},
    {"swap", check_swap},
    {"throttling", check_throttling},
    {"heat", check_heat},
    {"over_current", check_over_current},
    {"disk_space", check_disk_space},
    {"storage", check_storage},
    {"page_cache", check_page_cache},
    {"gpu_memory", check_gpu_memory},
    {"held_memory", check_held_memory},
    {"zram", check_zram},
    {"clocks", check_clocks},
    {"super_modes", check_super},
    {"container", check_container},
};

}  // namespace

const char* name_of(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "ok";
    case Severity::kNote:
      return "note";
    case Severity::kWarning:
      return "warning";
    case Severity::kProblem:
      return "problem";
  }
  return "";
}

std::vector<Finding> examine(const Machine& machine) {
  std::vector<Finding> findings;
  for (const Check& check : kChecks) {
    Result result = check.run(machine);
    if (!result) continue;
    result->id = check.id;
    findings.push_back(std::move(*result));
  }
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
  return findings;
}

std::vector<std::string> check_ids() {
  std::vector<std::string> ids;
  for (const Check& check : kChecks) ids.emplace_back(check.id);
  return ids;
}

}  // namespace jllm::tool

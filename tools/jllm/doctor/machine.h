// What a machine says of itself, for jllm doctor: Jetsons of JetPack 4 to 7 in full, others as far
// as the same files tell. What cannot be read is empty or 0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "executor/platform/power.h"
#include "executor/platform/sysfs.h"
#include "tools/jllm/device_facts.h"
#include "tools/jllm/doctor/modules.h"

namespace jllm::tool {

// So many degrees below the point of throttling jllm begins to pause (docs/device-care.md).
constexpr double kPausesBelow = 9;

// As /etc/nvpmodel.conf has it.
struct PowerMode {
  uint32_t id = 0;
  std::string name;
  uint32_t gated_tpcs = 0;                    // each has two SMs
  std::optional<double> gpu_mhz, memory_mhz;  // caps; none: as fast as the hardware goes
};

struct Clocks {
  double gpu_mhz = 0, gpu_min_mhz = 0, gpu_max_mhz = 0;
  double memory_cap_mhz = 0;                // 0: none, or not known
  double cpu_min_mhz = 0, cpu_max_mhz = 0;  // of the first CPU
  uint32_t cpus_online = 0, cpus = 0;

  bool is_known() const { return gpu_max_mhz > 0; }
  bool are_pinned() const {  // as jetson_clocks leaves them
    return gpu_min_mhz == gpu_max_mhz && cpu_min_mhz == cpu_max_mhz;
  }
};

struct MemoryFacts {  // bytes
  uint64_t total = 0, available = 0, cached = 0;
  std::optional<uint64_t> nvmap;  // GPU memory in use
  uint64_t swap_total = 0, swap_used = 0;
  bool zram = false;
};

struct Heat {
  struct Zone {
    platform::ThermalZone zone;
    std::optional<double> celsius;
  };
  std::vector<Zone> zones;
  std::vector<std::string> alerts;  // that are on
  std::optional<uint64_t> over_current_events;

  const Zone* hottest() const;  // of the chip's; null: none
};

struct Power {
  std::vector<platform::PowerRail> rails;
  std::vector<std::optional<double>> watts;  // of the rails
  std::optional<double> total;
  std::string source;  // of the total
};

struct Disk {
  std::string path, mount, device, filesystem;
  std::string kind;  // "NVMe", "SD card", "eMMC", "USB disk", "hard disk", "SSD", "overlay", ...
  std::optional<uint64_t> size, free;  // bytes
};

struct Machine {
  bool is_jetson = false;
  std::string model;      // as the board or the vendor calls it
  std::string part;       // "p3767-0005"
  bool is_super = false;  // flashed with the firmware of Super modes
  const Module* module = nullptr;
  L4t l4t;
  std::string os, kernel, cpu;
  std::vector<PowerMode> modes;
  std::optional<uint32_t> mode;  // its id
  Clocks clocks;
  MemoryFacts memory;
  std::string desktop;  // the program that shows it; empty: none runs
  Heat heat;
  Power power;
  Disk disk;
  std::string container;  // "docker"; empty: none
  // From the driver.
  std::optional<DeviceFacts> gpu;
  std::string no_gpu;  // why there is none

  const PowerMode* power_mode() const;  // null: not known
  uint32_t compute_capability() const;  // of the driver or the module; 0: not known
  uint32_t sm_count_of(const PowerMode& mode) const;
  double full_memory_mhz() const;  // that the module reaches with its firmware; 0: not known
};

// All but the driver's part and the disk's sizes, from files below `root`; the disk is the one that
// holds `path`, an absolute one.
Machine read_machine(const std::string& root, const std::string& path);

std::string cpu_name(const std::string& root);
std::string container_name(const std::string& root);
std::vector<PowerMode> parse_power_modes(const std::string& text);  // nvpmodel.conf

}  // namespace jllm::tool

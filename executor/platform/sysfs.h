// What Linux says of memory, temperatures and clocks in /proc and /sys, on Jetsons of JetPack 4 to
// 7 and elsewhere. Names and places differ between releases, and a file may be absent, unreadable
// or full of nonsense at any time: then there is no value, never an error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace jllm::platform {

struct ThermalZone {
  std::string type;    // as the kernel names it: "tj-thermal", "CPU-therm", "x86_pkg_temp"
  std::string folder;  // thermal_zoneN
  // Where the kernel begins to slow the chip down, degrees Celsius.
  std::optional<double> throttles_at;
  std::optional<double> shuts_down_at;

  // A sensor of the chip that computes, by the names that Jetsons give it.
  bool is_of_chip() const;
};

struct CoolingDevice {
  std::string type;  // "gpu-throttle-alert", "devfreq-17000000.gpu", "pwm-fan"
  std::string folder;

  // Its state says that the chip is being slowed down.
  bool tells_of_throttling() const;
};

struct GpuClock {
  double mhz = 0;      // now
  double cap_mhz = 0;  // what the power mode allows; 0: unknown
  double min_mhz = 0;  // as high as the cap where clocks are pinned
};

// A supply of the module or of a part of it, measured by an INA3221 (Jetsons up to Orin, and Thor)
// or an INA238 (Thor).
struct PowerRail {
  std::string name;                   // "VDD_IN", "VDD_CPU_GPU_CV"
  std::string milliwatts_file;        // JetPack 4
  std::string microwatts_file;        // INA238
  std::string volts_file, amps_file;  // in thousandths; where there is neither of the above

  // Of all that the module takes; the others are then parts of it.
  bool is_total() const;
};

class Sysfs {
 public:
  // `root` is put in front of /proc and /sys: a folder of tests, or where a container has the
  // system's own.
  explicit Sysfs(std::string root = "") : root_(std::move(root)) {}

  std::optional<uint64_t> mem_available() const;  // bytes, reclaimable page cache included
  bool is_jetson() const;                         // CPU and GPU share the memory

  // What there is; none of it changes while a machine runs.
  std::vector<ThermalZone> zones() const;
  std::vector<CoolingDevice> cooling_devices() const;
  std::vector<PowerRail> power_rails() const;

  // Degrees Celsius now; none for sensors that are switched off.
  std::optional<double> temperature(const ThermalZone& zone) const;
  std::optional<uint64_t> state(const CoolingDevice& device) const;
  std::optional<double> watts(const PowerRail& rail) const;  // now
  std::optional<GpuClock> gpu_clock() const;
  std::optional<double> cpu_mhz() const;  // of the first CPU

 private:
  std::string root_;
};

// $JLLM_SYSFS_ROOT, for containers that see the system's /proc and /sys elsewhere.
std::string sysfs_root();

}  // namespace jllm::platform

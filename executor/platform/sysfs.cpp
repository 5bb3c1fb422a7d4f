#include "executor/platform/sysfs.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <utility>

#include "executor/platform/files.h"

namespace jllm::platform {
namespace {

constexpr const char* kThermal = "/sys/class/thermal";

// What no working sensor of a chip says: switched-off ones answer -256 degrees or fail.
constexpr double kColdest = -60, kHottest = 250;
// Trip points outside of this are placeholders.
constexpr double kLowestTrip = 40, kHighestTrip = 150;

std::string small_letters(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool contains_any(const std::string& text, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return text.find(word) != std::string::npos; });
}

std::optional<double> celsius_in(const std::string& path) {
  const std::optional<int64_t> value = number_in(path);
  if (!value) return std::nullopt;
  const double celsius = static_cast<double>(*value) / 1000;
  if (!(celsius > kColdest && celsius < kHottest)) return std::nullopt;
  return celsius;
}

// The lowest trip point of this type.
std::optional<double> trip(const std::string& zone, const char* type) {
  std::optional<double> lowest;
  for (int i = 0; i < 16; ++i) {
    const std::string point = zone + "/trip_point_" + std::to_string(i);
    if (first_line(point + "_type") != type) continue;
    const std::optional<double> celsius = celsius_in(point + "_temp");
    if (!celsius || *celsius < kLowestTrip || *celsius > kHighestTrip) continue;
    if (!lowest || *celsius < *lowest) lowest = celsius;
  }
  return lowest;
}

}  // namespace

// cpu-thermal, gpu-thermal, soc0-thermal, cv1-thermal, tj-thermal since JetPack 6; CPU-therm,
// GPU-therm, thermal-fan-est and PMIC-Die, which are no sensors of ours, before.
bool ThermalZone::is_of_chip() const {
  const std::string name = small_letters(type);
  if (name.find("-therm") == std::string::npos) return false;
  for (const char* part : {"cpu", "gpu", "soc", "cv", "tj"}) {
    if (name.rfind(part, 0) == 0) return true;
  }
  return false;
}

bool CoolingDevice::tells_of_throttling() const {
  const std::string name = small_letters(type);
  return contains_any(name, {"throttle-alert", "hot-surface-alert"}) ||
         (name.rfind("devfreq-", 0) == 0 && contains_any(name, {"gpu", "ga10b", "gv11b"}));
}

std::optional<uint64_t> Sysfs::mem_available() const {
  std::ifstream file(root_ + "/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    unsigned long long kib = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %llu kB", &kib) == 1) {
      if (kib > UINT64_MAX / 1024) return std::nullopt;
      return uint64_t{kib} * 1024;
    }
  }
  return std::nullopt;
}

bool Sysfs::is_jetson() const {
  // NUL-separated: "nvidia,p3767-0005-super", "nvidia,tegra234".
  std::ifstream file(root_ + "/proc/device-tree/compatible", std::ios::binary);
  const std::string names{std::istreambuf_iterator<char>(file), {}};
  return names.find("tegra") != std::string::npos;
}

std::vector<ThermalZone> Sysfs::zones() const {
  std::vector<ThermalZone> zones;
  for (const std::string& name : names_in(root_ + kThermal, "thermal_zone")) {
    ThermalZone zone;
    zone.folder = root_ + kThermal + "/" + name;
    zone.type = first_line(zone.folder + "/type");
    if (zone.type.empty()) continue;
    zone.throttles_at = trip(zone.folder, "passive");
    zone.shuts_down_at = trip(zone.folder, "critical");
    zones.push_back(std::move(zone));
  }
  return zones;
}

std::vector<CoolingDevice> Sysfs::cooling_devices() const {
  std::vector<CoolingDevice> devices;
  for (const std::string& name : names_in(root_ + kThermal, "cooling_device")) {
    CoolingDevice device;
    device.folder = root_ + kThermal + "/" + name;
    device.type = first_line(device.folder + "/type");
    if (!device.type.empty()) devices.push_back(std::move(device));
  }
  return devices;
}

std::optional<double> Sysfs::temperature(const ThermalZone& zone) const {
  return celsius_in(zone.folder + "/temp");
}

std::optional<uint64_t> Sysfs::state(const CoolingDevice& device) const {
  const std::optional<int64_t> state = number_in(device.folder + "/cur_state");
  if (!state || *state < 0) return std::nullopt;
  return static_cast<uint64_t>(*state);
}

std::optional<GpuClock> Sysfs::gpu_clock() const {
  std::vector<std::string> folders;
  const std::string all = root_ + "/sys/class/devfreq";
  for (const std::string& name : names_in(all, "")) {
    if (contains_any(name, {"gpu", "ga10b", "gv11b", "gp10b", "gm20b", "gb10b"})) {
      folders.push_back(all + "/" + name);
    }
  }
  // Where JetPack 5 and 6 have the same on Orin.
  folders.push_back(root_ + "/sys/devices/17000000.ga10b/devfreq/17000000.ga10b");
  folders.push_back(root_ + "/sys/devices/platform/17000000.gpu/devfreq_dev");
  for (const std::string& folder : folders) {
    const std::optional<int64_t> hertz = number_in(folder + "/cur_freq");
    if (!hertz || *hertz < 0) continue;
    const int64_t cap = number_in(folder + "/max_freq").value_or(0);
    const int64_t min = number_in(folder + "/min_freq").value_or(0);
    return GpuClock{static_cast<double>(*hertz) / 1e6, static_cast<double>(cap) / 1e6,
                    static_cast<double>(min) / 1e6};
  }
  return std::nullopt;
}

std::optional<double> Sysfs::cpu_mhz() const {
  const std::optional<int64_t> kilohertz =
      number_in(root_ + "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq");
  if (!kilohertz) return std::nullopt;
  return static_cast<double>(*kilohertz) / 1e3;
}

std::string sysfs_root() {
  const char* root = std::getenv("JLLM_SYSFS_ROOT");
  return root != nullptr ? root : "";
}

}  // namespace jllm::platform

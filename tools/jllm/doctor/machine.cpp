#include "tools/jllm/doctor/machine.h"

#include <algorithm>
#include <bitset>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include "executor/platform/files.h"

namespace jllm::tool {
namespace {

using platform::first_line;
using platform::names_in;
using platform::number_in;
using platform::whole_file;

double megahertz(const std::string& path, double unit) {
  const std::optional<int64_t> value = number_in(path);
  return value && *value > 0 ? static_cast<double>(*value) * unit : 0;
}

// The part number of the module among the NUL-separated names of its device tree, as in
// "nvidia,p3768-0000+p3767-0005-super"; the carrier board's come before the plus.
std::string part_in(const std::string& compatible) {
  for (size_t at = 0; (at = compatible.find_first_of("+,", at)) != std::string::npos;) {
    ++at;
    size_t length = 0;
    const bool is_part =
        std::sscanf(compatible.c_str() + at, "p%*4u-%*4u%zn", &length) == 0 && length == 10;
    const std::string part = compatible.substr(at, length);
    if (is_part && find_module(part, UINT64_MAX) != nullptr) return part;
  }
  return "";
}

std::string value_in(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(key, 0) != 0) continue;
    std::string value = line.substr(key.size());
    value.erase(std::remove(value.begin(), value.end(), '"'), value.end());
    return value.substr(std::min(value.find_first_not_of(" \t:"), value.size()));
  }
  return "";
}

void read_identity(const std::string& root, const platform::Sysfs& sysfs, Machine* m) {
  m->is_jetson = sysfs.is_jetson();
  m->os = value_in(whole_file(root + "/etc/os-release"), "PRETTY_NAME=");
  m->kernel = first_line(root + "/proc/sys/kernel/osrelease");
  m->cpu = cpu_name(root);
  m->model = whole_file(root + "/proc/device-tree/model").c_str();  // up to the NUL
  if (!m->is_jetson) {
    if (!m->model.empty()) return;
    const std::string dmi = root + "/sys/class/dmi/id/";
    m->model = first_line(dmi + "sys_vendor") + " " + first_line(dmi + "product_name");
    if (m->model == " ") m->model.clear();
    return;
  }
  const std::string compatible = whole_file(root + "/proc/device-tree/compatible");
  m->part = part_in(compatible);
  m->is_super = compatible.find("-super") != std::string::npos;
  m->module = find_module(m->part, m->memory.total >> 20);
  m->l4t = parse_l4t(first_line(root + "/etc/nv_tegra_release"));
}

void read_memory(const std::string& root, MemoryFacts* memory) {
  uint64_t swap_free = 0;
  std::istringstream lines(whole_file(root + "/proc/meminfo"));
  for (std::string line; std::getline(lines, line);) {
    char name[64];
    unsigned long long kib = 0;
    if (std::sscanf(line.c_str(), "%63[^:]: %llu kB", name, &kib) != 2 || kib > 1ull << 50)
      continue;
    const uint64_t bytes = uint64_t{kib} * 1024;
    const std::string key = name;
    if (key == "MemTotal") memory->total = bytes;
    if (key == "MemAvailable") memory->available = bytes;
    if (key == "Cached" || key == "Buffers") memory->cached += bytes;
    if (key == "NvMapMemUsed") memory->nvmap = bytes;
    if (key == "SwapTotal") memory->swap_total = bytes;
    if (key == "SwapFree") swap_free = bytes;
  }
  memory->swap_used = memory->swap_total - std::min(swap_free, memory->swap_total);
  memory->zram = whole_file(root + "/proc/swaps").find("/dev/zram") != std::string::npos;
}

void read_mode(const std::string& root, Machine* m) {
  m->modes = parse_power_modes(whole_file(root + "/etc/nvpmodel.conf"));
  unsigned id = 0;
  const std::string status = first_line(root + "/var/lib/nvpmodel/status");
  if (std::sscanf(status.c_str(), "pmode:%u", &id) == 1) m->mode = id;
}

// "0-3,5": how many.
uint32_t count_in(const std::string& list) {
  uint32_t count = 0;
  std::istringstream ranges(list);
  for (std::string range; std::getline(ranges, range, ',');) {
    unsigned first = 0, last = 0;
    const int n = std::sscanf(range.c_str(), "%u-%u", &first, &last);
    if (n == 1) ++count;
    if (n == 2 && last >= first && last < 4096) count += last - first + 1;
  }
  return count;
}

void read_clocks(const std::string& root, const platform::Sysfs& sysfs, Clocks* clocks) {
  if (const std::optional<platform::GpuClock> gpu = sysfs.gpu_clock()) {
    clocks->gpu_mhz = gpu->mhz;
    clocks->gpu_min_mhz = gpu->min_mhz;
    clocks->gpu_max_mhz = gpu->cap_mhz;
  }
  for (const char* cap : {"/sys/kernel/nvpmodel_clk_cap/emc",             // JetPack 6 on
                          "/sys/kernel/nvpmodel_emc_cap/emc_iso_cap"}) {  // JetPack 5
    if (clocks->memory_cap_mhz == 0) clocks->memory_cap_mhz = megahertz(root + cap, 1e-6);
  }
  const std::string cpu = root + "/sys/devices/system/cpu/";
  clocks->cpu_min_mhz = megahertz(cpu + "cpu0/cpufreq/scaling_min_freq", 1e-3);
  clocks->cpu_max_mhz = megahertz(cpu + "cpu0/cpufreq/scaling_max_freq", 1e-3);
  clocks->cpus_online = count_in(first_line(cpu + "online"));
  clocks->cpus = count_in(first_line(cpu + "present"));
}

// Of all processes, the first that shows a desktop.
std::string desktop_in(const std::string& root) {
  for (const std::string& name : names_in(root + "/proc", "")) {
    if (!std::isdigit(static_cast<unsigned char>(name[0]))) continue;
    const std::string program = first_line(root + "/proc/" + name + "/comm");
    for (const char* known : {"Xorg", "Xwayland", "gnome-shell", "kwin_wayland", "weston"}) {
      if (program == known) return program;
    }
  }
  return "";
}

void read_heat(const std::string& root, const platform::Sysfs& sysfs, Heat* heat) {
  for (platform::ThermalZone& zone : sysfs.zones()) {
    const std::optional<double> celsius = sysfs.temperature(zone);
    heat->zones.push_back({std::move(zone), celsius});
  }
  for (const platform::CoolingDevice& device : sysfs.cooling_devices()) {
    if (device.tells_of_throttling() && sysfs.state(device).value_or(0) > 0) {
      heat->alerts.push_back(device.type);
    }
  }
  const std::string hwmon = root + "/sys/class/hwmon/";
  for (const std::string& name : names_in(hwmon, "hwmon")) {
    if (first_line(hwmon + name + "/name") != "soctherm_oc") continue;
    for (const char* file : {"/oc1_event_cnt", "/oc2_event_cnt", "/oc3_event_cnt"}) {
      const std::optional<int64_t> events = number_in(hwmon + name + file);
      if (!events || *events < 0) continue;
      heat->over_current_events =
          heat->over_current_events.value_or(0) + static_cast<uint64_t>(*events);
    }
  }
}

void read_power(const platform::Sysfs& sysfs, Power* power) {
  platform::PowerMeter meter(sysfs);
  meter.sample(0);
  power->rails = meter.rails();
  power->watts = meter.watts();
  power->total = meter.total();
  power->source = meter.source();
}

// What a block device is, by its name and the files of its whole disk.
std::string kind_of(const std::string& root, const std::string& device) {
  const std::string block = root + "/sys/class/block/";
  if (device.rfind("nvme", 0) == 0) return "NVMe";
  if (device.rfind("mmcblk", 0) == 0) {
    const std::string disk = device.substr(0, device.find('p'));
    return first_line(block + disk + "/device/type") == "SD" ? "SD card" : "eMMC";
  }
  if (device.rfind("sd", 0) == 0) {
    const std::string disk = device.substr(0, device.find_first_of("0123456789"));
    std::error_code error;
    const std::string real = std::filesystem::canonical(block + disk, error).string();
    if (real.find("/usb") != std::string::npos) return "USB disk";
    return number_in(block + disk + "/queue/rotational") == 1 ? "hard disk" : "SSD";
  }
  if (device.rfind("vd", 0) == 0) return "virtual disk";
  return device.rfind("dm-", 0) == 0 ? "mapped disk" : "";
}

bool holds(const std::string& mount, const std::string& path) {
  if (mount == "/") return true;
  return path.rfind(mount, 0) == 0 && (path.size() == mount.size() || path[mount.size()] == '/');
}

// A line: "36 35 259:1 /root /mnt rw,noatime shared:1 - ext4 /dev/nvme0n1p1 rw"; the optional
// fields before the dash are any number. Later mounts lie over earlier ones.
void read_disk(const std::string& root, Disk* disk) {
  std::string number;
  std::istringstream lines(whole_file(root + "/proc/self/mountinfo"));
  for (std::string line; std::getline(lines, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::string skipped, numbers, mount, filesystem, source;
    std::istringstream(line) >> skipped >> skipped >> numbers >> skipped >> mount;
    std::istringstream(line.substr(dash + 3)) >> filesystem >> source;
    if (!holds(mount, disk->path) || mount.size() < disk->mount.size()) continue;
    disk->mount = mount;
    disk->filesystem = filesystem;
    disk->device = source.rfind("/dev/", 0) == 0 ? source.substr(5) : "";
    number = numbers;
  }
  std::error_code error;  // the name that the kernel has for it, not /dev/root
  const auto link = std::filesystem::read_symlink(root + "/sys/dev/block/" + number, error);
  if (!error) disk->device = link.filename().string();
  disk->kind = kind_of(root, disk->device);
  if (disk->kind.empty()) disk->kind = disk->filesystem;
}

}  // namespace

const Heat::Zone* Heat::hottest() const {
  const Zone* hottest = nullptr;
  for (const Zone& zone : zones) {
    if (!zone.zone.is_of_chip() || !zone.celsius) continue;
    if (hottest == nullptr || *zone.celsius > *hottest->celsius) hottest = &zone;
  }
  return hottest;
}

const PowerMode* Machine::power_mode() const {
  for (const PowerMode& candidate : modes) {
    if (candidate.id == mode) return &candidate;
  }
  return nullptr;
}

uint32_t Machine::compute_capability() const {
  if (gpu) return gpu->compute_capability;
  return module != nullptr ? module->compute_capability : 0;
}

uint32_t Machine::sm_count_of(const PowerMode& of) const {
  // The mask of Orin's four pairs of pairs of SMs; smaller modules never have all of them.
  constexpr uint32_t kOrin = 16;
  const uint32_t left = kOrin - std::min(kOrin, 2 * of.gated_tpcs);
  return module != nullptr ? std::min(left, module->sm_count) : left;
}

double Machine::full_memory_mhz() const {
  if (module == nullptr) return 0;
  // Without the firmware of Super modes Orin Nanos stay at two thirds.
  constexpr double kPlainNano = 2133;
  const bool is_nano = std::string(module->target).rfind("orin-nano", 0) == 0;
  return is_nano && !is_super ? kPlainNano : module->memory_mhz;
}

std::vector<PowerMode> parse_power_modes(const std::string& text) {
  std::vector<PowerMode> modes;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    char name[64], key[64];
    unsigned id = 0;
    long long value = 0;
    if (std::sscanf(line.c_str(), " < POWER_MODEL ID=%u NAME=%63s >", &id, name) == 2) {
      PowerMode mode;
      mode.id = id;
      mode.name = name;
      modes.push_back(mode);
    } else if (modes.empty()) {
      continue;
    } else if (std::sscanf(line.c_str(), " TPC_POWER_GATING TPC_PG_MASK %lld", &value) == 1) {
      const auto mask = static_cast<uint32_t>(value & 0xff);
      modes.back().gated_tpcs = static_cast<uint32_t>(std::bitset<8>(mask).count());
    } else if (std::sscanf(line.c_str(), " %63s MAX_FREQ %lld", key, &value) == 2 && value > 0) {
      const double mhz = static_cast<double>(value) / 1e6;
      if (std::string(key) == "GPU") modes.back().gpu_mhz = mhz;
      if (std::string(key) == "EMC") modes.back().memory_mhz = mhz;
    }
  }
  return modes;
}

std::string cpu_name(const std::string& root) {
  std::istringstream lines(whole_file(root + "/proc/cpuinfo"));
  for (std::string line; std::getline(lines, line);) {
    // x86; the others on some Arm boards.
    for (const char* key : {"model name", "Model", "Hardware"}) {
      const size_t colon = line.find(": ");
      if (line.rfind(key, 0) == 0 && colon != std::string::npos) return line.substr(colon + 2);
    }
  }
  return "";
}

std::string container_name(const std::string& root) {
  std::error_code error;
  if (std::filesystem::exists(root + "/.dockerenv", error)) return "docker";
  if (std::filesystem::exists(root + "/run/.containerenv", error)) return "podman";
  const std::string groups = whole_file(root + "/proc/1/cgroup");
  for (const char* name : {"docker", "kubepods", "containerd", "lxc"}) {
    if (groups.find(name) != std::string::npos) return name;
  }
  return "";
}

Machine read_machine(const std::string& root, const std::string& path) {
  const platform::Sysfs sysfs(root);
  Machine m;
  read_memory(root, &m.memory);
  read_identity(root, sysfs, &m);
  read_mode(root, &m);
  read_clocks(root, sysfs, &m.clocks);
  m.desktop = desktop_in(root);
  read_heat(root, sysfs, &m.heat);
  read_power(sysfs, &m.power);
  m.disk.path = path;
  read_disk(root, &m.disk);
  m.container = container_name(root);
  return m;
}

}  // namespace jllm::tool

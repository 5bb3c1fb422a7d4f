#include "tests/platform/fake_sysfs.h"

#include <algorithm>
#include <stdexcept>

namespace jllm::test {
namespace {

// A switched-off sensor says -256 degrees (Orin's cv*) or cannot be read.
const std::vector<FakeZone> kOrinZones = {
    {"cpu-thermal", "51250", 99000, 104500},   {"gpu-thermal", "49031", 99000, 104500},
    {"cv0-thermal", "-256000", 99000, 104500}, {"cv1-thermal", nullptr, 99000, 104500},
    {"cv2-thermal", "-256000", 99000, 104500}, {"soc0-thermal", "48500", 99000, 104500},
    {"soc1-thermal", "48843", 99000, 104500},  {"soc2-thermal", "47687", 99000, 104500},
    {"tj-thermal", "51250", 99000, 104500}};

const std::vector<FakeDevice> kOrinDevices = {
    {"cpu-throttle-alert", "0"},   {"gpu-throttle-alert", "0"}, {"cv0-throttle-alert", "0"},
    {"soc0-throttle-alert", "0"},  {"hot-surface-alert", "0"},  {"pwm-fan", "2"},
    {"devfreq-17000000.gpu", "0"}, {"thermal-cpufreq-0", "0"}};

const std::vector<FakePowerChip> kOrinNanoPower = {
    {"ina3221", {{"VDD_IN", 5000, 1104}, {"VDD_CPU_GPU_CV", 5000, 240}, {"VDD_SOC", 5000, 288}}}};

}  // namespace

const std::vector<FakeLayout>& jetpack_layouts() {
  static const std::vector<FakeLayout> layouts = {
      {"JetPack4Nano",
       "nvidia,p3450-0000|nvidia,jetson-nano|nvidia,tegra210|",
       {{"AO-therm", "39500", 0, 0},
        {"CPU-therm", "33000", 101000, 102500},
        {"GPU-therm", "32500", 101000, 102500},
        {"PLL-therm", "31000", 0, 103000},
        {"PMIC-Die", "100000", 0, 120000},
        {"thermal-fan-est", "33000", 0, 0}},
       {{"pwm-fan", "0"}, {"gpu-balanced", "0"}},
       "sys/devices/57000000.gpu/devfreq/57000000.gpu",
       true,
       {{"ina3221x",
         {{"POM_5V_IN", 5000, 400}, {"POM_5V_GPU", 5000, 40}, {"POM_5V_CPU", 5000, 80}}}}},
      {"JetPack5Orin",
       "nvidia,p3768-0000+p3767-0005|nvidia,p3767-0005|nvidia,tegra234|",
       {{"CPU-therm", "51250", 99000, 104500},
        {"GPU-therm", "49031", 99000, 104500},
        {"CV0-therm", "-256000", 99000, 104500},
        {"CV1-therm", nullptr, 99000, 104500},
        {"SOC0-therm", "48500", 99000, 104500},
        {"SOC1-therm", "48843", 99000, 104500},
        {"tj-therm", "51250", 99000, 104500},
        {"thermal-fan-est", "90000", 0, 0}},
       {{"CPU-throttle-alert", "0"}, {"GPU-throttle-alert", "0"}, {"pwm-fan", "1"}},
       "sys/devices/17000000.ga10b/devfreq/17000000.ga10b",
       false,
       kOrinNanoPower},
      {"JetPack6Orin", "nvidia,p3768-0000+p3767-0005-super|nvidia,p3767-0005|nvidia,tegra234|",
       kOrinZones, kOrinDevices, "sys/devices/platform/17000000.gpu/devfreq_dev", false,
       kOrinNanoPower},
      {"JetPack7Orin", "nvidia,p3767-0005-super|nvidia,tegra234|", kOrinZones, kOrinDevices,
       "sys/devices/platform/bus@0/17000000.gpu/devfreq/17000000.gpu", true, kOrinNanoPower},
      {"JetPack7Thor",
       "nvidia,p4071-0000+p3834-0008|nvidia,p3834-0008|nvidia,tegra264|",
       {{"cpu-thermal", "44000", 109000, 114500},
        {"gpu-thermal", "45250", 109000, 114500},
        {"soc012-thermal", "43000", 109000, 114500},
        {"tj-thermal", "45250", 109000, 114500}},
       {{"gpu-throttle-alert", "0"}, {"devfreq-gpu-gpc-0", "0"}, {"pwm-fan", "3"}},
       "sys/devices/platform/bus@0/gpu/devfreq/gpu-gpc-0",
       true,
       {{"ina3221", {{"VDD_GPU", 12000, 500}, {"VDD_CPU_SOC_MSS", 12000, 800}, {"NC", 0, 0}}},
        {"ina238", {{"VIN", 20000, 1500}}}}},
      {"JetPack6AgxOrin",
       "nvidia,p3737-0000+p3701-0005|nvidia,p3701-0005|nvidia,tegra234|",
       kOrinZones,
       kOrinDevices,
       "sys/devices/platform/17000000.gpu/devfreq_dev",
       false,
       {{"ina3221", {{"VDD_GPU_SOC", 20000, 300}, {"VDD_CPU_CV", 20000, 50}, {"NC", 0, 0}}},
        {"ina3221", {{"NC", 0, 0}, {"VIN_SYS_5V0", 5000, 800}, {"NC", 0, 0}}}}}};
  return layouts;
}

FakeSysfs::FakeSysfs(const FakeLayout& layout) : layout_(layout) {
  std::string compatible = layout.compatible;
  std::replace(compatible.begin(), compatible.end(), '|', '\0');
  put("proc/device-tree/compatible", compatible);
  set_available_mib(5000);
  for (size_t i = 0; i < layout.zones.size(); ++i) {
    const FakeZone& zone = layout.zones[i];
    const std::string folder = "sys/class/thermal/thermal_zone" + std::to_string(i) + "/";
    put(folder + "type", std::string(zone.type) + "\n");
    if (zone.temp != nullptr) put(folder + "temp", std::string(zone.temp) + "\n");
    int point = 0;
    const auto add_trip = [&](const char* type, int temp) {
      const std::string name = folder + "trip_point_" + std::to_string(point++);
      put(name + "_type", std::string(type) + "\n");
      put(name + "_temp", std::to_string(temp) + "\n");
    };
    if (std::string(zone.type).rfind("tj", 0) == 0) add_trip("active", 51000);
    if (zone.critical != 0) add_trip("critical", zone.critical);
    if (zone.passive != 0) add_trip("passive", zone.passive);
  }
  for (size_t i = 0; i < layout.devices.size(); ++i) {
    const std::string folder = "sys/class/thermal/cooling_device" + std::to_string(i) + "/";
    put(folder + "type", std::string(layout.devices[i].type) + "\n");
    put(folder + "cur_state", std::string(layout.devices[i].cur_state) + "\n");
  }
  const std::string gpu = std::string(layout.gpu_folder) + "/";
  put(gpu + "cur_freq", "612000000\n");
  put(gpu + "max_freq", "1020000000\n");
  put("sys/class/devfreq/15480000.nvdec/cur_freq", "1\n");
  put("sys/class/hwmon/hwmon0/name", "nvme\n");
  for (size_t i = 0; i < layout.power.size(); ++i) put_power(i, power_folder(i));
  if (layout.gpu_in_class) {
    namespace fs = std::filesystem;
    const fs::path real = fs::path(root()) / layout.gpu_folder;
    fs::create_directory_symlink(real, root() + "/sys/class/devfreq/" + real.filename().string());
  }
}

// hwmon10 comes behind hwmon9, whatever the alphabet says.
std::string FakeSysfs::power_folder(size_t chip) const {
  const bool is_iio = std::string(layout_.power[chip].name) == "ina3221x";
  return (is_iio ? "sys/bus/iio/devices/iio:device" + std::to_string(chip)
                 : "sys/class/hwmon/hwmon" + std::to_string(9 + chip)) +
         "/";
}

void FakeSysfs::put_power(size_t chip, const std::string& folder) const {
  const std::string name = layout_.power[chip].name;
  put(folder + "name", name + "\n");
  if (name == "ina3221") put(folder + "in7_label", "sum of shunt voltages\n");
  const std::vector<FakeRail>& rails = layout_.power[chip].rails;
  for (size_t i = 0; i < rails.size(); ++i) {
    const std::string from_0 = std::to_string(i), from_1 = std::to_string(i + 1);
    const int microwatts = rails[i].millivolts * rails[i].milliamperes;
    if (name == "ina238") put(folder + "power1_input", std::to_string(microwatts) + "\n");
    if (name == "ina3221x") {
      put(folder + "rail_name_" + from_0, std::string(rails[i].label) + "\n");
      put(folder + "in_power" + from_0 + "_input", std::to_string(microwatts / 1000) + "\n");
    }
    if (name != "ina3221") continue;
    put(folder + "in" + from_1 + "_label", std::string(rails[i].label) + "\n");
    put(folder + "in" + from_1 + "_input", std::to_string(rails[i].millivolts) + "\n");
    put(folder + "curr" + from_1 + "_input", std::to_string(rails[i].milliamperes) + "\n");
  }
}

void FakeSysfs::set_milliamperes(const std::string& label, const std::string& current) const {
  for (size_t chip = 0; chip < layout_.power.size(); ++chip) {
    const std::vector<FakeRail>& rails = layout_.power[chip].rails;
    for (size_t i = 0; i < rails.size(); ++i) {
      if (rails[i].label != label) continue;
      return put(power_folder(chip) + "curr" + std::to_string(i + 1) + "_input", current + "\n");
    }
  }
  throw std::runtime_error("no rail " + label);
}

void FakeSysfs::put(const std::string& path, const std::string& text) const {
  const std::string whole = root() + "/" + path;
  std::filesystem::create_directories(std::filesystem::path(whole).parent_path());
  write_text(whole, text);
}

void FakeSysfs::set_available_mib(uint64_t mib) const {
  put("proc/meminfo", "MemTotal:        7801016 kB\nMemFree:          113220 kB\nMemAvailable:   " +
                          std::to_string(mib * 1024) + " kB\nBuffers:           44280 kB\n");
}

void FakeSysfs::set_zone(const std::string& type, const std::string& temp) const {
  for (size_t i = 0; i < layout_.zones.size(); ++i) {
    if (layout_.zones[i].type != type) continue;
    return put("sys/class/thermal/thermal_zone" + std::to_string(i) + "/temp", temp + "\n");
  }
  throw std::runtime_error("no zone " + type);
}

void FakeSysfs::set_device(const std::string& type, const std::string& state) const {
  for (size_t i = 0; i < layout_.devices.size(); ++i) {
    if (layout_.devices[i].type != type) continue;
    return put("sys/class/thermal/cooling_device" + std::to_string(i) + "/cur_state", state + "\n");
  }
  throw std::runtime_error("no device " + type);
}

}  // namespace jllm::test

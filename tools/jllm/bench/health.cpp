#include "tools/jllm/bench/health.h"

#include <cctype>
#include <cstdlib>
#include <initializer_list>
#include <sstream>
#include <vector>

#include "executor/platform/sysfs.h"
#include "tools/jllm/session.h"
#include "tools/jllm/subprocess.h"

namespace jllm::tool {
namespace {

std::optional<double> number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str()) return std::nullopt;
  return value;
}

// Of the first zone whose name has one of these words in it.
std::optional<double> zone_temperature(const platform::Sysfs& sysfs,
                                       std::initializer_list<const char*> words) {
  for (const platform::ThermalZone& zone : sysfs.zones()) {
    std::string name = zone.type;
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (const char* word : words) {
      if (name.find(word) != std::string::npos) return sysfs.temperature(zone);
    }
  }
  return std::nullopt;
}

}  // namespace

Health cpu_health(const std::string& root) {
  const platform::Sysfs sysfs(root);
  Health health;
  health.clock_mhz = sysfs.cpu_mhz();
  health.temperature_c = zone_temperature(sysfs, {"x86_pkg_temp", "cpu"});
  return health;
}

Health jetson_health(const std::string& root) {
  const platform::Sysfs sysfs(root);
  Health health;
  if (const std::optional<platform::GpuClock> clock = sysfs.gpu_clock()) {
    health.clock_mhz = clock->mhz;
  }
  health.temperature_c = zone_temperature(sysfs, {"gpu"});
  return health;
}

Health parse_card_health(const std::string& line) {
  std::vector<std::optional<double>> values;
  std::istringstream stream(line);
  for (std::string cell; std::getline(stream, cell, ',');) values.push_back(number(cell));
  values.resize(4);
  return {values[0], values[1], values[2], values[3]};
}

Health card_health(const std::string& pci_address) {
  const std::string program = find_program("nvidia-smi");
  if (program.empty() || pci_address.empty()) return {};
  const ProgramOutput output =
      run_program({program, "--query-gpu=clocks.sm,clocks.mem,temperature.gpu,power.draw",
                   "--format=csv,noheader,nounits", "--id=" + pci_address},
                  false);
  return output.code == 0 ? parse_card_health(output.out) : Health{};
}

}  // namespace jllm::tool

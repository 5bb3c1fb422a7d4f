#include "tools/jllm/bench/health.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "tools/jllm/session.h"
#include "tools/jllm/subprocess.h"

namespace jllm::tool {
namespace {

namespace fs = std::filesystem;

// The first line of a file, in small letters; empty when it cannot be read.
std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  for (char& c : line) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return line;
}

std::optional<double> number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str()) return std::nullopt;
  return value;
}

std::optional<double> scaled(const fs::path& path, double factor) {
  const std::optional<double> value = number(first_line(path));
  return value ? std::optional<double>(*value * factor) : std::nullopt;
}

bool contains_any(const std::string& text, const std::vector<const char*>& words) {
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return text.find(word) != std::string::npos; });
}

// Entries of a folder, sorted, so that the first match is always the same.
std::vector<fs::path> entries(const fs::path& folder) {
  std::error_code ignored;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::optional<double> zone_temperature(const std::string& root,
                                       const std::vector<const char*>& kinds) {
  for (const fs::path& zone : entries(root + "/sys/class/thermal")) {
    if (contains_any(first_line(zone / "type"), kinds)) return scaled(zone / "temp", 1e-3);
  }
  return std::nullopt;
}

}  // namespace

Health cpu_health(const std::string& root) {
  Health health;
  health.clock_mhz = scaled(root + "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1e-3);
  health.temperature_c = zone_temperature(root, {"x86_pkg_temp", "cpu"});
  return health;
}

Health jetson_health(const std::string& root) {
  Health health;
  // "17000000.gpu" on Orin, ".ga10b", ".gv11b" on older releases.
  for (const fs::path& device : entries(root + "/sys/class/devfreq")) {
    const std::string name = device.filename().string();
    if (!contains_any(name, {"gpu", "ga10b", "gv11b", "gp10b"})) continue;
    health.clock_mhz = scaled(device / "cur_freq", 1e-6);
    break;
  }
  health.temperature_c = zone_temperature(root, {"gpu"});
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

// jllm doctor: what device is here, and a target file made of it.
#include <cstdio>
#include <fstream>

#include "tools/jllm/arguments.h"
#include "tools/jllm/care.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/device_facts.h"
#include "tools/jllm/session.h"

namespace jllm::tool {

int doctor_command(int argc, char** argv) {
  std::string path, name = "mine";
  uint64_t device = 0;
  double bandwidth = 0;
  Arguments arguments(
      "jllm doctor [--target-json FILE] [--name NAME] [--bandwidth GB_PER_S] [--device N]",
      "Shows what the CUDA driver says of this device; with --target-json also writes it as "
      "a target\nfile for jllmc compile --target FILE.");
  arguments.text("", "--target-json", &path, "the target file to write");
  arguments.text("", "--name", &name, "name of the target (default: mine)");
  arguments.number("", "--bandwidth", &bandwidth, 0, 1e6,
                   "pin rate of the memory in GB/s, where the driver does not tell or is wrong");
  arguments.integer("", "--device", &device, 1023, "device number (default 0)");
  if (!arguments.parse(argc, argv)) return kDone;
  const DeviceFacts facts = read_device_facts(static_cast<int>(device));
  std::printf("device      %s (sm_%u, %u SMs, %s memory)\n", facts.name.c_str(),
              facts.compute_capability, facts.sm_count, facts.integrated ? "shared" : "own");
  std::printf("driver      CUDA %u.%u\n", facts.driver_version / 1000,
              facts.driver_version % 1000 / 10);
  std::printf("memory      %llu of %llu MiB available\n",
              static_cast<unsigned long long>(facts.available_memory >> 20),
              static_cast<unsigned long long>(facts.total_memory >> 20));
  std::printf("bandwidth   %.1f GB/s pin rate as the driver reports\n", facts.pin_bandwidth_gb_s());
  for (const std::string& line : make_guard({}).watched()) {
    std::printf("thermal     %s\n", line.c_str());
  }
  if (path.empty()) return kDone;
  const std::string json = target_json(facts, name, bandwidth);
  std::ofstream file(path, std::ios::binary);
  file << json;
  if (!file.flush()) throw Failure(kFailed, path + ": cannot be written");
  std::printf("wrote       %s\n", path.c_str());
  return kDone;
}

}  // namespace jllm::tool

// jllm doctor: what machine is here, what is wrong with it and what to do about that; and a target
// file made of it. The parts are in doctor/.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/device_facts.h"
#include "tools/jllm/doctor/print.h"
#include "tools/jllm/session.h"

namespace jllm::tool {
namespace {

struct DoctorOptions {
  std::string path = ".", target, name = "mine";
  uint64_t device = 0;
  double bandwidth = 0;
  bool as_json = false, strict = false;
};

bool parse(int argc, char** argv, DoctorOptions* o) {
  Arguments arguments(
      "jllm doctor [--json] [--strict] [--path FOLDER] [--device N]\n"
      "                   [--target-json FILE [--name NAME] [--bandwidth GB_PER_S]]",
      "Shows what this machine is and how it is set up, and what stands in a model's way here:\n"
      "problems, warnings and notes, each with what to do. Made for Jetsons; elsewhere it says\n"
      "what it can. With --target-json also writes the device as a target file for\n"
      "jllmc compile --target FILE.");
  arguments.flag("", "--json", &o->as_json, "print one JSON document (docs/doctor.md)");
  arguments.flag("", "--strict", &o->strict, "exit status 1 when there are problems");
  arguments.text("", "--path", &o->path, "where plans are kept, to look at its disk (default: .)");
  arguments.text("", "--target-json", &o->target, "the target file to write");
  arguments.text("", "--name", &o->name, "name of the target (default: mine)");
  arguments.number("", "--bandwidth", &o->bandwidth, 0, 1e6,
                   "pin rate of the memory in GB/s, where the driver does not tell or is wrong");
  arguments.integer("", "--device", &o->device, 1023, "device number (default 0)");
  return arguments.parse(argc, argv);
}

Machine machine_of(const DoctorOptions& o) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path path = fs::canonical(o.path, error);
  if (error) throw Failure(kUsage, "--path " + o.path + ": " + error.message());
  Machine machine = read_machine(platform::sysfs_root(), path.string());
  const fs::space_info space = fs::space(path, error);
  if (!error) {
    machine.disk.size = space.capacity;
    machine.disk.free = space.available;
  }
  // Below the root is the system that a container may be hidden from, which is our own.
  if (machine.container.empty()) machine.container = container_name("");
  try {
    machine.gpu = read_device_attributes(static_cast<int>(o.device));
  } catch (const Failure& failure) {
    machine.no_gpu = failure.what();
  }
  return machine;
}

void write_target(const DoctorOptions& o) {
  const DeviceFacts facts = read_device_facts(static_cast<int>(o.device));
  std::ofstream file(o.target, std::ios::binary);
  file << target_json(facts, o.name, o.bandwidth);
  if (!file.flush()) throw Failure(kFailed, o.target + ": cannot be written");
  std::fprintf(stderr, "wrote %s\n", o.target.c_str());
}

}  // namespace

int doctor_command(int argc, char** argv) {
  DoctorOptions options;
  if (!parse(argc, argv, &options)) return kDone;
  const Machine machine = machine_of(options);
  const std::vector<Finding> findings = examine(machine);
  if (options.as_json) {
    const nlohmann::ordered_json document = doctor_json(machine, findings);
    std::printf("%s\n",
                document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else {
    std::printf("%s", doctor_text(machine, findings).c_str());
  }
  if (!options.target.empty()) write_target(options);
  const bool failed = std::any_of(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.severity == Severity::kProblem;
  });
  return failed && options.strict ? kFailed : kDone;
}

}  // namespace jllm::tool

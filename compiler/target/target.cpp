#include "compiler/target/target.h"

#include <llvm/ADT/STLExtras.h>
#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/MemoryBuffer.h>

#include <optional>

#include "compiler/support/error.h"
#include "compiler/target/builtin.h"

namespace jllm::target {
namespace {

bool is_file(llvm::StringRef text) { return text.consume_back(".json"); }

uint64_t bytes_of(const std::optional<Figure>& megabytes) {
  return megabytes ? uint64_t(megabytes->value * 1024 * 1024) : 0;
}

// "NAME@MODE" into its halves; the mode is empty where there is none.
std::pair<llvm::StringRef, llvm::StringRef> split_mode(llvm::StringRef text) {
  if (is_file(text)) return {text, ""};  // a folder may have '@' in its name
  return text.rsplit('@');
}

std::optional<Target> generic_target(llvm::StringRef name) {
  unsigned arch = 0;
  if (!name.consume_front("sm_") || name.getAsInteger(10, arch) || arch < 50 || arch > 999) {
    return std::nullopt;
  }
  Target target;
  target.name = "sm_" + std::to_string(arch);
  target.device_name = "a device of compute capability " + std::to_string(arch / 10) + "." +
                       std::to_string(arch % 10);
  target.compute_capability = arch;
  target.sm_count = 16;
  target.prefill_chunk = 128;
  return target;
}

llvm::Error unknown_mode(const Description& device, llvm::StringRef mode) {
  if (device.modes.empty()) {
    return fail(ExitCode::kUnsupported, "target {0} has no power modes, so '{1}' is none of them",
                device.name, mode);
  }
  std::vector<std::string> known;
  for (size_t i = 0; i < device.modes.size(); ++i) {
    known.push_back(device.modes[i].name + (i == device.default_mode ? " (default)" : ""));
  }
  return fail(ExitCode::kUnsupported, "target {0} has no power mode '{1}'; known: {2}", device.name,
              mode, llvm::join(known, ", "));
}

}  // namespace

std::vector<std::string> builtin_names() {
  std::vector<std::string> names;
  for (const BuiltinTarget& entry : builtin_targets()) names.emplace_back(entry.name);
  return names;
}

llvm::Expected<Description> describe(llvm::StringRef name_or_path) {
  for (const BuiltinTarget& entry : builtin_targets()) {
    if (name_or_path == entry.name) return parse_description(entry.json, name_or_path);
  }
  if (generic_target(name_or_path)) {
    return fail(ExitCode::kUnsupported,
                "{0} stands for any GPU of that compute capability: no figures, no budget",
                name_or_path);
  }
  if (is_file(name_or_path)) {
    llvm::ErrorOr<std::unique_ptr<llvm::MemoryBuffer>> buffer =
        llvm::MemoryBuffer::getFile(name_or_path);
    if (!buffer) {
      return fail(ExitCode::kFailed, "target {0}: {1}", name_or_path, buffer.getError().message());
    }
    return parse_description((*buffer)->getBuffer(), name_or_path);
  }
  return fail(ExitCode::kUnsupported,
              "unknown target '{0}'; known: {1}, sm_XX for any other GPU, or a .json file",
              name_or_path, llvm::join(builtin_names(), ", "));
}

llvm::Expected<Target> resolve(const Description& device, llvm::StringRef mode_name) {
  Target target;
  target.name = device.name;
  target.device_name = device.device_name;
  target.is_host = device.is_host;
  target.ram_bytes = bytes_of(device.ram);
  target.visible_bytes = bytes_of(device.visible);
  target.budget_bytes = target.budget_headless_bytes = bytes_of(device.headless_budget);
  target.budget_desktop_bytes = bytes_of(desktop_budget(device));
  target.context_bytes = bytes_of(device.cuda_context);
  target.largest_allocation = bytes_of(device.largest_allocation);
  if (device.compute_capability) {
    target.compute_capability = uint32_t(device.compute_capability->value);
  }
  if (device.max_cuda_major) target.max_cuda_major = uint32_t(device.max_cuda_major->value);
  target.prefill_chunk = device.prefill_chunk;
  target.default_kv = device.default_kv;
  for (const BadRelease& release : device.avoid_l4t) target.warnings.push_back(warning(release));

  size_t index = device.default_mode;
  if (!mode_name.empty()) {
    const auto named = [&](const Mode& m) { return mode_name.equals_insensitive(m.name); };
    const auto found = llvm::find_if(device.modes, named);
    if (found == device.modes.end()) return unknown_mode(device, mode_name);
    index = size_t(found - device.modes.begin());
  }
  if (device.modes.empty()) return target;
  const Mode& mode = device.modes[index];
  target.mode = mode.name;
  if (index != device.default_mode) {
    target.name += "@" + mode.name;
    target.device_name += " (" + mode.name + ")";
  }
  target.sm_count = uint32_t(mode.sm_count->value);
  const Figure bandwidth = planning_bandwidth(device, mode);
  target.bandwidth_gbps = bandwidth.value;
  target.bandwidth_basis = mode.measured_bandwidth ? "measured" : bandwidth.source;
  if (mode.pin_bandwidth) target.pin_bandwidth_gbps = mode.pin_bandwidth->value;
  return target;
}

llvm::Expected<Target> find(llvm::StringRef name_or_path) {
  if (std::optional<Target> generic = generic_target(name_or_path)) return *generic;
  const auto [name, mode] = split_mode(name_or_path);
  llvm::Expected<Description> device = describe(name);
  if (!device) return device.takeError();
  return resolve(*device, mode);
}

llvm::Error use_desktop_budget(Target* target) {
  if (target->budget_desktop_bytes == 0) {
    return fail(ExitCode::kUnsupported,
                "target {0} has no desktop budget: what a desktop takes is unknown there; use "
                "--budget",
                target->name);
  }
  target->budget_bytes = target->budget_desktop_bytes;
  return llvm::Error::success();
}

llvm::Error check_compilable(const Target& target) {
  if (target.is_host || target.compute_capability >= kMinComputeCapability) {
    return llvm::Error::success();
  }
  return fail(ExitCode::kUnsupported,
              "{0} (sm_{1}) can be planned, not compiled yet: the kernels need compute capability "
              "{2}.{3} or newer",
              target.device_name, target.compute_capability, kMinComputeCapability / 10,
              kMinComputeCapability % 10);
}

}  // namespace jllm::target

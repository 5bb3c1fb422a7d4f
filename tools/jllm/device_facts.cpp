#include "tools/jllm/device_facts.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "executor/platform/sysfs.h"
#include "executor/src/cuda/driver_api.h"
#include "tools/jllm/session.h"

namespace jllm::tool {
namespace {

using nlohmann::ordered_json;

constexpr uint64_t kMebibyte = 1 << 20;
constexpr uint64_t kReserve = 300 * kMebibyte;  // left to whatever else the system starts

uint64_t mem_available() { return platform::Sysfs().mem_available().value_or(0); }

ordered_json figure(const ordered_json& value, const char* source, const char* confidence) {
  return {{"value", value}, {"source", source}, {"confidence", confidence}};
}

// The driver, with errors as failures.
class Driver {
 public:
  explicit Driver(int ordinal) {
    if (const char* reason = cuda::load_cuda_api(&api_)) throw Failure(kDevice, reason);
    int count = 0;
    check(api_.init(0), "cuInit");
    check(api_.device_get_count(&count), "cuDeviceGetCount");
    if (ordinal >= count) {
      throw Failure(kDevice, "no CUDA device " + std::to_string(ordinal) + ": the driver reports " +
                                 std::to_string(count));
    }
    check(api_.device_get(&device_, ordinal), "cuDeviceGet");
  }

  DeviceFacts attributes() const {
    DeviceFacts facts;
    char text[128] = {0};
    int driver = 0;
    size_t total = 0;
    check(api_.device_get_name(text, sizeof text, device_), "cuDeviceGetName");
    facts.name = text;
    // What has no such address is not an error.
    const bool has_address =
        api_.device_get_pci_bus_id(text, sizeof text, device_) == cuda::kSuccess;
    facts.pci_address = has_address ? text : "";
    check(api_.driver_get_version(&driver), "cuDriverGetVersion");
    check(api_.device_total_mem(&total, device_), "cuDeviceTotalMem");
    facts.driver_version = static_cast<uint32_t>(driver);
    facts.total_memory = total;
    facts.compute_capability = attribute(cuda::kAttributeComputeCapabilityMajor) * 10 +
                               attribute(cuda::kAttributeComputeCapabilityMinor);
    facts.sm_count = attribute(cuda::kAttributeMultiprocessorCount);
    facts.shared_per_sm = attribute(cuda::kAttributeMaxSharedMemoryPerMultiprocessor);
    facts.shared_per_block = attribute(cuda::kAttributeMaxSharedMemoryPerBlockOptin);
    facts.l2 = attribute(cuda::kAttributeL2CacheSize);
    facts.clock_khz = attribute(cuda::kAttributeClockRate);
    facts.memory_khz = attribute(cuda::kAttributeMemoryClockRate);
    facts.bus_bits = attribute(cuda::kAttributeGlobalMemoryBusWidth);
    facts.integrated = attribute(cuda::kAttributeIntegrated) != 0;
    return facts;
  }

  void measure_memory(DeviceFacts* facts) const {
    const uint64_t before = mem_available();
    cuda::Context context = nullptr;
    size_t free = 0, total = 0;
    check(api_.primary_ctx_retain(&context, device_), "cuDevicePrimaryCtxRetain");
    check(api_.ctx_set_current(context), "cuCtxSetCurrent");
    check(api_.mem_get_info(&free, &total), "cuMemGetInfo");
    const uint64_t after = mem_available();
    check(api_.primary_ctx_release(device_), "cuDevicePrimaryCtxRelease");
    facts->available_memory = facts->integrated ? before : total;
    const uint64_t left = facts->integrated ? after : free;
    facts->context_memory = facts->available_memory > left ? facts->available_memory - left : 0;
  }

 private:
  void check(cuda::Status status, const char* what) const {
    if (status == cuda::kSuccess) return;
    const char* name = "unknown error";
    if (api_.get_error_name(status, &name) != cuda::kSuccess) name = "unknown error";
    throw Failure(kDevice, std::string(what) + ": " + name);
  }
  uint32_t attribute(unsigned id) const {
    int value = 0;
    check(api_.device_get_attribute(&value, id, device_), "cuDeviceGetAttribute");
    return static_cast<uint32_t>(std::max(value, 0));
  }

  cuda::CudaApi api_ = {};
  cuda::Device device_ = 0;
};

}  // namespace

DeviceFacts read_device_attributes(int ordinal) { return Driver(ordinal).attributes(); }

DeviceFacts read_device_facts(int ordinal) {
  const Driver driver(ordinal);
  DeviceFacts facts = driver.attributes();
  driver.measure_memory(&facts);
  return facts;
}

std::string target_json(const DeviceFacts& facts, const std::string& target_name,
                        double bandwidth_gb_s) {
  constexpr const char* kDriver = "read from the driver of this device";
  const double pin = bandwidth_gb_s > 0 ? bandwidth_gb_s : facts.pin_bandwidth_gb_s();
  if (!(pin > 0)) {
    throw Failure(kUsage,
                  "the driver does not tell the memory bandwidth; say --bandwidth GB_PER_S");
  }
  const uint64_t budget = facts.available_memory > kReserve ? facts.available_memory - kReserve
                                                            : facts.available_memory;
  ordered_json mode;
  mode["name"] = "current";
  mode["label"] = "the power mode in which the file was written";
  mode["sm_count"] = figure(facts.sm_count, kDriver, "high");
  if (facts.clock_khz > 0) mode["gpu_mhz"] = figure(facts.clock_khz / 1000, kDriver, "medium");
  mode["pin_bandwidth_gb_s"] =
      bandwidth_gb_s > 0
          ? figure(pin, "given with --bandwidth", "medium")
          : figure(pin, "2 x memory clock x bus width as the driver reports", "medium");
  ordered_json target;
  target["format"] = 1;
  target["name"] = target_name;
  target["device_name"] = facts.name;
  target["backend"] = "cuda";
  target["compute_capability"] = figure(facts.compute_capability, kDriver, "high");
  target["shared_memory_per_sm_kib"] = figure(facts.shared_per_sm / 1024, kDriver, "high");
  target["shared_memory_per_block_kib"] = figure(facts.shared_per_block / 1024, kDriver, "high");
  target["l2_kib"] = figure(facts.l2 / 1024, kDriver, "high");
  target["visible_mib"] = figure(facts.total_memory / kMebibyte, kDriver, "high");
  target["headless_budget_mib"] =
      figure(std::min(budget, facts.total_memory) / kMebibyte,
             "memory available while the file was written, less 300 MiB", "medium");
  target["cuda_context_mib"] = figure(facts.context_memory / kMebibyte,
                                      "taken by a context while the file was written", "medium");
  target["max_cuda_major"] = figure(facts.driver_version / 1000, kDriver, "high");
  target["bandwidth_fraction"] = figure(0.75, "what reads reach on AGX Orin; measure yours", "low");
  target["modes"] = ordered_json::array({mode});
  target["defaults"] = {{"prefill_chunk", facts.sm_count >= 64 ? 512 : 128}, {"kv", "f16"}};
  return target.dump(2) + "\n";
}

}  // namespace jllm::tool

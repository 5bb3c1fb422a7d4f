// What the driver and the system say of a CUDA device, and the target file for jllmc that follows
// from it.
#pragma once

#include <cstdint>
#include <string>

namespace jllm::tool {

struct DeviceFacts {
  std::string name;
  std::string pci_address;          // "0000:3b:00.0"; empty when the driver does not say
  uint32_t compute_capability = 0;  // 87 for 8.7
  uint32_t driver_version = 0;      // 12060 for 12.6
  uint32_t sm_count = 0;
  uint32_t shared_per_sm = 0, shared_per_block = 0, l2 = 0;  // bytes
  uint32_t clock_khz = 0, memory_khz = 0, bus_bits = 0;      // 0: the driver does not say
  bool integrated = false;                                   // shares memory with the CPU
  uint64_t total_memory = 0;                                 // bytes
  // What programs can take: MemAvailable where memory is shared, else all of the device's.
  uint64_t available_memory = 0;
  // What a CUDA context took of it; on a card of its own other processes' memory is included.
  uint64_t context_memory = 0;

  // Double data rate: two transfers a clock. 0 when clock or width is not known.
  double pin_bandwidth_gb_s() const { return 2.0 * memory_khz * bus_bits / 8 / 1e6; }
};

// Throws Failure(kDevice) when there is no driver or no such device.
DeviceFacts read_device_facts(int ordinal);
// Without available_memory and context_memory, for which a context has to be created.
DeviceFacts read_device_attributes(int ordinal);

// A file for `jllmc compile --target`, in the form of compiler/target/README.md. `bandwidth_gb_s`
// replaces the driver's figure when it is above 0. Throws Failure(kUsage) when no bandwidth is
// known.
std::string target_json(const DeviceFacts& facts, const std::string& target_name,
                        double bandwidth_gb_s);

}  // namespace jllm::tool

// What the compiler plans with: one device in one power mode. Devices are data files
// (compiler/target/data/*.json), built in by name; a user's own file has the same form.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/target/description.h"
#include "schema/weight_type.h"

namespace jllm::target {

// The device kernels use mma.m16n8k16 and cp.async, which came with compute capability 8.0.
constexpr uint32_t kMinComputeCapability = 80;

struct Target {
  std::string name;         // "orin-nano-8gb"; with "@15w" where that is not the default mode
  std::string device_name;  // "Jetson Orin Nano 8GB", likewise with " (15w)"
  std::string mode;         // "25w", empty where there are none
  bool is_host = false;
  uint32_t compute_capability = 0;  // 87 for sm_87
  uint32_t sm_count = 0;            // only guides grid sizes; plans run with any count
  uint32_t max_cuda_major = 0;  // newest CUDA major version that the device's driver loads; 0: any
  uint64_t ram_bytes = 0;       // as sold, 0: unknown
  uint64_t visible_bytes = 0;   // memory that the system reports, 0: unknown
  uint64_t budget_bytes = 0;    // what a plan may take in all, 0: no limit
  uint64_t budget_headless_bytes = 0;  // what it is without a desktop,
  uint64_t budget_desktop_bytes = 0;   // and with one; 0: unknown
  uint64_t context_bytes = 0;          // estimate: CUDA context, stacks, graph objects
  uint64_t largest_allocation = 0;     // bytes, 0: no limit
  double bandwidth_gbps = 0;           // planning bandwidth, 1e9 bytes per second, 0: unknown
  double pin_bandwidth_gbps = 0;       // what the memory's pins carry, 0: unknown
  std::string bandwidth_basis;         // "0.75 x 102.4 GB/s pin rate"
  uint32_t prefill_chunk = 0;          // default of --prefill-chunk, tokens
  WeightType default_kv = WeightType::kF16;
  std::vector<std::string> warnings;  // "avoid L4T r36.4.7 ..."

  friend bool operator==(const Target&, const Target&) = default;
};

// NAME[@MODE], FILE.json[@MODE], or "sm_87" for any chip of that compute capability, without a
// budget. kUnsupported, listing what there is, for names and modes that are unknown.
llvm::Expected<Target> find(llvm::StringRef name_or_path);

// All that is known of a NAME or FILE.json.
llvm::Expected<Description> describe(llvm::StringRef name_or_path);

// One mode of a device; empty: its default.
llvm::Expected<Target> resolve(const Description& device, llvm::StringRef mode);

// Plans for a system with a desktop; kUnsupported where its cost is unknown.
llvm::Error use_desktop_budget(Target* target);

// Success where plans can be compiled for the device, rather than only planned (kUnsupported).
llvm::Error check_compilable(const Target& target);

std::vector<std::string> builtin_names();

}  // namespace jllm::target

// What the compiler knows of a device. Targets are data files (compiler/target/data/*.json), built in by name;
// a user's own file has the same form.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <string>
#include <vector>

#include "schema/weight_type.h"

namespace jllm::target {

struct Target {
  std::string name;         // "orin-nano-8gb"
  std::string device_name;  // "Jetson Orin Nano 8GB"
  bool is_host = false;
  uint32_t compute_capability = 0;  // 87 for sm_87
  uint32_t sm_count = 0;            // only guides grid sizes; plans run with any count
  uint32_t max_cuda_major = 0;      // newest CUDA major version that the device's driver loads; 0: any
  uint64_t visible_bytes = 0;       // memory that the system reports, 0: unknown
  uint64_t budget_bytes = 0;        // what a plan may take in all, 0: no limit
  uint64_t context_bytes = 0;       // estimate: CUDA context, stacks, graph objects
  uint64_t largest_allocation = 0;  // bytes, 0: no limit
  double bandwidth_gbps = 0;        // planning bandwidth, 1e9 bytes per second, 0: unknown
  uint32_t prefill_chunk = 0;       // default of --prefill-chunk, tokens
  WeightType default_kv = WeightType::kF16;
};

// A built-in name, "sm_87" style generic target, or the path of a .json file. kUnsupported lists the names.
llvm::Expected<Target> find(llvm::StringRef name_or_path);

std::vector<std::string> builtin_names();

}  // namespace jllm::target

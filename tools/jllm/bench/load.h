// How long loading takes at least: reading the plan's file and copying it to the device, with
// nothing else. Measured in a process of its own, so that both it and the executor begin without a
// driver.
#pragma once

#include <string>

namespace jllm::tool {

struct LoadFloor {
  double context_seconds = 0;  // CUDA: until the device can be used
  double read_seconds = 0;
  double upload_seconds = 0;  // CUDA
  double total() const { return context_seconds + read_seconds + upload_seconds; }
};

// Call before this process has touched the CUDA driver. With `cold` the file is dropped from the
// page cache before and afterwards, else it is in the cache before and afterwards. Throws Failure.
LoadFloor measure_load_floor(const std::string& path, bool is_host, int device, bool cold);

}  // namespace jllm::tool

// How fast this device's memory can be read at best: the floor that a profile holds nodes against.
#pragma once

#include <string>

namespace jllm::tool {

struct ReadCeiling {
  double gigabytes_per_second = 0;  // 0: not known
  std::string source;               // "measured: ...", or why there is none
};

// Threads that sum a large buffer.
ReadCeiling host_read_ceiling(unsigned threads);
// A kernel that reads a large buffer; the driver's pin rate where that does not work. Call while no
// executor holds the memory.
ReadCeiling cuda_read_ceiling(int device);

}  // namespace jllm::tool

// Planned against measured memory: what `jllm run -v` prints, so that the compiler's estimates can
// be corrected.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/jllm/session.h"

namespace jllm::tool {

struct MemoryLine {
  std::string name;
  uint64_t planned = 0;  // bytes
  int64_t measured = 0;  // bytes; negative when others gave back more than was taken
  std::string how;       // it was measured
};

std::vector<MemoryLine> memory_lines(const OpenPlan& plan, Session& session);

void print_memory_table(const std::vector<MemoryLine>& lines);  // on standard error

}  // namespace jllm::tool

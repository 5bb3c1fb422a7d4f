#include "tools/jllm/memory_table.h"

#include <cstdio>

namespace jllm::tool {
namespace {

int64_t difference(uint64_t after, uint64_t before) {
  return static_cast<int64_t>(after) - static_cast<int64_t>(before);
}

double mebibytes(double bytes) { return bytes / (1024 * 1024); }

}  // namespace

std::vector<MemoryLine> memory_lines(const OpenPlan& plan, Session& session) {
  const MemoryUse& use = session.executor().memory_use();
  const DeviceMemoryMarks& marks = session.executor().device_memory();
  const fb::Requirements& needs = *plan.view().plan().requirements();
  const HostMemory& before = session.memory_before();
  const HostMemory& after = session.memory_after();
  const uint64_t arenas = use.device_total();
  const uint64_t device = arenas + needs.code_memory_estimate() + needs.graph_bytes_estimate() +
                          needs.context_bytes_estimate();
  std::vector<MemoryLine> lines;
  if (marks.total != 0) {
    lines.push_back({"arenas", arenas, difference(marks.arenas, marks.context), "cuMemGetInfo"});
    lines.push_back({"code", needs.code_memory_estimate(), difference(marks.code, marks.arenas),
                     "cuMemGetInfo"});
    lines.push_back({"CUDA graphs", needs.graph_bytes_estimate(),
                     difference(marks.graphs, marks.code), "cuMemGetInfo"});
    lines.push_back({"CUDA context", needs.context_bytes_estimate(), difference(marks.context, 0),
                     "cuMemGetInfo, other processes included"});
    lines.push_back({"device in all", device, difference(marks.graphs, 0),
                     "cuMemGetInfo, other processes included"});
  }
  // On the host the arenas are part of the process.
  const bool is_host = marks.total == 0;
  const uint64_t process = needs.host_bytes_estimate() + use.pinned + (is_host ? arenas : 0);
  lines.push_back(
      {"process", process, difference(after.resident, after.libraries), "VmRSS without RssFile"});
  const bool all = marks.is_host_memory && !is_host;
  lines.push_back({"system", all ? device + process : process,
                   difference(before.available, after.available), "MemAvailable"});
  return lines;
}

void print_memory_table(const std::vector<MemoryLine>& lines) {
  std::fprintf(stderr, "  %-14s %12s %12s %12s\n", "memory, MiB", "planned", "measured",
               "difference");
  for (const MemoryLine& line : lines) {
    const double planned = mebibytes(double(line.planned));
    const double measured = mebibytes(double(line.measured));
    std::fprintf(stderr, "  %-14s %12.1f %12.1f %+12.1f  %s\n", line.name.c_str(), planned,
                 measured, measured - planned, line.how.c_str());
  }
}

}  // namespace jllm::tool

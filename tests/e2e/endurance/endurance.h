// Ten thousand tokens after create(): prompts, plain and speculated steps, sampling and rewinds,
// while the process and the device must not grow.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "jllm/executor.h"

namespace jllm::test {

constexpr uint32_t kEnduredTokens = 10000;

// A plan of the tiny model for this target, with verify graphs.
std::vector<uint8_t> endurance_plan(const char* target);

// Memory of this process' own that is in use, bytes: anonymous pages as /proc/self/smaps_rollup
// counts them, one by one. Pages of files are left out: the kernel maps code around what runs.
uint64_t own_bytes();

// Runs kEnduredTokens after a warm-up of a tenth of them; `measures` are taken after the warm-up,
// after every tenth, and at the end. Since the warm-up each may have grown by less than a byte a
// token. The figures go to standard output.
struct Measure {
  const char* name;
  std::function<uint64_t()> bytes;
};
void expect_flat(const std::vector<uint8_t>& plan, const ExecutorOptions& options,
                 const std::vector<Measure>& measures);

}  // namespace jllm::test

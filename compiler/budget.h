// Where a device's memory goes, and what to expect of a plan on it.
#pragma once

#include <cstdint>
#include <optional>

#include "compiler/plan.h"

namespace jllm {

// Bytes.
struct Budget {
  uint64_t weights = 0, kv = 0, scratch = 0, state = 0, pinned = 0;
  uint64_t code = 0;     // machine code in the driver's memory: an estimate
  uint64_t graphs = 0;   // estimate: CUDA graphs
  uint64_t context = 0;  // estimate: CUDA context, stacks
  uint64_t host = 0;     // estimate: the executor's process beside its arenas
  uint64_t reserve = 0;  // kept free on the user's wish
  uint64_t limit = 0;    // planning budget, 0: none

  uint64_t total() const {
    return weights + kv + scratch + state + pinned + code + graphs + context + host + reserve;
  }
  bool fits() const { return limit == 0 || total() <= limit; }
  uint64_t missing() const { return fits() ? 0 : total() - limit; }
};

struct BudgetOptions {
  std::optional<uint64_t> limit;  // default: the target's
  uint64_t reserve = 0;
};

// What a plan takes, without the plan.
struct Footprint {
  Budget budget;
  model::ProgramOptions options;     // as resolved
  uint64_t weights_per_token = 0;    // bytes that one decode step reads
  uint64_t scratch_lower_bound = 0;  // no layout is smaller
  uint64_t recent_bytes = 0;         // of the state: what layers keep of the last positions
  uint64_t speculation_bytes = 0;    // what the budget would be smaller by without; see Planner
  uint64_t kernels = 0;
  uint64_t launches = 0;  // of all graphs
  bool code_is_compiled =
      false;  // its size is known, rather than guessed from the number of kernels
};

// Device memory that modules of this size take once they are loaded: an estimate.
uint64_t code_memory(uint64_t module_bytes);

Footprint make_footprint(const PlannedModel& planned, const BudgetOptions& options);

// Fills in what the device and the user decide: the limit, the reserve, what CUDA takes.
void set_limits(const target::Target& target, const BudgetOptions& options, Budget* budget);

struct Prediction {
  uint64_t bytes_per_token = 0;  // weights, and the KV cache when the context is full
  double tokens_per_second = 0;  // bandwidth / bytes_per_token; 0: bandwidth unknown
  double load_seconds = 0;       // weights / kStorageBytesPerSecond
};
// Assumption about the device's disk (NVMe; an SD card reads a tenth of it). No device was
// measured.
constexpr double kStorageBytesPerSecond = 1e9;

Prediction predict(const Footprint& footprint, const target::Target& target);

}  // namespace jllm

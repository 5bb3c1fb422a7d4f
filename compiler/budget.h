// Where a device's memory goes, and the largest context that fits it.
#pragma once

#include <llvm/Support/Error.h>

#include <cstdint>

#include "compiler/plan.h"

namespace jllm {

// Bytes.
struct Budget {
  uint64_t weights = 0, kv = 0, scratch = 0, state = 0, pinned = 0;
  uint64_t code = 0;     // machine code: an estimate until it is compiled
  uint64_t context = 0;  // estimate: CUDA context, graph objects
  uint64_t reserve = 0;  // kept free on the user's wish
  uint64_t limit = 0;    // planning budget, 0: none

  uint64_t total() const {
    return weights + kv + scratch + state + pinned + code + context + reserve;
  }
  bool fits() const { return limit == 0 || total() <= limit; }
};

struct BudgetOptions {
  std::optional<uint64_t> limit;  // default: the target's
  uint64_t reserve = 0;
};

Budget make_budget(const PlannedModel& planned, const BudgetOptions& options);

// The largest context, up to the model's own, with which the plan fits: a multiple of 64 unless it is the
// model's own. 0 when not even the smallest fits. options.context is ignored.
llvm::Expected<uint32_t> largest_context(const gguf::File& file, const target::Target& target,
                                         PlanOptions options, const BudgetOptions& budget);

}  // namespace jllm

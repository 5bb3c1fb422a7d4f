// Plans of one model, remembered: what a plan takes is the same on all devices that the planner
// cannot tell apart, so that asking about many devices, contexts and cache types stays quick.
#pragma once

#include <llvm/Support/Error.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "compiler/budget.h"
#include "compiler/plan.h"

namespace jllm {

class Planner {
 public:
  // `file` must outlive the Planner.
  explicit Planner(const gguf::File& file) : file_(file) {}

  const gguf::File& file() const { return file_; }

  // Errors are those of plan_model(). Counts what speculation adds, too.
  llvm::Expected<Footprint> footprint(const target::Target& target, const PlanOptions& options,
                                      const BudgetOptions& budget);

  // The options with speculation decided: as asked, else kDefaultDraft where the plan fits with
  // it as it does without.
  llvm::Expected<PlanOptions> resolve(const target::Target& target, PlanOptions options,
                                      const BudgetOptions& budget);

  // The largest context, up to the model's own, with which the plan fits: a multiple of 64 unless
  // it is the model's own. 0 when not even the smallest fits. options.context is ignored.
  llvm::Expected<uint32_t> largest_context(const target::Target& target, PlanOptions options,
                                           const BudgetOptions& budget);

 private:
  struct Known {
    target::Target target;  // only what plans depend on
    PlanOptions options;
    Footprint footprint;
  };

  const gguf::File& file_;
  std::vector<Known> known_;
};

}  // namespace jllm

#include "compiler/budget.h"

#include "compiler/support/error.h"

namespace jllm {
namespace {

// Mean size of a compiled kernel; plans for sm_87 made by NVRTC 12.6 have 20 to 23 KiB per kernel.
constexpr uint64_t kCodeBytesPerKernel = 24 * 1024;
constexpr uint32_t kContextStep = 64;  // positions

}  // namespace

Budget make_budget(const PlannedModel& planned, const BudgetOptions& options) {
  using memory::ArenaKind;
  const memory::Layout& layout = planned.layout;
  Budget budget;
  budget.weights = layout.total(ArenaKind::kWeights);
  budget.kv = layout.total(ArenaKind::kKv);
  budget.scratch = layout.total(ArenaKind::kScratch);
  budget.state = layout.total(ArenaKind::kState);
  budget.pinned = layout.total(ArenaKind::kHostPinned);
  budget.code = planned.target.is_host ? 0 : planned.schedule.kernels.size() * kCodeBytesPerKernel;
  budget.context = planned.target.context_bytes;
  budget.reserve = options.reserve;
  budget.limit = options.limit.value_or(planned.target.budget_bytes);
  return budget;
}

llvm::Expected<uint32_t> largest_context(const gguf::File& file, const target::Target& target,
                                         PlanOptions options, const BudgetOptions& budget) {
  const auto fits = [&](uint32_t context) -> llvm::Expected<bool> {
    options.context = context;
    llvm::Expected<PlannedModel> planned = plan_model(file, target, options);
    if (!planned) {
      // A buffer of such a context may be more than one allocation can hold: that is an answer.
      const auto [code, text] = take_error(planned.takeError());
      if (code == ExitCode::kDoesNotFit) return false;
      return fail(code, "{0}", text);
    }
    return make_budget(*planned, budget).fits();
  };
  llvm::Expected<model::Model> model = model::load(file);
  if (!model) return model.takeError();
  const uint32_t most = model->params.context_length;
  llvm::Expected<bool> all = fits(most);
  if (!all) return all.takeError();
  if (*all) return most;
  // Memory grows with the context: bisect over multiples of the step.
  uint32_t low = 0;
  uint32_t high = (most + kContextStep - 1) / kContextStep;
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    llvm::Expected<bool> ok = fits(middle * kContextStep);
    if (!ok) return ok.takeError();
    (*ok ? low : high) = middle;
  }
  return low * kContextStep;
}

}  // namespace jllm

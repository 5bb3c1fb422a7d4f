#include "compiler/budget.h"

#include "compiler/emit/plan_writer.h"

namespace jllm {
namespace {

// Mean size of a compiled kernel; plans for sm_87 made by NVRTC 12.6 have 20 to 23 KiB per kernel.
constexpr uint64_t kCodeBytesPerKernel = 24 * 1024;

}  // namespace

void set_limits(const target::Target& target, const BudgetOptions& options, Budget* budget) {
  budget->context = target.context_bytes;
  budget->reserve = options.reserve;
  budget->limit = options.limit.value_or(target.budget_bytes);
}

Footprint make_footprint(const PlannedModel& planned, const BudgetOptions& options) {
  using memory::ArenaKind;
  const memory::Layout& layout = planned.layout;
  Footprint footprint;
  footprint.options = planned.options;
  footprint.weights_per_token =
      emit::weights_read_per_token(planned.program, planned.target.is_host);
  footprint.scratch_lower_bound = layout.scratch_lower_bound;
  footprint.kernels = planned.schedule.kernels.size();
  Budget& budget = footprint.budget;
  budget.weights = layout.total(ArenaKind::kWeights);
  budget.kv = layout.total(ArenaKind::kKv);
  budget.scratch = layout.total(ArenaKind::kScratch);
  budget.state = layout.total(ArenaKind::kState);
  budget.pinned = layout.total(ArenaKind::kHostPinned);
  budget.code = planned.target.is_host ? 0 : footprint.kernels * kCodeBytesPerKernel;
  set_limits(planned.target, options, &budget);
  return footprint;
}

Prediction predict(const Footprint& footprint, const target::Target& target) {
  Prediction prediction;
  prediction.bytes_per_token = footprint.weights_per_token + footprint.budget.kv;
  if (target.bandwidth_gbps > 0 && prediction.bytes_per_token > 0) {
    prediction.tokens_per_second = target.bandwidth_gbps * 1e9 / double(prediction.bytes_per_token);
  }
  prediction.load_seconds = double(footprint.budget.weights) / kStorageBytesPerSecond;
  return prediction;
}

}  // namespace jllm

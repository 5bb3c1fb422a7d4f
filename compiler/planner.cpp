#include "compiler/planner.h"

#include <algorithm>

#include "compiler/support/error.h"

namespace jllm {
namespace {

constexpr uint32_t kContextStep = 64;  // positions

// The target without what no plan depends on.
target::Target as_planned(target::Target target) {
  target.name = target.device_name = target.mode = target.bandwidth_basis = "";
  target.warnings.clear();
  target.ram_bytes = target.visible_bytes = 0;
  target.budget_bytes = target.budget_headless_bytes = target.budget_desktop_bytes = 0;
  target.context_bytes = 0;
  target.bandwidth_gbps = target.pin_bandwidth_gbps = 0;
  return target;
}

}  // namespace

llvm::Expected<Footprint> Planner::footprint(const target::Target& target,
                                             const PlanOptions& options,
                                             const BudgetOptions& budget) {
  const target::Target key = as_planned(target);
  auto found = std::find_if(known_.begin(), known_.end(), [&](const Known& known) {
    return known.options == options && known.target == key;
  });
  if (found == known_.end()) {
    llvm::Expected<PlannedModel> planned = plan_model(file_, target, options);
    if (!planned) return planned.takeError();
    Footprint made = make_footprint(*planned, {});
    if (!made.options.verify_rows.empty()) {
      PlanOptions plain = options;
      plain.speculate = 0;
      llvm::Expected<Footprint> without = footprint(target, plain, {});
      if (!without) return without.takeError();
      made.speculation_bytes = made.budget.total() - without->budget.total();
    }
    known_.push_back({key, options, std::move(made)});
    found = known_.end() - 1;
  }
  Footprint footprint = found->footprint;
  set_limits(target, budget, &footprint.budget);
  return footprint;
}

llvm::Expected<PlanOptions> Planner::resolve(const target::Target& target, PlanOptions options,
                                             const BudgetOptions& budget) {
  if (options.speculate) return options;
  options.speculate = 0;
  PlanOptions speculating = options;
  speculating.speculate = kDefaultDraft;
  llvm::Expected<Footprint> plan = footprint(target, speculating, budget);
  if (plan) return plan->budget.fits() ? speculating : options;
  // Too large a buffer: whether it is there without speculation too, planning will tell.
  const auto [code, text] = take_error(plan.takeError());
  if (code == ExitCode::kDoesNotFit) return options;
  return fail(code, "{0}", text);
}

llvm::Expected<uint32_t> Planner::largest_context(const target::Target& target, PlanOptions options,
                                                  const BudgetOptions& budget) {
  Budget limits;
  set_limits(target, budget, &limits);
  using Bytes = std::optional<uint64_t>;  // empty: a buffer is more than one allocation can hold
  const auto total = [&](uint64_t context) -> llvm::Expected<Bytes> {
    options.context = static_cast<uint32_t>(context);
    llvm::Expected<Footprint> plan = footprint(target, options, budget);
    if (plan) return Bytes(plan->budget.total());
    const auto [code, text] = take_error(plan.takeError());
    if (code == ExitCode::kDoesNotFit) return Bytes();
    return fail(code, "{0}", text);
  };
  const auto fits = [&](const Bytes& bytes) {
    return bytes && (limits.limit == 0 || *bytes <= limits.limit);
  };
  llvm::Expected<model::Model> model = model::load(file_);
  if (!model) return model.takeError();
  const uint32_t most = model->params.context_length;
  llvm::Expected<Bytes> upper = total(most);
  if (!upper) return upper.takeError();
  if (fits(*upper)) return most;
  if (most <= kContextStep) return 0;
  llvm::Expected<Bytes> lower = total(kContextStep);
  if (!lower) return lower.takeError();
  if (!fits(*lower)) return 0;

  // Between the two, in steps: memory grows almost linearly with the context, so the line through
  // the bounds meets the limit where the search ends, or beside it. Now and then a bisection, for
  // lines that mislead.
  uint64_t low = 1;
  uint64_t high = (uint64_t{most} + kContextStep - 1) / kContextStep;
  for (uint32_t round = 0; high - low > 1; ++round) {
    uint64_t next = low + (high - low) / 2;
    if (*upper && round % 4 != 3) {
      const double share = double(limits.limit - **lower) / double(**upper - **lower);
      next = std::clamp(low + uint64_t(share * double(high - low)), low + 1, high - 1);
    }
    llvm::Expected<Bytes> bytes = total(next * kContextStep);
    if (!bytes) return bytes.takeError();
    (fits(*bytes) ? low : high) = next;
    (fits(*bytes) ? lower : upper) = *bytes;
  }
  return static_cast<uint32_t>(low * kContextStep);
}

}  // namespace jllm

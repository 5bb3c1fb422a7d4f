// What `jllmc fit` says of a model on a device, from the header of the model alone. The figures are
// those of the plan that `jllmc compile` would make.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compiler/planner.h"

namespace jllm::fit {

struct Question {
  PlanOptions plan;
  BudgetOptions budget;
  bool desktop = false;  // the budget of a system with a desktop; budget.limit goes before it
};

enum class Answer {
  kFits,
  kTight,  // fits, but leaves less than a twentieth of the budget, which estimates may eat up
  kDoesNotFit,
};
const char* answer_name(Answer answer);  // "fits", "tight", "does_not_fit"

// The largest context with a KV cache of one type, for K and V.
struct LargestContext {
  WeightType type;
  std::optional<uint32_t> context;  // 0: none fits; empty: the model cannot have such a cache
};
llvm::ArrayRef<WeightType> kv_types_shown();

struct Verdict {
  target::Target target;
  bool compilable = true;  // false: the device can be planned for, but has no kernels yet
  Answer answer = Answer::kFits;
  // Empty when there is no layout at all, because a buffer is more than one allocation can hold.
  std::optional<Footprint> footprint;
  std::string refusal;  // in that case: why
  Prediction prediction;
  std::vector<LargestContext> contexts;

  bool fits() const { return answer != Answer::kDoesNotFit; }
  uint64_t missing() const { return footprint ? footprint->budget.missing() : 0; }
};

// Whether the plan fits, without looking for contexts. Errors: the model cannot be planned at all.
llvm::Expected<Verdict> judge(Planner& planner, const target::Target& target,
                              const Question& question);
// Fills in `contexts`.
llvm::Error find_contexts(Planner& planner, const Question& question, Verdict* verdict);

// The devices to judge: `names` as the user gave them or, with `all`, every built-in device with a
// budget; with `modes` in each of their power modes. Budgets as question.desktop asks.
llvm::Expected<std::vector<target::Target>> targets_of(llvm::ArrayRef<std::string> names, bool all,
                                                       bool modes, const Question& question);

}  // namespace jllm::fit

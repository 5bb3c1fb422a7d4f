#include "tests/executor/core/plans.h"

#include "tests/support/recipe.h"

namespace jllm::test {

const std::vector<uint8_t>& host_plan_bytes() {
  static const std::vector<uint8_t> bytes = [] {
    PlanRecipe recipe;
    recipe.context = kContext;
    recipe.prefill_chunk = 32;
    recipe.speculate = 4;
    return plan_bytes(recipe);
  }();
  return bytes;
}

const PlanInMemory& host_plan() {
  static const PlanInMemory plan(host_plan_bytes());
  return plan;
}

}  // namespace jllm::test

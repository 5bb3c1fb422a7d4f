#include "tests/executor/core/plans.h"

#include "tests/support/tiny_plan.h"

namespace jllm::test {

const std::vector<uint8_t>& host_plan_bytes() {
  static const std::vector<uint8_t> bytes = [] {
    CompileOptions options;
    options.plan.context = kContext;
    options.plan.prefill_chunk = 32;
    options.plan.speculate = 4;
    return plan_bytes(tiny_model(), options);
  }();
  return bytes;
}

const PlanInMemory& host_plan() {
  static const PlanInMemory plan(host_plan_bytes());
  return plan;
}

}  // namespace jllm::test

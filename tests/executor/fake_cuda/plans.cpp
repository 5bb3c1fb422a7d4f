#include "tests/executor/fake_cuda/plans.h"

#include "tests/support/tiny_plan.h"

namespace jllm::test {

const std::vector<uint8_t>& fake_plan_bytes() {
  static const std::vector<uint8_t> bytes = [] {
    CompileOptions options;
    options.target = kFakeTarget;
    options.plan.context = kContext;
    options.plan.prefill_chunk = 16;
    options.plan.speculate = 1;
    synth::SynthOptions model = tiny_model();
    model.context = kContext;
    return plan_bytes(model, options);
  }();
  return bytes;
}

const PlanInMemory& fake_plan() {
  static const PlanInMemory plan(fake_plan_bytes());
  return plan;
}

TokensOnly::TokensOnly() {
  fake_cuda()->set_junk(0);
  fake_cuda()->execute_only("sample accept draft finish_chunk");
}

TokensOnly::~TokensOnly() {
  fake_cuda()->set_junk(0xff);
  fake_cuda()->execute_only(nullptr);
}

Sampling any_token() {
  Sampling sampling;
  sampling.temperature = 1.0f;
  sampling.ignore_end = true;
  return sampling;
}

}  // namespace jllm::test

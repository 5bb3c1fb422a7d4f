// The plan that the tests of the CUDA backend run on the fake device: two layers, F32 weights.
#pragma once

#include "tests/support/fake_cuda.h"
#include "tests/support/running_plan.h"

namespace jllm::test {

constexpr uint32_t kVocab = 512;
constexpr uint32_t kSteps = 10000;
constexpr uint32_t kContext = 128;

const std::vector<uint8_t>& fake_plan_bytes();
const PlanInMemory& fake_plan();
const PlanInMemory& long_fake_plan();  // with kSteps positions more

// While one lives, only kernels that move tokens are executed, on logits that are all 0: for tests
// of the driver's calls, where what a model says is of no matter.
// Steps need any_token(): greedy ones ask `head` for the largest.
class TokensOnly {
 public:
  TokensOnly();
  ~TokensOnly();
};

Sampling any_token();

}  // namespace jllm::test

// The plans that the executor's tests run: made once, F32 weights, context 64, chunks of 16 and 32.
#pragma once

#include "tests/support/running_plan.h"

namespace jllm::test {

constexpr uint32_t kContext = 64;
constexpr uint32_t kVocab = 512;

const std::vector<uint8_t>& host_plan_bytes();
const PlanInMemory& host_plan();

}  // namespace jllm::test

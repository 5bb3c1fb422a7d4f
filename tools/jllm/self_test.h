// A plan's self-test: made with the host backend when the plan is compiled, held against the device
// when it is there.
//
// Tolerance. Devices differ in how they round activations: to 15 bits, to halves (2^-11 / sqrt(3) =
// 2.8e-4 of a value) or, where the plan says so, to 8 bits (0.57 %). One row of logits stands
// behind four products a block and one more, whose errors add in squares; so a logit is off by that
// times the deviation of its row, and real models amplify it. kAmplification times as much is
// allowed, but never more than half a deviation: what is broken is off by a whole one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schema/selftest_generated.h"
#include "tools/jllm/session.h"

namespace jllm::tool {

// Tokens of the longest self-test.
constexpr uint32_t kSelfTestPrompt = 24;
constexpr uint32_t kSelfTestSteps = 16;
constexpr uint32_t kSelfTestContext = 64;

struct SelfTestOptions {
  uint32_t context = kSelfTestContext;  // positions of the plan that is to be tested
  bool eight_bits = false;              // it rounds activations to 8 bits
};

// The segment, computed by this plan for the host. Throws Failure.
std::vector<uint8_t> make_self_test(OpenPlan& plan, const SelfTestOptions& options);

struct SelfTestVerdict {
  uint32_t steps = 0;
  uint32_t wrong_tokens = 0;  // other than expected, beyond what rounding can do
  uint32_t close_tokens = 0;  // other than expected, where two were nearly as good
  uint32_t missed = 0;        // steps with a wrong token or a logit out of its tolerance
  uint32_t may_miss = 0;
  double largest_error = 0;  // of a logit, in tolerances
  bool exact = false;        // every logit has the very bits that the compiler saw
  bool passed() const { return missed <= may_miss; }
};

// Throws Failure where the plan has no self-test (kUnsupported) or an invalid one.
SelfTestVerdict run_self_test(OpenPlan& plan, Session& session);

}  // namespace jllm::tool

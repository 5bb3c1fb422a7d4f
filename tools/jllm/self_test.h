// A plan's self-test: made with the host backend when the plan is compiled, held against the device
// when it is there.
//
// How far a logit may be off is measured on the model itself. Beside the exact plan a rough one
// runs, in which one operand of every product is rounded to 8 bits; what that moves the logits that
// are compared, at most, is what the tolerance is made from.
//  - Rounding. Of 32 normally distributed values, the largest at 127, rounding takes
//    kEightBitRounding of their deviation; halves lose at most 2^-11 / sqrt(3). A device rounds
//    both operands to halves, in the four products of a block with weights and in the two of
//    attention: 3 times as many roundings, whose squares add up. So it moves logits
//      share = sqrt(3) * (2^-11 / sqrt(3)) / kEightBitRounding = 9 %
//    as far. Where the plan itself rounds to 8 bits, device and host each do: sqrt(2).
//  - Caches of 8 bits or fewer. A value near the middle of two steps falls to either. How often
//  goes
//    with the rounding, how far does not: the mean square goes with the share, and its root is
//    taken.
//  - Experts. Which of two computes may hang on any rounding, and logits then move as far as the
//    rough plan, which flips more often, has moved them: the share is 1.
//  - Chance. Of 256 normal errors (16 steps, 16 logits) the largest lies near 3 deviations; twice
//    that are exceeded by one logit in 500 million, so by one right device in two million. And
//    where some logits are moved more than others, the largest has shown it.
// It is at most half the deviation of a step's logits: those of another model would be off by 1.4
// deviations, and 256 of them do not all come closer than a half.
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
  bool experts = false;                 // a router chooses some
  bool cache_of_quants = false;         // keys or values are stored in 8 bits or fewer
};

// The segment, computed by these plans for the host. Throws Failure.
std::vector<uint8_t> make_self_test(OpenPlan& exact, OpenPlan& rough,
                                    const SelfTestOptions& options);

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

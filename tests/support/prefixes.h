// Whether a sequence whose beginning was saved and put back goes on as the one that computed it,
// on any backend, bit for bit.
#pragma once

#include "tests/support/speculation.h"

namespace jllm::test {

// The first `count` tokens of the selected sequence, saved in pieces of `piece` bytes.
std::vector<uint8_t> save_prefix(RunningPlan& run, uint32_t count, uint64_t piece);
// Put back, in pieces as well.
void load_prefix(RunningPlan& run, const Tokens& tokens, const std::vector<uint8_t>& bytes,
                 uint64_t piece);

// Two executors of one plan: prefixes that `run` computes in slot 0, and `other` loads into its
// last slot, in place of something else.
void check_saved_prefixes(RunningPlan& run, RunningPlan& other, const Sampling& sampling);

// What is refused changes nothing, but that a sequence which was to be replaced is gone.
void check_prefix_refusals(RunningPlan& run);

}  // namespace jllm::test

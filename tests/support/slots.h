// Whether sequences in several slots of a plan are what they would be alone, on any backend: checks
// that hold tokens and logits against those of plain decoding, bit for bit.
#pragma once

#include "tests/support/speculation.h"

namespace jllm::test {

// Different prompts in all slots, decoded together: sequences join and leave batches between
// steps, in changing order, and each gets what it gets alone in slot 0.
void check_batches(RunningPlan& run, const Sampling& sampling);

// Prefixes copied from slot to slot go on as if they had been put in there.
void check_copies(RunningPlan& run, const Sampling& sampling);

// A step of all slots is asked for before the tokens of the last are taken. Sequences end at any
// time, of themselves where there is an `end_token`, and leave a token in flight; others begin in
// their slots, behind what those have kept or what is copied from slots that go on.
void check_ahead(RunningPlan& run, const Sampling& sampling, const uint32_t* end_token);

// Only tokens that the mask allows are sampled, the likeliest of them; the other slots are free.
void check_masks(RunningPlan& run);

}  // namespace jllm::test

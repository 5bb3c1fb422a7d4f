// Whether drafts change what a plan generates, on any backend: checks that hold tokens and logits
// against those of plain decoding, bit for bit.
#pragma once

#include "tests/support/running_plan.h"

namespace jllm::test {

// Text that repeats, with a little noise in between.
Tokens repetitive_prompt(uint32_t n, uint32_t vocab);

// What plain decoding makes of a prompt.
struct Plain {
  Tokens tokens;
  std::vector<Logits> logits;  // that each token was sampled from
  StepDone done = kRunning;    // behind the last
};
Plain decode_plainly(RunningPlan& run, const Tokens& prompt, const Sampling& sampling, uint32_t n);

// Enqueues drafts of every length, made of the plain tokens and in about half of the cases with a
// wrong one among them. Exactly the right ones in front of it must be kept.
void check_drafts(RunningPlan& run, const Tokens& prompt, const Sampling& sampling,
                  const Plain& plain);

// generate() with at most `most` drafted tokens a step. Counts what it did.
SpeculationCounts check_generate(RunningPlan& run, const Tokens& prompt, const Sampling& sampling,
                                 const Plain& plain, uint32_t most);

// Samplings that use every part of the chain.
struct NamedSampling {
  const char* name;
  Sampling sampling;
};
std::vector<NamedSampling> samplings();

}  // namespace jllm::test

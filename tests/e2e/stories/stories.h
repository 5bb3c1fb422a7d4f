// stories260K, a llama of 5 layers trained on short stories, and what other programs make of it:
// greedy tokens and logits from a float64 transcription, and a text from run.c.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm::test {

struct StoriesCase {
  std::string name;
  Tokens prompt;
  Tokens greedy;                      // what follows
  std::vector<double> margins;        // of greedy[i]: distance to the second largest logit
  std::map<uint32_t, Logits> logits;  // by position in prompt + greedy
};

// The cases of the golden file; empty (and a failed test) when it cannot be read.
const std::vector<StoriesCase>& stories_cases();

// A plan of the model for `options` (input and output are filled in here).
std::vector<uint8_t> stories_plan(CompileOptions options);

// The largest difference of any golden logit, over all cases; every token is forced, one by one.
double largest_logit_error(RunningPlan& run);

// How many tokens of the greedy continuation are the golden ones, up to `n` and from the first.
size_t equal_greedy_tokens(RunningPlan& run, const StoriesCase& story, size_t n);

}  // namespace jllm::test

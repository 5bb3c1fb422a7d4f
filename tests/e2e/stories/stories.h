// stories260K, a llama of 5 layers trained on short stories, and what other programs make of it:
// greedy tokens and logits from a float64 transcription, and a text from run.c.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm::test {

// How far logits may be from the float64 ones, which are up to 20, where the KV cache is f32. A sum
// of n products rounds by at most n * 2^-24 of the sum of magnitudes; the longest here has 172
// terms (feed-forward down), so by 1e-5 at worst and by its square root's share, 1e-6, as a rule.
// Five layers add two such sums each to the residual stream: 10 * 20 * 1e-6 = 2e-4 if all errors
// had the same sign. They have not, and 1e-4 leaves a factor of 5 over what the host shows
// (1.7e-5).
constexpr double kF32Bound = 1e-4;

// The same with a KV cache of halves. Rounding K and V is a property of model and format: on the
// host, where all else is f32, it moves the golden logits by up to 2.24e-2. Any other arithmetic
// adds its own error, and another rounding where a value stood close to the middle. The bound is
// half the smallest margin (0.0526) of the first hundred greedy tokens: below it, none of them is
// in doubt.
constexpr double kF16KvBound = 0.0263;
constexpr size_t kCertainTokens = 100;

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

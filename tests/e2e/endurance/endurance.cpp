#include "tests/e2e/endurance/endurance.h"

#include <gtest/gtest.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm::test {
namespace {

constexpr uint32_t kContext = 128;
constexpr uint32_t kVocab = 512;

// One conversation of kContext tokens at most: a prompt, a rewind, sampled and greedy tokens.
void converse(RunningPlan& run, uint32_t number, uint32_t* tokens) {
  Sampling sampling;
  sampling.temperature = number % 2 == 0 ? 0.8f : 0;
  sampling.top_k = 40;
  sampling.top_p = 0.9f;
  sampling.repeat_penalty = 1.1f;
  sampling.seed = number;
  sampling.ignore_end = true;
  run.set_sampling(sampling);
  run.rewind(0);
  run.prefill(random_tokens(20 + number % 30, kVocab, number));
  for (int i = 0; i < 20; ++i) run.step();
  run.rewind(run->count() - 10);
  while (run->count() < kContext) {
    const Result<SampledToken> token = run->generate();
    ASSERT_TRUE(token.ok()) << run->last_error();
  }
  *tokens += run->count();
}

}  // namespace

std::vector<uint8_t> endurance_plan(const char* target) {
  CompileOptions options;
  options.target = target;
  options.plan.context = kContext;
  options.plan.prefill_chunk = 32;
  options.plan.speculate = 4;
  return plan_bytes(tiny_model(), options);
}

uint64_t own_bytes() {
  static char text[4096];  // nothing here may take memory itself
  std::FILE* file = std::fopen("/proc/self/smaps_rollup", "r");
  if (file == nullptr) return 0;
  const size_t n = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  text[n] = '\0';
  const char* line = std::strstr(text, "\nAnonymous:");
  uint64_t kib = 0;
  if (line == nullptr || std::sscanf(line, "\nAnonymous: %" SCNu64, &kib) != 1) return 0;
  return kib << 10;
}

void expect_flat(const std::vector<uint8_t>& bytes, const ExecutorOptions& options,
                 const std::vector<Measure>& measures) {
  const PlanInMemory plan(bytes);
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  RunningPlan run(plan, options);
  ASSERT_TRUE(run.ok()) << run.create_message;
  uint32_t tokens = 0;
  uint32_t conversation = 0;
  const auto go_on_until = [&](uint32_t wanted) {
    while (tokens < wanted) {
      ASSERT_NO_FATAL_FAILURE(converse(run, conversation++, &tokens));
    }
  };
  constexpr uint32_t kTenth = kEnduredTokens / 10;
  ASSERT_NO_FATAL_FAILURE(go_on_until(kTenth));
  std::vector<uint64_t> first(measures.size());
  for (size_t i = 0; i < measures.size(); ++i) {
    first[i] = measures[i].bytes();
    ASSERT_GT(first[i], 0u) << measures[i].name << " cannot be read";
    std::printf("  %6u tokens: %s %" PRIu64 " KiB\n", tokens, measures[i].name, first[i] >> 10);
    first[i] = measures[i].bytes();  // behind the first line, for which printf takes a buffer
  }
  for (uint32_t part = 2; part <= 11; ++part) {
    ASSERT_NO_FATAL_FAILURE(go_on_until(part * kTenth));
    for (size_t i = 0; i < measures.size(); ++i) {
      const uint64_t now = measures[i].bytes();
      std::printf("  %6u tokens: %s %" PRIu64 " KiB\n", tokens, measures[i].name, now >> 10);
      // A driver may touch a page of its own late, once; whoever loses a byte a token is found.
      EXPECT_LT(now, first[i] + tokens - kTenth) << measures[i].name << " grew";
    }
  }
}

}  // namespace jllm::test

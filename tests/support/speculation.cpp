#include "tests/support/speculation.h"

#include <algorithm>
#include <random>

namespace jllm::test {
namespace {

void start(RunningPlan& run, const Tokens& prompt, const Sampling& sampling) {
  run.set_sampling(sampling);
  run.rewind(0);
  run.prefill(prompt);
}

SpeculationCounts difference(const SpeculationCounts& a, const SpeculationCounts& b) {
  return {a.steps - b.steps, a.drafts - b.drafts, a.drafted - b.drafted, a.accepted - b.accepted};
}

}  // namespace

Tokens repetitive_prompt(uint32_t n, uint32_t vocab) {
  const Tokens phrase = random_tokens(9, vocab, 3);
  Tokens prompt;
  for (uint32_t i = 0; i < n; ++i) prompt.push_back(i % 23 == 22 ? i : phrase[i % 9]);
  return prompt;
}

Plain decode_plainly(RunningPlan& run, const Tokens& prompt, const Sampling& sampling, uint32_t n) {
  start(run, prompt, sampling);
  Plain plain;
  while (plain.tokens.size() < n && plain.done == kRunning) {
    const SampledToken token = run.step();
    plain.tokens.push_back(token.id);
    plain.logits.push_back(run.logits());
    plain.done = token.done;
  }
  return plain;
}

void check_drafts(RunningPlan& run, const Tokens& prompt, const Sampling& sampling,
                  const Plain& plain) {
  start(run, prompt, sampling);
  ASSERT_EQ(run.step().id, plain.tokens[0]);  // behind a prompt nothing is drafted
  const uint32_t most = run->most_drafted();
  ASSERT_GT(most, 0u);
  std::mt19937 random(5);
  StepDone done = kRunning;
  for (size_t at = 1; at < plain.tokens.size();) {
    const size_t left = plain.tokens.size() - at;
    const uint32_t room = run->context() - run->count();
    Tokens guesses;
    for (size_t i = 0, n = 1 + random() % most; i < n; ++i) {
      guesses.push_back(i < left ? plain.tokens[at + i] : 0);
    }
    if (random() % 2 == 0) {
      uint32_t& wrong = guesses[random() % guesses.size()];
      wrong = (wrong + 1) % run->vocab_size();
    }
    const auto verified = std::min<size_t>(guesses.size(), room);
    size_t right = 0;
    while (right < verified && right + 1 < left && guesses[right] == plain.tokens[at + right]) {
      ++right;
    }
    const bool to_the_end = right + 1 == left;  // and perhaps beyond, where nothing is known
    if (to_the_end && plain.done == kRunning) break;

    const Result<uint32_t> enqueued =
        run->enqueue_draft(guesses.data(), static_cast<uint32_t>(guesses.size()));
    ASSERT_TRUE(enqueued.ok()) << run->last_error();
    ASSERT_EQ(enqueued.value(), verified);
    for (size_t i = 0; i <= right; ++i) {
      const Result<SampledToken> token = run->next();
      ASSERT_TRUE(token.ok()) << run->last_error();
      ASSERT_EQ(token.value().id, plain.tokens[at + i]) << "token " << at + i;
      done = token.value().done;
    }
    ASSERT_EQ(run->in_flight(), 0u) << "token " << at;
    at += right + 1;
    ASSERT_EQ(run.logits(), plain.logits[at - 1]) << "token " << at - 1 << ", row " << right;
  }
  EXPECT_EQ(done, plain.done);
}

SpeculationCounts check_generate(RunningPlan& run, const Tokens& prompt, const Sampling& sampling,
                                 const Plain& plain, uint32_t most) {
  start(run, prompt, sampling);
  run->set_speculation(most);
  const SpeculationCounts before = run->speculation_counts();
  const auto n = static_cast<uint32_t>(plain.tokens.size());
  StepDone done = kRunning;
  Tokens tokens;
  while (tokens.size() < n && done == kRunning) {
    const Result<SampledToken> token = run->generate(n - static_cast<uint32_t>(tokens.size()));
    EXPECT_TRUE(token.ok()) << run->last_error();
    if (!token.ok()) break;
    tokens.push_back(token.value().id);
    done = token.value().done;
  }
  EXPECT_EQ(run->in_flight(), 0u);
  EXPECT_EQ(tokens, plain.tokens);
  EXPECT_EQ(done, plain.done);
  EXPECT_EQ(run.logits(), plain.logits.back());
  const SpeculationCounts counts = difference(run->speculation_counts(), before);
  EXPECT_EQ(counts.steps + counts.accepted, tokens.size());
  EXPECT_LE(counts.accepted, counts.drafted);
  EXPECT_LE(counts.drafts, counts.steps);
  EXPECT_LE(counts.drafted, counts.drafts * std::min(most, run->most_drafted()));
  return counts;
}

std::vector<NamedSampling> samplings() {
  Sampling greedy;
  greedy.ignore_end = true;
  Sampling penalised = greedy;
  penalised.repeat_penalty = 1.3f;
  penalised.repeat_last_n = 7;
  Sampling drawn = greedy;
  drawn.temperature = 0.9f;
  drawn.seed = 12345;
  Sampling chain = penalised;
  chain.temperature = 0.7f;
  chain.top_k = 40;
  chain.top_p = 0.9f;
  chain.min_p = 0.02f;
  chain.seed = 99;
  return {{"Greedy", greedy}, {"Penalised", penalised}, {"Drawn", drawn}, {"WholeChain", chain}};
}

}  // namespace jllm::test

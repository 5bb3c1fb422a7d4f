#include "tools/jllm/bench/speculation.h"

#include <algorithm>
#include <cstdio>

namespace jllm::tool {
namespace {

constexpr uint32_t kPhrase = 32;          // tokens that the prompt repeats
constexpr uint32_t kShortestPrompt = 64;  // so that there is something to look up

}  // namespace

const char* drafts_name(Drafts drafts) {
  switch (drafts) {
    case Drafts::kNone:
      return "none";
    case Drafts::kLookedUp:
      return "looked up";
    case Drafts::kAllHold:
      return "all hold";
    case Drafts::kAllFail:
      return "all fail";
  }
  return "?";
}

double SpeculationTest::tokens_per_step(Drafts drafts) const {
  return of(drafts).steps > 0 ? test.tokens() / double(of(drafts).steps) : 0;
}

SpeculationBench::SpeculationBench(const PlanView& plan, Session& session)
    : session_(session),
      executor_(session.executor()),
      bench_(plan, session),
      context_(plan.plan().model()->context()) {
  if (executor_.most_drafted() == 0) {
    throw Failure(kUsage,
                  "--speculate: the plan verifies no drafts; compile it with --speculate N");
  }
}

std::vector<SpeculationTest> SpeculationBench::run(const std::vector<Test>& tests,
                                                   uint64_t repetitions) {
  std::vector<SpeculationTest> done;
  for (const Test& test : tests) {
    if (test.generate > 0) done.push_back(run(test, repetitions));
  }
  return done;
}

SpeculationTest SpeculationBench::run(const Test& test, uint64_t repetitions) {
  SpeculationTest result;
  result.test = test;
  uint32_t& depth = result.test.depth;
  if (depth < kShortestPrompt) depth = std::min(kShortestPrompt, context_ - test.generate - 1);
  prompt(depth);
  for (uint64_t i = 0; i <= repetitions; ++i) {
    for (const Drafts drafts : kAllDrafts) {
      // The prompt stays; its last token is the first step's.
      session_.check(executor_.rewind(depth));
      SpeculationTest::Times& times = result.times[static_cast<size_t>(drafts)];
      const double start = now_seconds();
      times.steps = generate(drafts, test.generate);
      if (i > 0) times.seconds.push_back(now_seconds() - start);  // the first warms up
    }
  }
  return result;
}

void SpeculationBench::prompt(uint32_t count) {
  session_.check(executor_.rewind(0));
  const std::vector<uint32_t> phrase = bench_.random_tokens(kPhrase);
  std::vector<uint32_t> tokens(count);
  for (uint32_t i = 0; i < count; ++i) tokens[i] = phrase[i % kPhrase];
  session_.check(executor_.prefill(tokens.data(), count));
  bench_.step();
}

uint64_t SpeculationBench::generate(Drafts drafts, uint32_t count) {
  switch (drafts) {
    case Drafts::kNone:
      text_ = bench_.take(count, nullptr);
      return count;
    case Drafts::kLookedUp: {
      const uint64_t before = executor_.speculation_counts().steps;
      for (uint32_t i = 0; i < count; ++i) {
        session_.check(executor_.generate(count - i).error());
      }
      return executor_.speculation_counts().steps - before;
    }
    case Drafts::kAllHold:
      return verify(true, count);
    case Drafts::kAllFail:
      return verify(false, count);
  }
  return 0;
}

uint64_t SpeculationBench::verify(bool right, uint32_t count) {
  uint64_t steps = 0;
  for (uint32_t taken = 0; taken < count; ++steps) {
    const uint32_t most = std::min(executor_.most_drafted(), count - taken - 1);
    std::vector<uint32_t> guesses(text_.begin() + taken, text_.begin() + taken + most);
    if (!right) {
      for (uint32_t& guess : guesses) guess = (guess + 1) % executor_.vocab_size();
    }
    session_.check(executor_.enqueue_draft(guesses.data(), most).error());
    do {
      session_.check(executor_.next().error());
      ++taken;
    } while (executor_.in_flight() > 0);
  }
  return steps;
}

void print_speculation(const std::vector<SpeculationTest>& tests) {
  std::printf("\n%-18s %-10s %12s %12s %8s\n", "generation", "drafts", "median tok/s",
              "tokens/step", "ratio");
  for (const SpeculationTest& test : tests) {
    for (const Drafts drafts : kAllDrafts) {
      std::printf("%-18s %-10s %12.1f %12.2f %8.2f\n", test.test.name().c_str(),
                  drafts_name(drafts), test.rate(drafts), test.tokens_per_step(drafts),
                  test.rate(drafts) / test.rate(Drafts::kNone));
    }
  }
}

nlohmann::ordered_json speculation_json(const SpeculationTest& test) {
  nlohmann::ordered_json d;
  d["test"] = test.test.name();
  d["n_gen"] = test.test.generate;
  d["n_depth"] = test.test.depth;
  d["drafts"] = nlohmann::ordered_json::array();
  for (const Drafts drafts : kAllDrafts) {
    d["drafts"].push_back({{"drafts", drafts_name(drafts)},
                           {"median_ts", test.rate(drafts)},
                           {"tokens_per_step", test.tokens_per_step(drafts)},
                           {"ratio", test.rate(drafts) / test.rate(Drafts::kNone)},
                           {"samples_s", test.of(drafts).seconds}});
  }
  return d;
}

}  // namespace jllm::tool

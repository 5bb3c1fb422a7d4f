#include "tests/e2e/stories/stories.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace jllm::test {
namespace {

std::vector<StoriesCase> read_cases() {
  using nlohmann::json;
  const json document =
      json::parse(read_text(test_data("golden/stories260K.fp64.json")), nullptr, false);
  std::vector<StoriesCase> cases;
  if (!document.is_object()) {
    ADD_FAILURE() << "the golden file is no JSON document";
    return cases;
  }
  for (const json& entry : document["cases"]) {
    StoriesCase story;
    story.name = entry["name"].get<std::string>();
    story.prompt = entry["prompt"].get<Tokens>();
    story.greedy = entry["greedy"].get<Tokens>();
    story.margins = entry["margins"].get<std::vector<double>>();
    for (const auto& [position, row] : entry["logits"].items()) {
      story.logits[static_cast<uint32_t>(std::stoul(position))] = row.get<Logits>();
    }
    cases.push_back(std::move(story));
  }
  return cases;
}

}  // namespace

const std::vector<StoriesCase>& stories_cases() {
  static const std::vector<StoriesCase> cases = read_cases();
  return cases;
}

std::vector<uint8_t> stories_plan(CompileOptions options) {
  const TempDir dir;
  options.input = test_data("models/stories260K.gguf");
  options.output = dir.file("stories.jllm");
  make_plan(options);
  return read_file(options.output);
}

double largest_logit_error(RunningPlan& run) {
  double largest = 0;
  size_t compared = 0;
  for (const StoriesCase& story : stories_cases()) {
    Tokens sequence = story.prompt;
    sequence.insert(sequence.end(), story.greedy.begin(), story.greedy.end());
    sequence.resize(std::min<size_t>(sequence.size(), story.logits.rbegin()->first + 1));
    const std::vector<Logits> rows = run.force_all(sequence);
    for (const auto& [position, expected] : story.logits) {
      const double difference = max_difference(rows[position], expected);
      if (!(difference <= largest)) largest = difference;  // a NaN stays
      ++compared;
    }
  }
  EXPECT_GE(compared, 30u) << "the golden file holds fewer rows than it should";
  return largest;
}

size_t equal_greedy_tokens(RunningPlan& run, const StoriesCase& story, size_t n) {
  run.rewind(0);
  run.prefill(story.prompt);
  n = std::min(n, story.greedy.size());
  const Tokens tokens = run.generate(static_cast<uint32_t>(n));
  const auto end = std::mismatch(tokens.begin(), tokens.end(), story.greedy.begin());
  return static_cast<size_t>(end.first - tokens.begin());
}

}  // namespace jllm::test

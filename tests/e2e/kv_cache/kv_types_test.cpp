// The bundled model with every type of KV cache against an f32 cache, over the token sequences of
// its goldens: how far the predictions move.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/files.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm::test {
namespace {

constexpr WeightType kTypes[] = {WeightType::kF32, WeightType::kF16, WeightType::kQ8_0,
                                 WeightType::kQ4_0};

// Prompts with their continuations: text that the model knows, 941 tokens in all.
std::vector<Tokens> texts() {
  std::ifstream file(JLLM_EXAMPLE_MODELS "/golden.json");
  std::vector<Tokens> all;
  const nlohmann::json golden = nlohmann::json::parse(file);
  for (const nlohmann::json& c : golden["cases"]) {
    all.push_back(c["prompt_tokens"].get<Tokens>());
    const Tokens next = c["next_tokens"].get<Tokens>();
    all.back().insert(all.back().end(), next.begin(), next.end());
  }
  return all;
}

// Logits of the host behind every token of every text.
std::vector<Logits> predictions(WeightType k, WeightType v) {
  const TempDir dir;
  CompileOptions options;
  options.input = JLLM_EXAMPLE_MODELS "/tiny-workshop-5m.q4_k_m.gguf";
  options.target = "host";
  options.output = dir.file("model.jllm");
  options.plan.kv_k = k;
  options.plan.kv_v = v;
  make_plan(options);
  const PlanInMemory memory(read_file(options.output));
  EXPECT_EQ(memory.error, Error::kOk) << memory.message;
  RunningPlan plan(memory);
  EXPECT_TRUE(plan.ok()) << plan.create_message;
  std::vector<Logits> all;
  for (const Tokens& text : texts()) {
    plan.rewind(0);
    for (Logits& row : plan.force_all(text)) all.push_back(std::move(row));
  }
  return all;
}

double log_sum(const Logits& logits) {
  const float max = logits[argmax(logits)];
  double sum = 0;
  for (const float l : logits) sum += std::exp(double{l} - double{max});
  return std::log(sum) + double{max};
}

double mean_kl(const std::vector<Logits>& reference, const std::vector<Logits>& rows) {
  EXPECT_EQ(reference.size(), rows.size());
  double total = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double theirs = log_sum(reference[i]), ours = log_sum(rows[i]);
    for (size_t t = 0; t < reference[i].size(); ++t) {
      const double log_p = reference[i][t] - theirs;
      total += std::exp(log_p) * (log_p - (rows[i][t] - ours));
    }
  }
  return total / double(reference.size());
}

// Nats per position that a cache type may cost. A group of 32 has its largest value about 2.5
// deviations out. q8_0 divides that by 127, so values move by 2.5 / 127 / sqrt(12) = 0.57 % of a
// deviation; keys and values of six layers add in squares to 0.57 % * sqrt(12) = 2 %, e = 0.06 on
// logits of deviation 3, e^2 / 2 = 1.8e-3. f16 moves them by 2^-11 / sqrt(3) of themselves, 20
// times less, 400 times less in the divergence. q4_0 is too coarse for such a sum: 40 times of what
// was measured.
double allowed(WeightType type) {
  switch (type) {
    case WeightType::kF32:
      return 0;
    case WeightType::kF16:
      return 1.8e-3 / 400;
    case WeightType::kQ8_0:
      return 1.8e-3;
    default:
      return 1e-2;
  }
}

TEST(KvTypes, AllSixteenPairsStayNearF32) {
  const std::vector<Logits> reference = predictions(WeightType::kF32, WeightType::kF32);
  ASSERT_GE(reference.size(), 400u);
  for (const WeightType k : kTypes) {
    for (const WeightType v : kTypes) {
      const double kl = mean_kl(reference, predictions(k, v));
      std::printf("K %-4s V %-4s: %.3g nats\n", weight_type_name(k), weight_type_name(v), kl);
      EXPECT_LE(kl, allowed(k) + allowed(v)) << weight_type_name(k) << " " << weight_type_name(v);
    }
  }
}

}  // namespace
}  // namespace jllm::test

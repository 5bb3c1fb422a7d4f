// The bundled model from GGUF to text, held against goldens that a numpy float64 forward pass made
// from the same quantised file (examples/models/reference.py): token ids, logits, and the greedy
// continuation.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "executor/text/tokenizer.h"
#include "tests/support/files.h"
#include "tests/support/gpu.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm::test {
namespace {

// The golden logits are printed with five decimals or more. Ours are f32: each of the 6 blocks adds
// rounding of about sqrt(768) * 2^-24 relative to activations of order 10, far below; printing
// dominates on the host.
constexpr double kHostTolerance = 1e-3;
// On a GPU activations pass through f16 tensor-core products in prefill (relative 2^-11 each,
// averaged over 256 to 768 terms) and KV rows are f16: about 2^-11 of logits up to 20.
constexpr double kCudaTolerance = 2e-2;

nlohmann::json golden() {
  std::ifstream file(JLLM_EXAMPLE_MODELS "/golden.json");
  return nlohmann::json::parse(file);
}

std::vector<uint8_t> plan_for(const std::string& target) {
  const TempDir dir;
  CompileOptions options;
  options.input = std::string(JLLM_EXAMPLE_MODELS "/") + golden()["model"].get<std::string>();
  options.target = target;
  options.output = dir.file("model.jllm");
  make_plan(options);
  return read_file(options.output);
}

// Feeds the golden tokens one after the other: where the two best logits lie further apart than
// twice the tolerance, ours must put the golden token first.
void check_case(const nlohmann::json& golden_case, RunningPlan& plan, double tolerance) {
  SCOPED_TRACE(golden_case["prompt"].get<std::string>());
  const Tokens prompt = golden_case["prompt_tokens"].get<Tokens>();
  const Tokens next = golden_case["next_tokens"].get<Tokens>();
  const std::vector<double> margins = golden_case["margins"].get<std::vector<double>>();
  const Logits expected = golden_case["last_logits"].get<Logits>();

  plan.rewind(0);
  plan.prefill(prompt);
  const SampledToken first = plan.step();
  EXPECT_LT(max_difference(plan.logits(), expected), tolerance);
  if (margins[0] > 2 * tolerance) {
    EXPECT_EQ(first.id, next[0]);
  }
  plan.rewind(static_cast<uint32_t>(prompt.size()));
  size_t compared = 0;
  for (size_t i = 0; i + 1 < next.size(); ++i) {
    ASSERT_EQ(plan->force(next[i]), Error::kOk) << plan->last_error();
    if (margins[i + 1] <= 2 * tolerance) continue;
    EXPECT_EQ(argmax(plan.logits()), next[i + 1]) << "at " << i + 1;
    ++compared;
  }
  EXPECT_GT(compared, next.size() / 2);
}

void check_all(const std::string& target, double tolerance) {
  const PlanInMemory memory(plan_for(target));
  ASSERT_EQ(memory.error, Error::kOk) << memory.message;
  RunningPlan plan(memory);
  ASSERT_TRUE(plan.ok()) << plan.create_message;
  for (const nlohmann::json& golden_case : golden()["cases"])
    check_case(golden_case, plan, tolerance);
}

TEST(OwnModel, TokenizesItsGoldenPrompts) {
  const PlanInMemory memory(plan_for("host"));
  ASSERT_EQ(memory.error, Error::kOk) << memory.message;
  const fb::Segment* segment = memory.view().find_segment(fb::SegmentKind::Tokenizer);
  ASSERT_NE(segment, nullptr);
  std::vector<uint8_t> bytes(segment->size());
  MemorySource source = memory.source();
  ASSERT_EQ(source.read(segment->offset(), segment->size(), bytes.data()), Error::kOk);
  std::string reason;
  const auto tokenizer = text::Tokenizer::open(bytes.data(), bytes.size(), &reason);
  ASSERT_NE(tokenizer, nullptr) << reason;
  for (const nlohmann::json& c : golden()["cases"]) {
    EXPECT_EQ(tokenizer->encode(c["prompt"].get<std::string>(), {true, true}),
              c["prompt_tokens"].get<Tokens>());
    std::string text;
    for (const uint32_t id : c["next_tokens"].get<Tokens>()) text += tokenizer->piece(id, true);
    EXPECT_EQ(text.substr(0, c["text"].get<std::string>().size()), c["text"].get<std::string>());
  }
}

TEST(OwnModel, HostReproducesTheFloat64Logits) { check_all("host", kHostTolerance); }

TEST(OwnModel, GpuReproducesTheFloat64Logits) {
  JLLM_NEEDS_GPU();
  check_all(gpu_target(), kCudaTolerance);
}

}  // namespace
}  // namespace jllm::test

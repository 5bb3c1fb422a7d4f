// Embeddings of the host target against llama.cpp's (pooling type `last`), and against the logits
// of the same model. The goldens in tests/golden/llama_embeddings come from make_llama_logits.py.
#include <gtest/gtest.h>

#include <cmath>

#include "compiler/gguf/file.h"
#include "tests/e2e/oracle/golden.h"
#include "tests/e2e/oracle/models.h"
#include "tests/support/files.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm::oracle {
namespace {

const char kGoldens[] = JLLM_GOLDEN_DIR "/llama_embeddings";

// oracle_test.cpp derives them for logits, which are one product more.
constexpr double kF32Bound = 1e-9;
constexpr double kInt8Bound = 2 * 13 * 8e-5;

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += double{a[i]} * double{b[i]};
    aa += double{a[i]} * double{a[i]};
    bb += double{b[i]} * double{b[i]};
  }
  return ab / std::sqrt(aa * bb);
}

class EmbeddingOracle : public testing::TestWithParam<OracleModel> {
 protected:
  EmbeddingOracle() { write_model(GetParam().model, folder_.file("m.gguf")); }

  bool says_so() const { return GetParam().model.more_keys != nullptr; }  // pooling_type
  std::vector<uint8_t> plan(std::optional<bool> embeds) const {
    CompileOptions options;
    options.input = folder_.file("m.gguf");
    options.output = folder_.file("m.jllm");
    options.plan.prefill_chunk = 32;
    options.plan.select.activations = select::ActivationMode::kF32;
    options.plan.embeds = embeds;
    test::make_plan(options);
    return test::read_file(options.output);
  }
  std::vector<uint8_t> embedding_plan() const {
    return plan(says_so() ? std::nullopt : std::optional<bool>(true));
  }

  test::TempDir folder_;
};

TEST_P(EmbeddingOracle, EmbeddingsAreLlamaCpps) {
  const std::string name = GetParam().name;
  const test::PlanInMemory plan(embedding_plan());
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  ASSERT_TRUE(makes_embeddings(plan.view().plan()));
  test::RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  const Golden golden = read_golden(std::string(kGoldens) + "/" + name + ".json");
  const double bound = name == "pooled" ? kInt8Bound : kF32Bound;
  for (const auto& [position, expected] : golden.logits) {
    run.rewind(0);
    run.prefill({golden.tokens.begin(), golden.tokens.begin() + position + 1});
    const std::vector<float> vector = run.embedding();
    const double error = nmse(expected, vector);
    RecordProperty("nmse at " + std::to_string(position), std::to_string(error));
    EXPECT_LT(error, bound) << position;
    // Of vectors whose difference is d times as long as they are, 1 - cosine is d^2 / 2 at most.
    EXPECT_GT(cosine(expected, vector), 1 - bound / 2) << position;
  }
  // A neighbour's vector is another one.
  EXPECT_GT(nmse(golden.logits.begin()->second, golden.logits.rbegin()->second), 100 * kInt8Bound);
}

using EmbeddingLogits = EmbeddingOracle;

// The text plan's logits are the output matrix, in f32, times the vector.
TEST_P(EmbeddingLogits, AreMadeOfThem) {
  const test::PlanInMemory text_plan(plan(false)), vector_plan(embedding_plan());
  EXPECT_FALSE(makes_embeddings(text_plan.view().plan()));
  test::RunningPlan text(text_plan), run(vector_plan);
  ASSERT_TRUE(text.ok() && run.ok()) << text.create_message << run.create_message;
  llvm::Expected<gguf::File> file = gguf::File::open(folder_.file("m.gguf"));
  ASSERT_TRUE(bool(file)) << take_error(file.takeError()).second;
  const gguf::TensorInfo* matrix =
      file->find_tensor(GetParam().model.tied ? "token_embd.weight" : "output.weight");
  ASSERT_NE(matrix, nullptr);
  const auto* weights = reinterpret_cast<const float*>(file->data(*matrix).data());
  for (const uint32_t count : {1u, 20u, 77u}) {
    const test::Tokens tokens = test::random_tokens(count, GetParam().model.vocab, count);
    run.rewind(0);
    run.prefill(tokens);
    const std::vector<float> vector = run.embedding();
    text.rewind(0);
    text.prefill(tokens);
    text.step();
    const std::vector<float> logits = text.logits();
    for (size_t i = 0; i < logits.size(); ++i) {
      double sum = 0, magnitude = 0;
      for (size_t j = 0; j < vector.size(); ++j) {
        const double product = double{weights[i * vector.size() + j]} * double{vector[j]};
        sum += product;
        magnitude += std::fabs(product);
      }
      // A rounding of 2^-24 for each product and each addition, of which at most all err alike; and
      // the chunks of both plans are the same, so that nothing else differs. But a single token,
      // which text plans leave to the decode graph: it adds up in another order.
      const double roundings = double(vector.size() + 1) * (count == 1 ? 14 : 1);
      ASSERT_NEAR(double{logits[i]}, sum, roundings * 0x1p-24 * magnitude) << count << ", " << i;
    }
  }
}

std::string test_name(const testing::TestParamInfo<OracleModel>& test) {
  std::string name = test.param.name;
  for (char& c : name) c = c == '.' ? '_' : c;
  return name;
}
std::vector<OracleModel> f32_models() {
  std::vector<OracleModel> models = embedding_models();
  std::erase_if(models, [](const OracleModel& m) { return m.name == "pooled"; });
  return models;
}

INSTANTIATE_TEST_SUITE_P(Llama, EmbeddingOracle, testing::ValuesIn(embedding_models()), test_name);
INSTANTIATE_TEST_SUITE_P(Llama, EmbeddingLogits, testing::ValuesIn(f32_models()), test_name);

TEST(EmbeddingOracleAnew, LlamaCppStillSaysTheSame) {
  if (const std::string why = why_not_anew(); !why.empty()) GTEST_SKIP() << why;
  const test::TempDir folder;
  for (const OracleModel& model : embedding_models()) {
    write_model(model.model, folder.file(model.name + ".gguf"));
  }
  const std::string fresh = folder.file("fresh");
  ASSERT_TRUE(make_goldens(folder.path(), fresh, true));
  for (const OracleModel& model : embedding_models()) {
    SCOPED_TRACE(model.name);
    const Golden committed = read_golden(std::string(kGoldens) + "/" + model.name + ".json");
    const Golden again = read_golden(fresh + "/" + model.name + ".json");
    EXPECT_EQ(again.model_sha256, committed.model_sha256) << "the model itself has changed";
    ASSERT_EQ(again.logits.size(), committed.logits.size());
    for (const auto& [position, vector] : committed.logits) {
      // As there for logits.
      const double bound = model.name == "pooled" ? kInt8Bound : kF32Bound;
      EXPECT_LT(nmse(vector, again.logits.at(position)), bound / 2) << position;
    }
  }
}

}  // namespace
}  // namespace jllm::oracle

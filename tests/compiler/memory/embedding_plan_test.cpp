// Plans that make embeddings: which models are planned so, and what such plans do without.
#include <gtest/gtest.h>

#include <algorithm>

#include "compiler/planner.h"
#include "schema/step_state.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm {
namespace {

using gguf::error_of;
using gguf::value_of;
using memory::ArenaKind;

constexpr uint32_t kContext = 64;

class EmbeddingPlan : public testing::Test {
 protected:
  // `pooling`: the file's pooling_type; empty: it has none.
  gguf::File file_of(std::optional<uint32_t> pooling, bool tied = true) {
    TinyLlama model;
    model.tied = tied;
    if (pooling) {
      model.more_keys = [pooling](gguf::Writer& w) { w.set_u32("llama.pooling_type", *pooling); };
    }
    return write_and_open(model, folder_.file("m" + std::to_string(count_++) + ".gguf"));
  }
  static PlanOptions options(std::optional<bool> embeds) {
    PlanOptions options;
    options.context = kContext;
    options.embeds = embeds;
    return options;
  }
  static llvm::Expected<PlannedModel> plan(const gguf::File& file,
                                           std::optional<bool> embeds = std::nullopt,
                                           const char* target = "host") {
    return plan_model(file, value_of(target::find(target)), options(embeds));
  }

  gguf::TempFolder folder_;
  int count_ = 0;
};

TEST_F(EmbeddingPlan, IsWhatTheFileOrTheUserSays) {
  const gguf::File silent = file_of(std::nullopt), none = file_of(0), last = file_of(3);
  EXPECT_FALSE(value_of(plan(silent)).options.embeds);
  EXPECT_FALSE(value_of(plan(none)).options.embeds);
  EXPECT_TRUE(value_of(plan(last)).options.embeds);
  EXPECT_TRUE(value_of(plan(silent, true)).options.embeds);
  EXPECT_FALSE(value_of(plan(last, false)).options.embeds);
}

TEST_F(EmbeddingPlan, OtherPoolingIsRefusedByName) {
  const std::pair<uint32_t, const char*> others[] = {{1, "mean"}, {2, "cls"}, {4, "rank"}};
  for (const auto& [pooling, name] : others) {
    const gguf::File file = file_of(pooling);
    EXPECT_EQ(error_of(plan(file), ExitCode::kUnsupported),
              std::string("the model is made for embeddings with llama.pooling_type ") +
                  std::to_string(pooling) + " (" + name +
                  "); supported is 3 (last). --embedding last takes the last token's state all "
                  "the same, --embedding none makes text");
    EXPECT_TRUE(value_of(plan(file, true)).options.embeds);
    EXPECT_FALSE(value_of(plan(file, false)).options.embeds);
  }
  const gguf::File unknown = file_of(5);
  EXPECT_EQ(error_of(plan(unknown)), "llama.pooling_type is 5, expected 0 to 4");
}

TEST_F(EmbeddingPlan, HasPrefillGraphsAndANorm) {
  const gguf::File file = file_of(3);
  for (const char* target : {"host", "orin-nano-8gb"}) {
    const PlannedModel planned = value_of(plan(file, std::nullopt, target));
    const std::vector<select::ScheduledGraph>& graphs = planned.schedule.graphs;
    ASSERT_GE(graphs.size(), 2u);
    for (size_t i = 0; i + 1 < graphs.size(); ++i) {
      EXPECT_EQ(graphs[i].kind, ir::GraphKind::kPrefill);
    }
    EXPECT_EQ(graphs.back().kind, ir::GraphKind::kHead);
    ASSERT_EQ(graphs.back().launches.size(), 1u);
    EXPECT_EQ(graphs.back().launches[0].label, "output_norm");
    for (const select::KernelSpec& kernel : planned.schedule.kernels) {
      EXPECT_EQ(kernel.name.find("sample"), std::string::npos) << kernel.name;
    }
  }
}

// To the byte: what a plan of text has beyond it.
TEST_F(EmbeddingPlan, TakesNoMemoryForWordsAndTheirChoice) {
  const auto aligned = [](uint64_t size) { return (size + 255) / 256 * 256; };
  for (const bool tied : {true, false}) {
    const gguf::File file = file_of(std::nullopt, tied);
    const PlannedModel text = value_of(plan(file, false)), vectors = value_of(plan(file, true));
    const auto less = [&](ArenaKind kind) {
      return text.layout.total(kind) - vectors.layout.total(kind);
    };
    EXPECT_EQ(less(ArenaKind::kWeights), tied ? 0 : 4 * 512 * 64);
    EXPECT_EQ(less(ArenaKind::kKv), 0u);
    // 512 logits, and a mask of as many bits, against 64 numbers.
    EXPECT_EQ(less(ArenaKind::kState),
              aligned(4 * 512) + aligned(sizeof(TokenMask) + 512 / 8) - aligned(4 * 64));
    EXPECT_LE(vectors.layout.total(ArenaKind::kScratch), text.layout.total(ArenaKind::kScratch));
  }
}

TEST_F(EmbeddingPlan, NeitherDraftsNorBatches) {
  const gguf::File file = file_of(3);
  const target::Target target = value_of(target::find("orin-nano-8gb"));
  Planner planner(file);
  PlanOptions options = value_of(planner.resolve(target, EmbeddingPlan::options(std::nullopt), {}));
  options.slots = 4;
  const PlannedModel planned = value_of(plan_model(file, target, options));
  EXPECT_EQ(planned.options.most_drafted(), 0u);
  EXPECT_TRUE(planned.options.batch_rows.empty());
  EXPECT_EQ(planned.options.slots, 4u);
  // Nothing is said of a speed at which tokens are made.
  const Footprint footprint = value_of(planner.footprint(target, options, {}));
  EXPECT_EQ(footprint.speculation_bytes, 0u);
  EXPECT_EQ(predict(footprint, target).tokens_per_second, 0);
  EXPECT_GT(predict(footprint, target).load_seconds, 0);
}

}  // namespace
}  // namespace jllm

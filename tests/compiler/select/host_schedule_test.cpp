// What the host's catalogue decides beyond one launch per node: which weights become panels, that
// products share the integers of their activations, and into how many shares launches are cut.
#include <gtest/gtest.h>

#include "compiler/plan.h"
#include "schema/host_ops.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm::select {
namespace {

using gguf::value_of;

class HostSchedule : public testing::Test {
 protected:
  // Products of 1024 x 4096 are worth sharing, vectors of 1024 elements are not.
  HostSchedule() {
    tiny_.layers = 1;
    tiny_.embedding = 1024;
    tiny_.ffn = 4096;
    tiny_.heads = 16;
    tiny_.type = WeightType::kQ4_K;
  }

  PlannedModel plan(ActivationMode activations = ActivationMode::kAuto) {
    files_.push_back(std::make_unique<gguf::File>(write_and_open(tiny_, folder_.file("m.gguf"))));
    PlanOptions options;
    options.context = 64;
    options.prefill_chunk = 64;
    options.select.activations = activations;
    return value_of(plan_model(*files_.back(), value_of(target::find("host")), options));
  }

  static std::vector<Launch> launches_of(const PlannedModel& plan, const std::string& kernel,
                                         size_t graph) {
    std::vector<Launch> found;
    for (const Launch& l : plan.schedule.graphs[graph].launches) {
      if (plan.schedule.kernels[l.kernel].name == kernel) found.push_back(l);
    }
    return found;
  }

  TinyLlama tiny_;
  gguf::TempFolder folder_;
  std::vector<std::unique_ptr<gguf::File>> files_;
};

constexpr size_t kDecode = 0, kPrefill = 1;

TEST_F(HostSchedule, QuantisedProductsReadPanelsAndShareTheirActivations) {
  const PlannedModel planned = plan();
  EXPECT_EQ(launches_of(planned, "product", kDecode).size(), 7u + 1);
  EXPECT_TRUE(launches_of(planned, "matmul", kDecode).empty());
  // One for q, k and v, one for the output, one for gate and up, one for down, one for the head.
  const std::vector<Launch> images = launches_of(planned, "quantise", kDecode);
  EXPECT_EQ(images.size(), 5u);
  for (const Launch& image : images) EXPECT_EQ(image.args.back().immediate, 2u) << "planes";
}

TEST_F(HostSchedule, ActivationModesAreOnePlaneOrNone) {
  const PlannedModel q8 = plan(ActivationMode::kQ8);
  for (const Launch& image : launches_of(q8, "quantise", kDecode)) {
    EXPECT_EQ(image.args.back().immediate, 1u);
  }
  const PlannedModel exact = plan(ActivationMode::kF32);
  EXPECT_TRUE(launches_of(exact, "quantise", kDecode).empty());
  EXPECT_TRUE(launches_of(exact, "product", kDecode).empty());
  EXPECT_EQ(launches_of(exact, "matmul", kDecode).size(), 7u + 1);
}

TEST_F(HostSchedule, OnlyLaunchesWorthTheirThreadsAreShared) {
  const PlannedModel planned = plan();
  for (const char* small :
       {"rms_norm", "add", "glu", "rope", "kv_append", "quantise", "sample_masked"}) {
    const std::vector<Launch> launches = launches_of(planned, small, kDecode);
    EXPECT_FALSE(launches.empty()) << small;
    for (const Launch& l : launches) EXPECT_EQ(l.grid[0], 1u) << l.label;
  }
  const auto shares = [&](const char* kernel, const char* label, size_t graph) {
    for (const Launch& l : launches_of(planned, kernel, graph)) {
      if (l.label == label) return l.grid[0];
    }
    throw std::runtime_error(label);
  };
  EXPECT_GE(shares("product", "blk.0.ffn_down", kDecode), 8u);
  EXPECT_GT(shares("product", "blk.0.ffn_down", kPrefill),
            shares("product", "blk.0.ffn_down", kDecode));
  EXPECT_GT(launches_of(planned, "glu", kPrefill).at(0).grid[0], 1u);
}

}  // namespace
}  // namespace jllm::select

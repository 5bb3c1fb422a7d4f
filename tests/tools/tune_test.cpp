// What a table does to a plan, and jllmc tune as far as it goes without a GPU.
#include "tools/tune/tune.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "compiler/report/report.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"
#include "tests/support/gpu.h"

namespace jllm::tune {
namespace {

using gguf::value_of;
using kernels::Activations;

class Tuned : public testing::Test {
 protected:
  llvm::Expected<PlannedModel> plan(std::optional<tuning::Table> table) {
    PlanOptions options;
    options.context = 64;
    options.select.tuning = std::move(table);
    return plan_model(file_, target_, options);
  }

  static std::vector<select::GemvChoice> choices(const PlannedModel& planned) {
    std::vector<select::GemvChoice> out;
    for (const select::KernelSpec& kernel : planned.schedule.kernels) {
      if (kernel.gemv) out.push_back(*kernel.gemv);
    }
    return out;
  }

  static std::string report(const PlannedModel& planned) {
    report::Facts facts;
    facts.planned = &planned;
    facts.footprint = make_footprint(planned, {});
    std::string text;
    llvm::raw_string_ostream stream(text);
    report::print_text(facts, {}, stream);
    return text;
  }

  // Another legal variant than the cost model's for everything that the model multiplies.
  tuning::Table other_table() {
    const PlannedModel untuned = value_of(plan(tuning::Table()));
    tuning::Table table;
    table.compute_capability = target_.compute_capability;
    table.sm_count = target_.sm_count;
    for (const select::GemvChoice& choice : choices(untuned)) {
      for (const kernels::GemvVariant& v : kernels::legal_variants(choice.problem)) {
        if (v == choice.variant || table.find(choice.problem) != nullptr) continue;
        table.entries.push_back({choice.problem, v});
      }
    }
    return table;
  }

  gguf::TempFolder folder_;
  gguf::File file_ = write_and_open(TinyLlama(), folder_.file("m.gguf"));
  target::Target target_ = value_of(target::find("h200"));
};

TEST_F(Tuned, TheTableDecides) {
  const tuning::Table table = other_table();
  ASSERT_GE(table.entries.size(), 4u);  // qkv, two products, gate and up, the head
  const PlannedModel planned = value_of(plan(table));
  for (const select::GemvChoice& choice : choices(planned)) {
    EXPECT_TRUE(choice.measured) << choice.problem.kernel;
    EXPECT_EQ(choice.variant, table.find(choice.problem)->variant) << choice.problem.kernel;
  }
  for (const select::ScheduledGraph& graph : planned.schedule.graphs) {
    for (const select::Launch& launch : graph.launches) {
      const select::KernelSpec& kernel = planned.schedule.kernels[launch.kernel];
      if (!kernel.gemv) continue;
      const auto shape =
          kernels::gemv_shape(kernel.gemv->problem, kernel.gemv->variant, target_.sm_count);
      EXPECT_EQ(launch.grid[0], shape.grid_x);
      EXPECT_EQ(kernel.block, shape.block);
    }
  }
}

TEST_F(Tuned, TheReportCountsWhatTheTableDecided) {
  tuning::Table table = other_table();
  EXPECT_NE(report(value_of(plan(table))).find("a tuning table decided 9 of 9"), std::string::npos)
      << report(value_of(plan(table)));
  llvm::erase_if(table.entries,
                 [](const tuning::Entry& entry) { return entry.problem.kernel != "head"; });
  EXPECT_NE(report(value_of(plan(table))).find("decided 1 of 9 matrix-vector launches, the cost"),
            std::string::npos);
  EXPECT_NE(report(value_of(plan(tuning::Table()))).find("decided 0 of 9"), std::string::npos);
}

TEST_F(Tuned, ATableOfAnotherClassIsRefused) {
  tuning::Table table = other_table();
  table.sm_count = 78;
  llvm::Expected<PlannedModel> planned = plan(table);
  ASSERT_FALSE(bool(planned));
  const auto [code, text] = take_error(planned.takeError());
  EXPECT_EQ(code, ExitCode::kUsage);
  for (const char* word : {"78", "132", "h200", "jllmc tune", "--tuning none"}) {
    EXPECT_NE(text.find(word), std::string::npos) << text;
  }
}

TEST_F(Tuned, TuneRefusesWhatHasNoVariants) {
  TuneOptions options;
  options.input = folder_.file("m.gguf");
  options.target = "host";
  std::string out;
  llvm::raw_string_ostream stream(out);
  EXPECT_EQ(take_error(tune(options, stream)).first, ExitCode::kUsage);
  options.target = "no-such-device";
  EXPECT_NE(take_error(tune(options, stream)).first, ExitCode::kDone);
  EXPECT_EQ(out, "");
}

TEST_F(Tuned, WithoutAGpuTuneSaysSo) {
  if (test::no_gpu_reason().empty()) GTEST_SKIP() << "there is a GPU";
  TuneOptions options;
  options.input = folder_.file("m.gguf");
  options.target = "h200";
  options.output = folder_.file("table.json");
  std::string out;
  llvm::raw_string_ostream stream(out);
  const auto [code, text] = take_error(tune(options, stream));
  EXPECT_EQ(code, ExitCode::kDevice);
  EXPECT_NE(text.find("tuning measures on an NVIDIA GPU"), std::string::npos) << text;
  EXPECT_FALSE(std::filesystem::exists(options.output));
}

// With a GPU: the table is for the device, and what it says can be planned and computes the same.
TEST_F(Tuned, MeasuresOnTheGpuAtHand) {
  JLLM_NEEDS_GPU();
  TuneOptions options;
  options.input = folder_.file("m.gguf");
  options.target = test::gpu_target();
  options.output = folder_.file("table.json");
  options.quick = true;
  options.plan.context = 64;
  std::string out;
  llvm::raw_string_ostream stream(out);
  llvm::Error error = tune(options, stream);
  ASSERT_FALSE(bool(error)) << take_error(std::move(error)).second;
  EXPECT_NE(out.find("measured best"), std::string::npos);
  const tuning::Table table = value_of(tuning::read(options.output));
  target_ = value_of(target::find(options.target));
  target_.sm_count = table.sm_count;
  for (const select::GemvChoice& choice : choices(value_of(plan(table)))) {
    EXPECT_TRUE(choice.measured) << choice.problem.kernel;
  }
}

TEST(TuneTolerance, GrowsWithRoundingAndLaunches) {
  EXPECT_LT(tolerance(Activations::kExact, 9), tolerance(Activations::kInt8, 9));
  EXPECT_LT(tolerance(Activations::kInt8Pair, 9), tolerance(Activations::kInt8, 9));
  EXPECT_DOUBLE_EQ(tolerance(Activations::kInt8, 36), 2 * tolerance(Activations::kInt8, 9));
  // Far below what a wrong row would do.
  EXPECT_LT(tolerance(Activations::kInt8Pair, 200), 0.01);
}

}  // namespace
}  // namespace jllm::tune

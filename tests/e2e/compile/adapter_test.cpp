// jllmc compile --lora beside its other options: what shows in the plan and in the report.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "schema/prefix.h"
#include "tests/e2e/arch/adapters.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using nlohmann::json;

uint64_t hash_of(const std::vector<uint8_t>& plan) {
  PlanPrefix prefix;
  std::memcpy(&prefix, plan.data(), sizeof prefix);
  return prefix.plan_hash;
}

class AdapterPlans : public testing::Test {
 protected:
  AdapterPlans() {
    synth::SynthOptions model = test::tiny_model();
    model.embedding = model.ffn = 256;  // whole blocks of every type
    model.head_dim = 64;
    for (const char* type : {"f16", "q4_k"}) {
      model.type = type;
      test::make_model(model, dir_.file(std::string(type) + ".gguf"));
    }
    for (const uint64_t seed : {1, 2}) {
      const gguf::File file = llvm::cantFail(gguf::File::open(dir_.file("f16.gguf")));
      arch::AdapterShape shape;
      shape.only = {"attn_q", "ffn_down"};
      llvm::cantFail(make_adapter(file, shape, seed).write(adapter(seed)));
    }
  }

  std::string adapter(uint64_t seed) const { return dir_.file(std::to_string(seed) + ".lora"); }
  CompileOptions options(const std::string& type, const std::string& weights = "") const {
    CompileOptions options;
    options.input = dir_.file(type + ".gguf");
    options.output = dir_.file("model.jllm");
    options.weights = weights;
    options.report = ReportFormat::kJson;
    return options;
  }
  std::vector<uint8_t> plan_of(const CompileOptions& options) const {
    test::make_plan(options);
    return test::read_file(options.output);
  }

  test::TempDir dir_;
};

TEST_F(AdapterPlans, AdapterAndScaleShowInThePlansHash) {
  CompileOptions wanted = options("f16");
  const std::vector<uint8_t> plain = plan_of(wanted);
  const test::PlanInMemory plain_plan(plain);
  std::set<uint64_t> hashes = {hash_of(plain)};
  for (const auto& [seed, scale] : {std::pair(1, 1.0), {1, 0.5}, {1, 0.501}, {2, 1.0}}) {
    wanted.adapters = {{adapter(uint64_t(seed)), scale}};
    const std::vector<uint8_t> bytes = plan_of(wanted);
    EXPECT_EQ(plan_of(wanted), bytes);
    EXPECT_TRUE(hashes.insert(hash_of(bytes)).second) << seed << " " << scale;
    const test::PlanInMemory plan(bytes);
    ASSERT_EQ(plan.error, Error::kOk) << plan.message;
    const auto &arenas = *plan.view().plan().arenas(), &before = *plain_plan.view().plan().arenas();
    ASSERT_EQ(arenas.size(), before.size());
    for (unsigned i = 0; i < arenas.size(); ++i) {
      EXPECT_EQ(arenas.Get(i)->size(), before.Get(i)->size()) << "merged, it takes no memory";
    }
  }
}

// Matrices that the adapter names are merged, those that --weights makes smaller quantised, in one
// go; a matrix that has blocks already is put back into them.
TEST_F(AdapterPlans, TheReportSaysWhatWasDone) {
  for (const auto& [type, weights] : {std::pair("f16", "q4_k"), {"f16", ""}, {"q4_k", ""}}) {
    SCOPED_TRACE(std::string(type) + " to " + weights);
    CompileOptions wanted = options(type, weights);
    wanted.adapters = {{adapter(1), 1}};
    const test::CompileOutcome outcome = test::compile_model(wanted);
    ASSERT_EQ(outcome.code, ExitCode::kDone) << outcome.message;
    const json report = json::parse(outcome.report);
    EXPECT_EQ(report.at("adapters").at(0).at("matrices"), 4);
    size_t merged = 0;
    for (const json& conversion : report.at("conversions")) {
      const double error = conversion.at("relative_error"),
                   change = conversion.at("relative_change");
      const bool to_blocks = conversion.at("to") == "q4_k";
      EXPECT_EQ(conversion.at("from"), type);
      if (conversion.at("merged")) {
        ++merged;
        EXPECT_GT(change, 0.01);
        EXPECT_LT(change, 1);
      } else {
        EXPECT_EQ(change, 0);
        EXPECT_EQ(weights, std::string("q4_k"));
      }
      // Rounding to halves: 2^-12 of the largest exponents at most, never nothing. 4 bits: of the
      // order of a range of +-2.5 deviations over 15 steps, 1 / sqrt(12) of one: 0.1.
      EXPECT_GT(error, to_blocks ? 0.03 : 1e-5);
      EXPECT_LT(error, to_blocks || conversion.at("to") == "q6_k" ? 0.2 : 2.5e-4);
    }
    EXPECT_EQ(merged, 4u);
    EXPECT_EQ(report.at("conversions").size() > merged, weights[0] != 0);
  }
}

TEST_F(AdapterPlans, FailuresLeaveNoPlan) {
  CompileOptions wanted = options("q4_k");
  wanted.adapters = {{adapter(1), 1e30}};
  const test::CompileOutcome outcome = test::compile_model(wanted);
  EXPECT_EQ(outcome.code, ExitCode::kInvalidFile);
  EXPECT_NE(outcome.message.find("more than q4_k can hold"), std::string::npos) << outcome.message;
  const std::vector<std::string> left = dir_.entries();
  EXPECT_EQ(std::count(left.begin(), left.end(), "model.jllm"), 0);
}

}  // namespace
}  // namespace jllm

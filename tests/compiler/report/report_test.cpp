// The report: its JSON parses and adds up, its text shows the waterfall, kernels and files.
#include "compiler/report/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm::report {
namespace {

using gguf::value_of;
using nlohmann::json;

constexpr uint64_t kMiB = 1024 * 1024;

class Report : public testing::Test {
 protected:
  void plan(const char* target_name, const BudgetOptions& options = {}) {
    file_ = std::make_unique<gguf::File>(write_and_open(TinyLlama(), folder_.file("m.gguf")));
    PlanOptions plan_options;
    plan_options.context = 64;
    planned_ = value_of(plan_model(*file_, value_of(target::find(target_name)), plan_options));
    facts_.planned = &planned_;
    facts_.footprint = make_footprint(planned_, options);
  }

  std::string text() const {
    std::string result;
    llvm::raw_string_ostream os(result);
    print_text(facts_, {}, os);
    return os.str();
  }
  json parsed() const {
    std::string result;
    llvm::raw_string_ostream os(result);
    print_json(facts_, os);
    return json::parse(os.str());
  }

  gguf::TempFolder folder_;
  std::unique_ptr<gguf::File> file_;
  PlannedModel planned_;
  Facts facts_;
};

TEST_F(Report, JsonIsTheBudget) {
  for (const char* target : {"host", "h200"}) {
    BudgetOptions options;
    options.reserve = 1234;
    options.limit = 1000 * kMiB;
    plan(target, options);
    const json report = parsed();
    const json& bytes = report.at("bytes");
    const memory::Layout& layout = planned_.layout;
    EXPECT_EQ(bytes.at("weights"), layout.total(memory::ArenaKind::kWeights));
    EXPECT_EQ(bytes.at("kv"), layout.total(memory::ArenaKind::kKv));
    EXPECT_EQ(bytes.at("scratch"), layout.total(memory::ArenaKind::kScratch));
    EXPECT_EQ(bytes.at("scratch_lower_bound"), layout.scratch_lower_bound);
    EXPECT_EQ(bytes.at("state"), layout.total(memory::ArenaKind::kState));
    EXPECT_EQ(bytes.at("pinned"), layout.total(memory::ArenaKind::kHostPinned));
    EXPECT_EQ(bytes.at("reserve"), 1234u);
    EXPECT_EQ(bytes.at("budget"), 1000 * kMiB);
    uint64_t sum = 0;
    for (const char* part :
         {"weights", "kv", "scratch", "state", "pinned", "code", "cuda_context_estimate",
          "cuda_graphs_estimate", "host_process_estimate", "reserve"}) {
      sum += bytes.at(part).get<uint64_t>();
    }
    EXPECT_EQ(bytes.at("total"), sum);
    EXPECT_EQ(report.at("fits"), sum <= 1000 * kMiB);
    EXPECT_EQ(report.at("target"), target);
    EXPECT_EQ(report.at("model").at("name"), "tiny");
    EXPECT_EQ(report.at("model").at("architecture"), "llama");
    EXPECT_EQ(report.at("model").at("context"), 64u);
    EXPECT_EQ(report.at("model").at("parameter_count"), TinyLlama().parameters());
    EXPECT_EQ(report.at("weights_read_per_token"), facts_.footprint.weights_per_token);
  }
}

TEST_F(Report, SaysHowFarThePlanSpeculates) {
  plan("host");
  EXPECT_NE(text().find("speculation: none"), std::string::npos) << text();
  EXPECT_EQ(parsed().at("speculation").at("most_drafted"), 0u);
  EXPECT_EQ(parsed().at("speculation").at("bytes"), 0u);
  planned_.options.verify_rows = {2, 4, 5};
  facts_.footprint = make_footprint(planned_, {});
  facts_.footprint.speculation_bytes = 3 * kMiB;
  EXPECT_NE(text().find("speculation: up to 4 drafted tokens a step, for 3.0 MiB of what"),
            std::string::npos)
      << text();
  EXPECT_EQ(parsed().at("speculation").at("most_drafted"), 4u);
  EXPECT_EQ(parsed().at("speculation").at("bytes"), 3 * kMiB);
}

TEST_F(Report, JsonSaysWhetherItFits) {
  BudgetOptions options;
  plan("host");
  options.limit = facts_.footprint.budget.total();
  plan("host", options);
  EXPECT_TRUE(parsed().at("fits"));
  --*options.limit;
  plan("host", options);
  EXPECT_FALSE(parsed().at("fits"));
}

TEST_F(Report, JsonListsTheKernelsWithTheirLaunches) {
  plan("h200");
  const json report = parsed();
  uint64_t launches = 0;
  ASSERT_EQ(report.at("kernels").size(), planned_.schedule.kernels.size());
  for (size_t i = 0; i < report.at("kernels").size(); ++i) {
    const json& kernel = report.at("kernels")[i];
    EXPECT_EQ(kernel.at("name"), planned_.schedule.kernels[i].name);
    EXPECT_EQ(kernel.at("defines").get<std::vector<std::string>>(),
              planned_.schedule.kernels[i].defines);
    launches += kernel.at("decode_launches").get<uint64_t>();
  }
  EXPECT_EQ(launches, 5u * 2 + 3);  // two layers; embedding, head, sampler
  EXPECT_EQ(report.at("decode_launches"), launches);
}

TEST_F(Report, TextNamesModelTargetAndKernels) {
  plan("h200");
  facts_.nvrtc = "12.6 (/somewhere/libnvrtc.so)";
  facts_.output = "m.jllm";
  facts_.file_bytes = 5 * kMiB;
  const std::string report = text();
  for (const char* part :
       {"tiny  (llama, 0.1 M parameters)  for  NVIDIA H200", "64 positions, K f32, V f32",
        "decode: 13 launches a token", "tok/s (bandwidth / bytes)", "qkv_0", "Q_TYPE=f32",
        "nvrtc: 12.6", "m.jllm: 5.0 MiB"}) {
    EXPECT_NE(report.find(part), std::string::npos) << part << " is not in\n" << report;
  }
}

TEST_F(Report, WhatDoesNotFitHasNothingFree) {
  BudgetOptions options;
  options.limit = 1;
  plan("host", options);
  EXPECT_EQ(text().find("  free"), std::string::npos);
}

TEST_F(Report, TheHostHasNoCode) {
  plan("host");
  EXPECT_EQ(facts_.footprint.budget.code, 0u);
  EXPECT_EQ(text().find("CUDA context"), std::string::npos);
}

TEST(FormatBytes, PicksTheUnit) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(kMiB), "1.0 MiB");
  EXPECT_EQ(format_bytes(12345 * kMiB + kMiB / 2), "12345.5 MiB");
}

}  // namespace
}  // namespace jllm::report

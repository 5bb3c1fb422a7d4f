// What `jllmc fit` prints: one device, a table, and JSON that scripts can rely on.
#include "compiler/fit/show.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "compiler/fit/fit.h"
#include "tests/compiler/fit/some_model.h"

namespace jllm::fit {
namespace {

using nlohmann::json;

struct Printed {
  ExitCode code = ExitCode::kDone;
  std::string text;
};

class Show : public testing::Test {
 protected:
  Printed run(FitOptions options) {
    options.input = model_.folder.file("m.gguf");
    Printed printed;
    llvm::raw_string_ostream os(printed.text);
    if (llvm::Error error = fit::run(options, {}, os)) {
      printed.code = take_error(std::move(error)).first;
    }
    os.flush();
    return printed;
  }
  json run_json(FitOptions options) {
    options.json = true;
    return json::parse(run(options).text);
  }

  SomeModel model_;
};

FitOptions on(std::vector<std::string> targets, std::optional<uint64_t> limit = std::nullopt) {
  FitOptions options;
  options.targets = std::move(targets);
  options.question.plan = plan_of(1024);
  options.question.budget.limit = limit;
  return options;
}

TEST_F(Show, OneDeviceThatFits) {
  const Printed printed = run(on({"orin-nano-8gb"}));
  EXPECT_EQ(printed.code, ExitCode::kDone);
  for (const char* part :
       {"tiny  (llama, ", ")  on  Jetson Orin Nano 8GB, mode 25w", "memory", "firmware",
        "OS and system", "CUDA context", "1024 positions, K f16, V f16", "\n  fits\n",
        "largest context:  f16 32768  q8_0 32768  q4_0 32768", "(0.75 x 102.4 GB/s pin rate)",
        "context full; predicted", "avoid L4T r36.4.7"}) {
    EXPECT_NE(printed.text.find(part), std::string::npos) << part << " is not in\n" << printed.text;
  }
}

TEST_F(Show, OneDeviceThatDoesNot) {
  const uint64_t q4 = model_.total(device("orin-nano-8gb", 0), plan_of(1024, WeightType::kQ4_0));
  const Printed printed = run(on({"orin-nano-8gb"}, q4));
  EXPECT_EQ(printed.code, ExitCode::kDoesNotFit);
  for (const char* part : {"too much", "does not fit by 1 MiB", "what would make it fit:\n    1. ",
                           "a KV cache in q4_0 (--kv q4_0): leaves 0 B free"}) {
    EXPECT_NE(printed.text.find(part), std::string::npos) << part << " is not in\n" << printed.text;
  }
  EXPECT_EQ(printed.text.find("predicted"), std::string::npos) << "of a plan that cannot run";
}

TEST_F(Show, NothingHelps) {
  const Printed printed = run(on({"orin-nano-8gb"}, 1));
  EXPECT_NE(printed.text.find("nothing that jllmc can plan would make it fit"), std::string::npos);
}

TEST_F(Show, ATableOfAllDevices) {
  FitOptions options = on({});
  options.all = true;
  const Printed printed = run(options);
  EXPECT_EQ(printed.code, ExitCode::kDone);
  std::istringstream lines(printed.text);
  std::vector<std::string> rows;
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" fits") != std::string::npos) rows.push_back(line);
    EXPECT_LE(line.size(), 120u) << line;
  }
  const auto targets = value_of(targets_of({}, true, false, {}));
  ASSERT_EQ(rows.size(), targets.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].find("  " + targets[i].name + " "), 0u) << rows[i];
    const bool compilable =
        !static_cast<bool>(llvm::errorToBool(target::check_compilable(targets[i])));
    EXPECT_EQ(rows[i].find("fits *") == std::string::npos, compilable) << rows[i];
  }
  EXPECT_NE(printed.text.find("tok/s = planning bandwidth / "), std::string::npos);
  EXPECT_NE(printed.text.find("* planned only"), std::string::npos);
}

// 0 when at least one of several fits.
TEST_F(Show, ExitCodes) {
  FitOptions options = on({"orin-nano-8gb", "agx-orin-64gb"});
  EXPECT_EQ(run(options).code, ExitCode::kDone);
  options.question.plan = plan_of(32768);
  options.question.budget.reserve = 20000 * kMiB;
  Printed printed = run(options);
  EXPECT_EQ(printed.code, ExitCode::kDone);
  EXPECT_NE(printed.text.find("does not fit by "), std::string::npos);
  options.targets = {"orin-nano-8gb", "orin-nx-8gb"};
  EXPECT_EQ(run(options).code, ExitCode::kDoesNotFit);
  options.targets = {"nonsense"};
  EXPECT_EQ(run(options).code, ExitCode::kUnsupported);
}

TEST_F(Show, JsonHoldsTheVerdict) {
  FitOptions options = on({"orin-nano-8gb", "host"});
  options.question.budget.reserve = 5;
  const json document = run_json(options);
  EXPECT_EQ(document.at("model").at("name"), "tiny");
  EXPECT_EQ(document.at("model").at("architecture"), "llama");
  EXPECT_EQ(document.at("model").at("parameter_count"), SomeModel::shape().parameters());
  EXPECT_EQ(document.at("model").at("context_length"), 32768);
  EXPECT_EQ(document.at("fits"), true);
  ASSERT_EQ(document.at("targets").size(), 2u);
  for (const json& t : document.at("targets")) {
    const target::Target target = value_of(target::find(t.at("target").get<std::string>()));
    const BudgetOptions& budget = options.question.budget;
    const Footprint footprint = value_of(model_.planner.footprint(
        target, value_of(model_.planner.resolve(target, plan_of(1024), budget)), budget));
    const Budget& b = footprint.budget;
    const json& bytes = t.at("bytes");
    EXPECT_EQ(bytes.at("weights"), b.weights);
    EXPECT_EQ(bytes.at("kv"), b.kv);
    EXPECT_EQ(bytes.at("scratch"), b.scratch);
    EXPECT_EQ(bytes.at("state"), b.state);
    EXPECT_EQ(bytes.at("pinned"), b.pinned);
    EXPECT_EQ(bytes.at("code_estimate"), b.code);
    EXPECT_EQ(bytes.at("cuda_context_estimate"), b.context);
    EXPECT_EQ(bytes.at("cuda_graphs_estimate"), b.graphs);
    EXPECT_EQ(bytes.at("host_process_estimate"), b.host);
    EXPECT_EQ(bytes.at("reserve"), 5);
    EXPECT_EQ(bytes.at("total"), b.total());
    EXPECT_EQ(bytes.at("budget"), b.limit);
    EXPECT_EQ(t.at("verdict"), "fits");
    EXPECT_EQ(t.at("missing_bytes"), 0);
    EXPECT_EQ(t.at("context"), 1024);
    EXPECT_EQ(t.at("kv_type_k"), "f16");
    EXPECT_EQ(t.at("speculation").at("most_drafted"), footprint.options.most_drafted());
    EXPECT_EQ(t.at("speculation").at("bytes"), footprint.speculation_bytes);
    EXPECT_EQ(t.at("largest_context").at("q4_0"), 32768);
    EXPECT_EQ(t.at("advice"), json::array());
    uint64_t sum = 0;
    for (const json& segment : t.at("memory").at("segments")) {
      sum += segment.at("bytes").get<uint64_t>();
    }
    EXPECT_EQ(sum, t.at("memory").at("total").get<uint64_t>());
  }
  // The host's bandwidth is unknown.
  EXPECT_GT(document.at("targets")[0].at("prediction").at("decode_tok_s").get<double>(), 0);
  EXPECT_TRUE(document.at("targets")[1].at("prediction").at("decode_tok_s").is_null());
}

TEST_F(Show, JsonHoldsTheAdvice) {
  const uint64_t q8 = model_.total(device("orin-nano-8gb", 0), plan_of(1024, WeightType::kQ8_0));
  const json document = run_json(on({"orin-nano-8gb", "orin-nx-8gb"}, q8));
  EXPECT_EQ(document.at("fits"), false);
  for (const json& t : document.at("targets")) {
    EXPECT_EQ(t.at("verdict"), "does_not_fit");
    EXPECT_EQ(t.at("missing_bytes").get<uint64_t>(),
              t.at("bytes").at("total").get<uint64_t>() - q8);
    ASSERT_FALSE(t.at("advice").empty());
    EXPECT_EQ(t.at("advice")[0], json({{"kind", "kv_type"},
                                       {"text", "a KV cache in q8_0"},
                                       {"option", "--kv q8_0"},
                                       {"free_bytes", 0}}));
  }
}

TEST_F(Show, JsonOfARefusal) {
  SomeModel tiny_heads{TinyLlama()};
  FitOptions options = on({"orin-nano-8gb"});
  options.question.plan = plan_of(128);
  options.input = tiny_heads.folder.file("m.gguf");
  options.json = true;
  std::string text;
  llvm::raw_string_ostream os(text);
  EXPECT_FALSE(static_cast<bool>(fit::run(options, {}, os)));
  const json largest = json::parse(os.str()).at("targets")[0].at("largest_context");
  EXPECT_EQ(largest.at("f16"), 128);
  EXPECT_TRUE(largest.at("q8_0").is_null());
}

// Half a header is refused, half a model is not.
TEST_F(Show, HeaderOnly) {
  const std::string whole = [&] {
    std::ifstream in(model_.folder.file("m.gguf"), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  FitOptions options = on({"orin-nano-8gb"});
  const Printed complete = run(options);
  model_.folder.write("m.gguf", whole.substr(0, whole.size() / 2));
  EXPECT_EQ(run(options).code, ExitCode::kInvalidFile);
  options.header_only = true;
  EXPECT_EQ(run(options).text, complete.text);
  model_.folder.write("m.gguf", whole.substr(0, 100));
  EXPECT_EQ(run(options).code, ExitCode::kInvalidFile);
}

}  // namespace
}  // namespace jllm::fit

// jllm bench from outside: its documents and their keys, the picture, profiles, and a peer that is
// played by a script.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/e2e/cli/process.h"
#include "tests/platform/fake_sysfs.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using nlohmann::ordered_json;
using test::expect_failure;
using test::jllm;
using test::ProcessOptions;
using test::ProcessResult;

constexpr uint32_t kContext = 256;

class JllmBench : public testing::Test {
 protected:
  JllmBench() { test::write_file(plan(), plan_bytes().data(), plan_bytes().size()); }

  static const std::vector<uint8_t>& plan_bytes() {
    static const std::vector<uint8_t> bytes = [] {
      CompileOptions options;
      options.plan.context = kContext;
      return test::plan_bytes(test::tiny_model(), options);
    }();
    return bytes;
  }
  std::string plan() const { return dir_.file("model.jllm"); }

  ProcessResult bench(std::vector<std::string> more, const ProcessOptions& options = {}) const {
    std::vector<std::string> words = {"bench", plan(), "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return jllm(words, options);
  }
  ordered_json document(std::vector<std::string> more, const ProcessOptions& options = {}) const {
    more.push_back("--json");
    const ProcessResult result = bench(std::move(more), options);
    EXPECT_EQ(result.code, 0) << result.err;
    ordered_json d = ordered_json::parse(result.out, nullptr, false);
    EXPECT_FALSE(d.is_discarded()) << result.out;
    return d;
  }

  // A llama-bench that notes its arguments in a file and runs `script`; first on the PATH.
  ProcessOptions with_peer(const std::string& script) const {
    const std::string program = dir_.file("llama-bench");
    test::write_text(program,
                     "#!/bin/sh\necho \"$@\" > '" + dir_.file("arguments") + "'\n" + script);
    chmod(program.c_str(), 0700);
    ProcessOptions options;
    options.environment = {"PATH=" + dir_.path() + ":/usr/bin:/bin"};
    return options;
  }

  test::TempDir dir_;
};

// A Jetson's rails, in a folder of the test's own.
TEST_F(JllmBench, PowerIsShownBesideTheRatesWhereThereAreRails) {
  const test::FakeSysfs sysfs(test::jetpack_layouts()[2]);
  ProcessOptions options;
  options.environment = {"JLLM_SYSFS_ROOT=" + sysfs.root()};
  for (const ordered_json& r : document({"-p", "16", "-n", "8", "-r", "2", "--power"}, options)) {
    EXPECT_NEAR(r["power_w"].get<double>(), 5.52, 1e-9);
    EXPECT_EQ(r["power_source"], "VDD_IN");
    EXPECT_NEAR(r["tokens_per_joule"].get<double>(), r["median_ts"].get<double>() / 5.52,
                1e-9 * r["median_ts"].get<double>());
  }
  const ProcessResult table = bench({"-p", "16", "-n", "8", "-r", "2", "--power"}, options);
  EXPECT_NE(table.out.find("tokens/J"), std::string::npos) << table.out;
  EXPECT_NE(table.out.find("(VDD_IN)"), std::string::npos) << table.out;
  EXPECT_EQ(bench({"-p", "16", "-n", "8", "-r", "2"}, options).out.find("tokens/J"),
            std::string::npos);
}

TEST_F(JllmBench, WithoutRailsTheReasonIsSaidAndTheRatesAreMeasured) {
  const test::TempDir nothing;
  ProcessOptions options;
  options.environment = {"JLLM_SYSFS_ROOT=" + nothing.path()};
  const ProcessResult result =
      bench({"-p", "16", "-n", "8", "-r", "2", "--power", "--json"}, options);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("--power: no power rails can be read here"), std::string::npos)
      << result.err;
  for (const ordered_json& r : ordered_json::parse(result.out)) {
    EXPECT_GT(r["median_ts"].get<double>(), 0);
    for (const char* key : {"power_w", "tokens_per_joule", "power_source"}) {
      EXPECT_TRUE(r[key].is_null()) << key;
    }
  }
}

TEST_F(JllmBench, RecordsSayWhatWasMeasuredAndOfWhat) {
  const ordered_json d = document({"-p", "16", "-n", "8", "-d", "0,32", "-r", "3"});
  ASSERT_EQ(d.size(), 4u);
  const test::PlanInMemory view(plan_bytes());
  char hash[17];
  std::snprintf(hash, sizeof hash, "%016llx",
                static_cast<unsigned long long>(view.view().prefix().plan_hash));
  for (const ordered_json& r : d) {
    EXPECT_EQ(r["plan_hash"], hash);
    EXPECT_EQ(r["model_hash"], view.view().plan().provenance()->source_header_sha256()->c_str());
    EXPECT_EQ(r["samples_ts"].size(), 3u);
    std::vector<double> samples = r["samples_ts"];
    std::sort(samples.begin(), samples.end());
    // The median rate is the rate of the median time.
    EXPECT_NEAR(r["median_ts"].get<double>(), samples[1], samples[1] * 1e-9);
    EXPECT_GT(r["host_us_per_token"], 0);
    EXPECT_GT(r["peak_resident_bytes"], 0);
    EXPECT_GT(r["process_taken_bytes"], 0);
    EXPECT_GT(r["process_planned_bytes"], 0);
    EXPECT_GT(r["first_token_s"], r["load_s"]);
    EXPECT_TRUE(r["load_ratio"].is_null());
    EXPECT_NE(r["command"].get<std::string>().find("-d 0,32"), std::string::npos);
    for (const char* key : {"host", "system", "test_time", "backends", "gpu_info", "target",
                            "build_commit", "clock_mhz_before", "clock_mhz_after",
                            "temperature_c_before", "temperature_c_after", "read_ceiling_gbps"}) {
      EXPECT_TRUE(r.contains(key)) << key;
    }
    const bool generates = r["n_gen"] > 0;
    EXPECT_EQ(r["ttft_ms"].is_number(), !generates);
    for (const char* key : {"token_p50_ms", "token_p99_ms", "token_max_ms", "jitter_ms"}) {
      EXPECT_EQ(r[key].is_number(), generates) << key;
    }
    if (!generates) continue;
    EXPECT_GT(r["token_p50_ms"], 0);
    EXPECT_LE(r["token_p50_ms"], r["token_p99_ms"]);
    EXPECT_LE(r["token_p99_ms"], r["token_max_ms"]);
    // Each was rounded to a double on its own.
    EXPECT_NEAR(r["jitter_ms"].get<double>(),
                r["token_p99_ms"].get<double>() - r["token_p50_ms"].get<double>(),
                r["token_p99_ms"].get<double>() * 1e-12);
    EXPECT_NEAR(r["roofline_fraction"].get<double>() * r["read_ceiling_gbps"].get<double>(),
                r["weight_gbps"].get<double>(), r["weight_gbps"].get<double>() * 1e-9);
  }
  std::set<std::pair<int, int>> tests;
  for (const ordered_json& r : d) tests.emplace(r["n_prompt"], r["n_depth"]);
  EXPECT_EQ(tests, (std::set<std::pair<int, int>>{{0, 0}, {0, 32}, {16, 0}, {16, 32}}));
}

TEST_F(JllmBench, LoadingIsHeldAgainstAPlainRead) {
  for (const char* option : {"--load", "--cold"}) {
    const ordered_json d = document({"-p", "0", "-n", "2", "-r", "1", option});
    ASSERT_EQ(d.size(), 1u);
    const ordered_json& r = d[0];
    EXPECT_EQ(r["load_cold"], std::string(option) == "--cold");
    const double floor = r["load_context_s"].get<double>() + r["load_read_s"].get<double>() +
                         r["load_upload_s"].get<double>();
    EXPECT_GT(floor, 0);
    EXPECT_EQ(r["load_upload_s"], 0) << "the host has no other memory";
    EXPECT_NEAR(r["load_ratio"].get<double>(), r["first_token_s"].get<double>() / floor, 1e-9);
  }
}

TEST_F(JllmBench, CsvHasTheDocumentsKeysAndOneRowPerTest) {
  const ordered_json d = document({"-p", "8", "-n", "2", "-r", "1"});
  const ProcessResult csv = bench({"-p", "8", "-n", "2", "-r", "1", "--csv"});
  ASSERT_EQ(csv.code, 0) << csv.err;
  std::string keys;
  for (const auto& [key, value] : d[0].items()) {
    if (!value.is_array()) keys += (keys.empty() ? "" : ",") + key;
  }
  std::istringstream lines(csv.out);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, keys);
  size_t rows = 0;
  while (std::getline(lines, line)) {
    ++rows;
    size_t columns = 1;
    bool quoted = false;
    for (const char c : line) {
      if (c == '"') quoted = !quoted;
      if (c == ',' && !quoted) ++columns;
    }
    EXPECT_EQ(columns, size_t(std::count(keys.begin(), keys.end(), ',')) + 1) << line;
  }
  EXPECT_EQ(rows, 2u);
}

TEST_F(JllmBench, TheTableAndThePictureShowEveryTest) {
  const std::string picture = dir_.file("bench.svg");
  const ProcessResult result =
      bench({"-p", "8", "-n", "2", "-d", "0,16,64", "-r", "1", "--svg", picture});
  ASSERT_EQ(result.code, 0) << result.err;
  for (const char* word : {"pp8 ", "tg2 ", "pp8 @ d64", "tg2 @ d16", "jitter", "first token",
                           "memory", "clock", "loading"}) {
    EXPECT_NE(result.out.find(word), std::string::npos) << word << " in " << result.out;
  }
  const std::string svg = test::read_text(picture);
  for (const char* word : {"generation of 2 tokens", "prompt of 8 tokens", "tokens per second"}) {
    EXPECT_NE(svg.find(word), std::string::npos) << word;
  }
  EXPECT_EQ(svg.substr(svg.size() - 7), "</svg>\n");
  expect_failure(bench({"-p", "0", "-n", "2", "-r", "1", "--svg", dir_.file("no/such.svg")}), 1,
                 {"no/such.svg", "cannot be written"});
}

TEST_F(JllmBench, AProfileHasEveryNodeOfTheStep) {
  const ordered_json d = document({"-p", "16", "-n", "4", "-d", "8", "-r", "2", "--profile"});
  const test::PlanInMemory view(plan_bytes());
  const auto launches = [&](fb::GraphKind kind, uint32_t rows) {
    size_t n = 0;
    for (const fb::Graph* graph : *view.view().plan().graphs()) {
      if (graph->kind() == kind && graph->rows() == rows) n += graph->launches()->size();
    }
    return n;
  };
  ASSERT_EQ(d["profiles"].size(), 2u);
  EXPECT_GT(d["read_ceiling_gbps"], 0);
  for (const ordered_json& p : d["profiles"]) {
    const bool prompt = p["test"] == "pp16 @ d8";
    EXPECT_TRUE(prompt || p["test"] == "tg4 @ d8") << p["test"];
    const size_t expected =
        prompt ? launches(fb::GraphKind::Prefill, 16) + launches(fb::GraphKind::Head, 1)
               : launches(fb::GraphKind::Decode, 1);
    EXPECT_EQ(p["nodes"].size(), expected);
    double nodes = 0, kernels = 0;
    size_t counted = 0;
    for (const ordered_json& node : p["nodes"]) {
      nodes += node["us"].get<double>();
      EXPECT_GE(node["us"], 0.0);
      EXPECT_FALSE(node["label"].get<std::string>().empty());
    }
    for (const ordered_json& kernel : p["kernels"]) {
      kernels += kernel["us"].get<double>();
      counted += kernel["launches"].get<size_t>();
      EXPECT_NEAR(kernel["floor_us"].get<double>() * d["read_ceiling_gbps"].get<double>() * 1e3,
                  kernel["bytes"].get<double>(), kernel["bytes"].get<double>() * 1e-9);
    }
    EXPECT_EQ(counted, expected);
    EXPECT_NEAR(nodes, kernels, nodes * 1e-9);
    EXPECT_NEAR(nodes, p["nodes_us"].get<double>(), nodes * 1e-9);
    EXPECT_GT(nodes, 0);
  }
  const ProcessResult text = bench({"-p", "0", "-n", "2", "-r", "1", "--per-node"});
  ASSERT_EQ(text.code, 0) << text.err;
  for (const char* word : {"floor", "blk.0", "blk.1", "matmul", "all nodes", "as it runs"}) {
    EXPECT_NE(text.out.find(word), std::string::npos) << word << " in " << text.out;
  }
}

TEST_F(JllmBench, SpeculationIsHeldAgainstPlainDecoding) {
  const ordered_json d =
      document({"-n", "20", "-d", "0,100", "-p", "500", "-r", "2", "--speculate"});
  const test::PlanInMemory view(plan_bytes());
  test::RunningPlan run(view);
  ASSERT_EQ(d["most_drafted"], run->most_drafted());
  ASSERT_EQ(d["tests"].size(), 2u);
  EXPECT_EQ(d["tests"][0]["n_depth"], 64) << "the shortest prompt that it takes";
  EXPECT_EQ(d["tests"][1]["test"], "tg20 @ d100");
  const uint32_t rows = run->most_drafted() + 1;
  for (const ordered_json& t : d["tests"]) {
    ASSERT_EQ(t["drafts"].size(), 4u);
    const std::vector<std::string> names = {"none", "looked up", "all hold", "all fail"};
    for (size_t i = 0; i < 4; ++i) {
      const ordered_json& r = t["drafts"][i];
      EXPECT_EQ(r["drafts"], names[i]);
      EXPECT_GT(r["median_ts"], 0.0);
      EXPECT_NEAR(r["ratio"].get<double>() * t["drafts"][0]["median_ts"].get<double>(),
                  r["median_ts"].get<double>(), r["median_ts"].get<double>() * 1e-9);
      EXPECT_EQ(r["samples_s"].size(), 2u);
    }
    EXPECT_EQ(t["drafts"][0]["tokens_per_step"], 1.0);
    EXPECT_GE(t["drafts"][1]["tokens_per_step"], 1.0);
    EXPECT_EQ(t["drafts"][2]["tokens_per_step"], 20.0 / ((20 + rows - 1) / rows));
    EXPECT_EQ(t["drafts"][3]["tokens_per_step"], 1.0);
  }
  const ProcessResult text = bench({"-n", "5", "-r", "1", "--speculate"});
  ASSERT_EQ(text.code, 0) << text.err;
  for (const char* word : {"tg5 @ d64", "looked up", "all hold", "tokens/step", "up to 3"}) {
    EXPECT_NE(text.out.find(word), std::string::npos) << word << " in " << text.out;
  }
}

TEST_F(JllmBench, APlanWithoutVerifyGraphsHasNothingToSpeculate) {
  CompileOptions options;
  options.plan.speculate = 0;
  const std::vector<uint8_t> bytes = test::plan_bytes(test::tiny_model(), options);
  test::write_file(plan(), bytes.data(), bytes.size());
  expect_failure(bench({"--speculate"}), 2, {"verifies no drafts", "compile it with --speculate"});
}

TEST_F(JllmBench, SlotsAreHeldAgainstOneAlone) {
  CompileOptions options;
  options.plan.slots = 3;
  const std::vector<uint8_t> bytes = test::plan_bytes(test::tiny_model(), options);
  test::write_file(plan(), bytes.data(), bytes.size());
  const ordered_json d = document({"-n", "6", "-d", "0,40", "-r", "2", "--slots"});
  ASSERT_EQ(d["tests"].size(), 2u);
  EXPECT_EQ(d["tests"][0]["depth"], 1) << "something must be there to go on from";
  EXPECT_EQ(d["tests"][1]["depth"], 40);
  for (const ordered_json& t : d["tests"]) {
    ASSERT_EQ(t["slots"].size(), 3u);
    const std::vector<uint32_t> counts = {1, 2, 3};
    for (size_t i = 0; i < 3; ++i) {
      const ordered_json& r = t["slots"][i];
      EXPECT_EQ(r["slots"], counts[i]);
      ASSERT_EQ(r["seconds"].size(), 2u);
      const double seconds = (r["seconds"][0].get<double>() + r["seconds"][1].get<double>()) / 2;
      EXPECT_NEAR(r["total_tokens_per_second"].get<double>() * seconds, 6.0 * counts[i], 1e-6);
    }
  }
}

TEST_F(JllmBench, APeerRunsTheSameTestsAndStandsBeside) {
  const ProcessOptions peer = with_peer(
      "echo 'loading' >&2\n"
      "echo '[{\"n_prompt\": 16, \"n_gen\": 0, \"n_depth\": 0, \"avg_ts\": 1000000},'\n"
      "echo ' {\"n_prompt\": 0, \"n_gen\": 4, \"n_depth\": 0, \"avg_ts\": 0.5}]'\n");
  test::write_text(dir_.file("a model.gguf"), "GGUF");
  const std::vector<std::string> words = {"-p", "16", "-n",     "4",
                                          "-r", "2",  "--peer", dir_.file("a model.gguf")};
  const ordered_json d = document(words, peer);
  EXPECT_EQ(
      test::read_text(dir_.file("arguments")),
      "-m " + dir_.file("a model.gguf") + " -p 16 -n 4 -d 0 -r 2 -ngl 0 -fa 1 -o json -t 1\n");
  ASSERT_EQ(d.size(), 2u);
  for (const ordered_json& r : d) {
    EXPECT_NEAR(r["peer_ratio"].get<double>() * r["peer_median_ts"].get<double>(),
                r["median_ts"].get<double>(), r["median_ts"].get<double>() * 1e-9);
  }
  const ProcessResult text = bench(words, peer);
  EXPECT_NE(text.out.find("llama-bench"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("1000000.0"), std::string::npos) << text.out;
  EXPECT_NE(text.err.find("loading"), std::string::npos) << "its messages are passed on";
}

TEST_F(JllmBench, APeerThatFailsIsSaid) {
  test::write_text(dir_.file("m.gguf"), "GGUF");
  const std::vector<std::string> words = {"-p", "0", "-n",     "1",
                                          "-r", "1", "--peer", dir_.file("m.gguf")};
  ProcessOptions nowhere;
  nowhere.environment = {"PATH=" + dir_.path()};
  expect_failure(bench(words, nowhere), 2, {"llama-bench", "not on the PATH", "llama.cpp"});
  expect_failure(bench(words, with_peer("echo 'no such option' >&2; exit 7\n")), 1,
                 {"status 7", "no such option"});
  expect_failure(bench(words, with_peer("echo Speed: high\n")), 1, {"llama-bench", "not JSON"});
  expect_failure(bench(words, with_peer("echo '{}'\n")), 1, {"llama-bench", "not a list"});
  std::vector<std::string> missing = words;
  missing.back() = dir_.file("none.gguf");
  expect_failure(bench(missing, with_peer("")), 2, {"none.gguf", "No such file"});
}

TEST_F(JllmBench, UsageErrorsAreCode2) {
  expect_failure(bench({"-n", "300", "-p", "0"}), 2, {"no test is left", "256", "--context"});
  expect_failure(bench({"-d", "1,x"}), 2, {"--n-depth 1,x"});
  expect_failure(bench({"-d", "-5"}), 2, {"--n-depth -5"});
  expect_failure(bench({"-r", "0"}), 2, {"--repetitions 0"});
  expect_failure(bench({"--json", "--csv"}), 2, {"--json or --csv"});
  expect_failure(bench({"--profile", "--csv"}), 2, {"--profile"});
  expect_failure(bench({"--profile", "--peer", "m.gguf"}), 2, {"--profile"});
  expect_failure(bench({"--speculate", "--csv"}), 2, {"--speculate goes with --json alone"});
  expect_failure(bench({"--speculate", "--profile"}), 2, {"one of them at a time"});
  expect_failure(bench({"--slots"}), 2, {"room for one sequence", "--slots N"});
}

}  // namespace
}  // namespace jllm

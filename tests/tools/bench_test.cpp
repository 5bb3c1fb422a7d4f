// What jllm bench computes, draws and reads, apart from running anything.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "tests/platform/fake_sysfs.h"
#include "tests/support/files.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"
#include "tools/jllm/bench/health.h"
#include "tools/jllm/bench/peer.h"
#include "tools/jllm/bench/power.h"
#include "tools/jllm/bench/print.h"
#include "tools/jllm/bench/profile.h"
#include "tools/jllm/bench/record.h"
#include "tools/jllm/bench/statistics.h"
#include "tools/jllm/subprocess.h"
#include "tools/jllm/svg_chart.h"

namespace jllm::tool {
namespace {

TEST(Statistics, MomentsOfSamples) {
  const Moments m = moments({2, 4, 4, 4, 5, 5, 7, 9});
  EXPECT_DOUBLE_EQ(m.mean, 5);
  EXPECT_DOUBLE_EQ(m.deviation, std::sqrt(32.0 / 7));  // squares of -3 -1 -1 -1 0 0 2 4
  EXPECT_EQ(moments({3}).deviation, 0);
  EXPECT_EQ(moments({}).mean, 0);
}

TEST(Statistics, QuantilesLieBetweenNeighbours) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(quantile({10, 20}, 0.25), 12.5);
  EXPECT_EQ(quantile({10, 20}, 1), 20);
  EXPECT_EQ(quantile({7}, 0.99), 7);
  EXPECT_EQ(quantile({}, 0.5), 0);
}

TEST(Statistics, JitterIsHowFarTheSlowestHundredthLiesBehindTheMedian) {
  std::vector<double> times(101);
  for (size_t i = 0; i < times.size(); ++i) times[i] = double(100 - i);
  times[0] = 500;  // was 100, the largest
  const Latency l = latency(times);
  EXPECT_EQ(l.p50, 50);
  EXPECT_EQ(l.p99, 99);
  EXPECT_EQ(l.max, 500);
  EXPECT_EQ(l.jitter(), 49);
}

// Every element closed in order, attributes quoted, no bare characters: enough of XML for what we
// write. Returns what is wrong.
std::string xml_fault(const std::string& text) {
  std::vector<std::string> open;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '>') return "a bare > at " + std::to_string(i);
    if (text[i] == '&') {
      const std::string entity = text.substr(i, text.find(';', i) - i + 1);
      if (entity != "&amp;" && entity != "&lt;" && entity != "&gt;" && entity != "&quot;")
        return "an unknown entity " + entity;
    }
    if (text[i] != '<') continue;
    const size_t end = text.find('>', i);
    if (end == std::string::npos) return "an unfinished tag";
    const std::string tag = text.substr(i + 1, end - i - 1);
    if (tag.find('<') != std::string::npos) return "a < inside the tag " + tag;
    if (std::count(tag.begin(), tag.end(), '"') % 2 != 0) return "an open quote in " + tag;
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1))
        return "</" + tag.substr(1) + "> closes nothing";
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find_first_of(" \n")));
    }
    i = end;
  }
  return open.empty() ? "" : open.back() + " is not closed";
}

size_t occurrences(const std::string& text, const std::string& word) {
  size_t n = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++n;
  return n;
}

TEST(SvgChart, IsWellFormedWhateverTheNamesAre) {
  EXPECT_NE(xml_fault("<a><b></a></b>"), "");  // the check itself
  EXPECT_NE(xml_fault("<a>x & y</a>"), "");
  Chart chart;
  chart.title = "a <model> & \"friends\"";
  chart.subtitle = "1 < 2\n";
  chart.x_label = "depth";
  chart.panels = {{"generation", "tok/s", {{"jllm", {{0, 100}, {2048, 80}}}, {"a & b", {{0, 90}}}}},
                  {"prompt", "tok/s", {{"jllm", {{0, 12345}}}}}};
  const std::string svg = draw_chart(chart);
  EXPECT_EQ(xml_fault(svg), "");
  EXPECT_EQ(occurrences(svg, "<polyline"), 3u);
  EXPECT_EQ(occurrences(svg, "<title>jllm: "), 3u);  // one for each point
  EXPECT_NE(svg.find("a &lt;model&gt; &amp; &quot;friends&quot;"), std::string::npos);
  EXPECT_NE(svg.find("prefers-color-scheme:dark"), std::string::npos);
  EXPECT_EQ(svg.find("http", svg.find("xmlns") + 40), std::string::npos) << "nothing is fetched";
}

TEST(SvgChart, PlacesPointsInProportion) {
  Chart chart;
  chart.panels = {{"p", "y", {{"s", {{0, 100}, {500, 50}, {1000, 0}}}}}};
  const std::string svg = draw_chart(chart);
  const size_t at = svg.find("points=\"") + 8;
  double x[3], y[3];
  ASSERT_EQ(std::sscanf(svg.c_str() + at, "%lf,%lf %lf,%lf %lf,%lf", &x[0], &y[0], &x[1], &y[1],
                        &x[2], &y[2]),
            6);
  // Written to a tenth.
  EXPECT_NEAR(x[1] - x[0], x[2] - x[1], 0.2);
  EXPECT_NEAR(y[1] - y[0], y[2] - y[1], 0.2);
  EXPECT_LT(x[0], x[2]);
  EXPECT_LT(y[0], y[2]) << "larger values lie higher";
}

TEST(SvgChart, TicksAreRoundAndReachTheMost) {
  for (const double most : {0.0, 0.3, 1.0, 7.0, 10.0, 99.9, 2048.0, 65432.1}) {
    const std::vector<double> ticks = chart_ticks(most);
    EXPECT_EQ(ticks[0], 0);
    EXPECT_GE(ticks.back(), most * (1 - 1e-9));
    EXPECT_GE(ticks.size(), 3u) << most;
    EXPECT_LE(ticks.size(), 7u) << most;
    double step = ticks[1];
    while (step < 1) step *= 10;
    while (step >= 10 * (1 - 1e-9)) step /= 10;
    EXPECT_TRUE(std::fabs(step - 1) < 1e-6 || std::fabs(step - 2) < 1e-6 ||
                std::fabs(step - 5) < 1e-6)
        << most << ": " << ticks[1];
  }
}

TEST(Csv, QuotesTextAndLeavesArraysOut) {
  const std::vector<Record> records = {
      {{"name", "a \"b\", c"}, {"n", 3}, {"none", nullptr}, {"samples", {1, 2}}, {"x", 0.5}},
      {{"name", "plain"}, {"n", 4}, {"none", 1}, {"samples", {3}}, {"x", 2.0}}};
  EXPECT_EQ(to_csv(records),
            "name,n,none,x\n"
            "\"a \"\"b\"\", c\",3,,0.5\n"
            "\"plain\",4,1,2.0\n");
  EXPECT_EQ(to_csv({}), "");
}

Record ours(uint64_t prompt, uint64_t generate, uint64_t depth, double rate) {
  return {{"model_type", "m"},   {"gpu_info", "g"},      {"plan_hash", "0"},
          {"build_commit", "1"}, {"test_time", "2026-"}, {"n_prompt", prompt},
          {"n_gen", generate},   {"n_depth", depth},     {"median_ts", rate}};
}

TEST(Peer, TestsAreMatchedByTheirLengths) {
  std::vector<Record> records = {ours(512, 0, 0, 1000), ours(0, 128, 0, 50),
                                 ours(0, 128, 2048, 40)};
  add_peer(&records, Record::parse(R"([
      {"n_prompt": 512, "n_gen": 0, "n_depth": 0, "avg_ts": 1, "samples_ts": [400, 600, 500],
       "stddev_ts": 100, "build_commit": "abc", "backends": "CUDA"},
      {"n_prompt": 0, "n_gen": 128, "avg_ts": 25},
      {"n_prompt": 0, "n_gen": 64, "n_depth": 2048, "avg_ts": 7}])"));
  EXPECT_EQ(records[0]["peer_median_ts"], 500.0);  // of the samples
  EXPECT_EQ(records[0]["peer_ratio"], 2.0);
  EXPECT_EQ(records[0]["peer_build"], "abc");
  EXPECT_EQ(records[1]["peer_ratio"], 2.0);  // no depth is depth 0, no samples: the mean
  EXPECT_TRUE(records[2]["peer_median_ts"].is_null());
  EXPECT_TRUE(records[2]["peer_ratio"].is_null());
  // Both in one picture, where the peer has a figure.
  const Chart chart = chart_of(records);
  ASSERT_EQ(chart.panels.size(), 2u);
  EXPECT_EQ(chart.panels[0].series[0].points.size(), 2u);
  EXPECT_EQ(chart.panels[0].series[1].points.size(), 1u);
  EXPECT_EQ(chart.panels[1].series[1].points[0].second, 500);
}

TEST(Peer, WhatIsNotItsResultIsRefused) {
  for (const char* text : {"{}", "[3]", R"([{"n_prompt": 512}])",
                           R"([{"n_prompt": 512, "n_gen": 0, "n_depth": 0, "avg_ts": "fast"}])"}) {
    std::vector<Record> records = {ours(512, 0, 0, 1)};
    EXPECT_THROW(add_peer(&records, Record::parse(text)), Failure) << text;
  }
}

TEST(Peer, RunsTheSameTestsWithFlashAttention) {
  PeerOptions options;
  options.model = "m.gguf";
  options.prompt = 512;
  options.generate = 128;
  options.repetitions = 5;
  options.depths = {0, 2048};
  const auto joined = [&] {
    std::string text;
    for (const std::string& word : peer_command("/bin/llama-bench", options)) text += word + " ";
    return text;
  };
  EXPECT_EQ(joined(),
            "/bin/llama-bench -m m.gguf -p 512 -n 128 -d 0,2048 -r 5 -ngl 99 -fa 1 -o json ");
  options.is_host = true;
  options.threads = 2;
  EXPECT_EQ(joined(),
            "/bin/llama-bench -m m.gguf -p 512 -n 128 -d 0,2048 -r 5 -ngl 0 -fa 1 -o json -t 2 ");
}

void put(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  test::write_text(path, text);
}

TEST(Health, IsReadFromAJetsonsFiles) {
  const test::TempDir root;
  EXPECT_FALSE(jetson_health(root.path()).clock_mhz.has_value());
  EXPECT_FALSE(cpu_health(root.path()).temperature_c.has_value());
  put(root.file("sys/class/devfreq/15480000.nvdec/cur_freq"), "1\n");
  put(root.file("sys/class/devfreq/17000000.gpu/cur_freq"), "918000000\n");
  put(root.file("sys/class/thermal/thermal_zone0/type"), "cpu-thermal\n");
  put(root.file("sys/class/thermal/thermal_zone0/temp"), "48250\n");
  put(root.file("sys/class/thermal/thermal_zone1/type"), "GPU-therm\n");
  put(root.file("sys/class/thermal/thermal_zone1/temp"), "51500\n");
  put(root.file("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"), "1510400\n");
  const Health gpu = jetson_health(root.path());
  EXPECT_DOUBLE_EQ(gpu.clock_mhz.value_or(0), 918);
  EXPECT_DOUBLE_EQ(gpu.temperature_c.value_or(0), 51.5);
  const Health cpu = cpu_health(root.path());
  EXPECT_DOUBLE_EQ(cpu.clock_mhz.value_or(0), 1510.4);
  EXPECT_DOUBLE_EQ(cpu.temperature_c.value_or(0), 48.25);
}

TEST(Health, IsReadFromNvidiaSmi) {
  const Health card = parse_card_health("1980, 3201, 41, 312.07\n");
  EXPECT_EQ(card.clock_mhz.value_or(0), 1980);
  EXPECT_EQ(card.memory_clock_mhz.value_or(0), 3201);
  EXPECT_EQ(card.temperature_c.value_or(0), 41);
  EXPECT_EQ(card.power_w.value_or(0), 312.07);
  const Health partial = parse_card_health("1980, [N/A]\n");
  EXPECT_EQ(partial.clock_mhz.value_or(0), 1980);
  EXPECT_FALSE(partial.memory_clock_mhz.has_value());
  EXPECT_FALSE(partial.power_w.has_value());
  EXPECT_FALSE(parse_card_health("").clock_mhz.has_value());
}

TEST(Subprocess, GivesOutputAndStatus) {
  const ProgramOutput output =
      run_program({"/bin/sh", "-c", "echo out; echo err >&2; exit 3"}, false);
  EXPECT_EQ(output.out, "out\n");
  EXPECT_EQ(output.code, 3);
  EXPECT_EQ(run_program({"/bin/sh", "-c", "kill -9 $$"}, false).code, 128 + 9);
  // More than a pipe holds.
  const ProgramOutput large = run_program({"/bin/sh", "-c", "head -c 1000000 /dev/zero"}, false);
  EXPECT_EQ(large.out.size(), 1000000u);
  EXPECT_THROW(run_program({"/nonexistent/program"}, false), Failure);
  EXPECT_EQ(find_program("sh").substr(find_program("sh").size() - 3), "/sh");
  EXPECT_EQ(find_program("no-such-program-here"), "");
}

// The nodes of a decode step together read what the plan says it reads, and of the KV cache every
// row that is there.
void expect_bytes_of_nodes(const synth::SynthOptions& shape) {
  CompileOptions options;
  options.plan.context = 64;
  const test::PlanInMemory plan(test::plan_bytes(shape, options));
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  const fb::Plan& p = plan.view().plan();
  const auto total = [&](uint32_t positions, uint32_t rows) {
    uint64_t bytes = 0;
    for (const fb::Graph* graph : *p.graphs()) {
      if (graph->kind() != fb::GraphKind::Decode) continue;
      for (const fb::Launch* launch : *graph->launches())
        bytes += bytes_to_read(p, *launch, positions, rows);
    }
    return bytes;
  };
  const fb::Model& model = *p.model();
  const uint64_t kv_row = plan.view().arena_bytes(fb::ArenaKind::Kv) / model.context();
  // The plan counts matrices alone: add two norms a layer and the last one, and the frequencies
  // that rotate q and k.
  const uint64_t norms = (2 * model.block_count() + 1) * uint64_t{4} * model.embedding_length();
  const uint64_t frequencies = 2 * model.block_count() * uint64_t{4} * model.head_dim() / 2;
  EXPECT_EQ(total(0, 1), model.weights_read_per_token() + norms + frequencies + kv_row);
  EXPECT_EQ(total(10, 1) - total(0, 1), 10 * kv_row);
}

TEST(Profile, BytesOfANodeAddUpToThePlansOwn) { expect_bytes_of_nodes(test::tiny_model()); }

TEST(Profile, OfExpertsTheChosenAreRead) {
  synth::SynthOptions shape = test::tiny_model();
  shape.like = "mixtral-8x7b";
  expect_bytes_of_nodes(shape);
}

TEST(Profile, KernelsAreSummedLargestFirst) {
  Profile profile;
  profile.nodes = {{"a", "l0.a", 2, 10}, {"b", "l0.b", 5, 0}, {"a", "l1.a", 4, 30}};
  const std::vector<KernelSum> sums = sum_by_kernel(profile);
  ASSERT_EQ(sums.size(), 2u);
  EXPECT_EQ(sums[0].kernel, "a");
  EXPECT_EQ(sums[0].launches, 2u);
  EXPECT_EQ(sums[0].microseconds, 6);
  EXPECT_EQ(sums[0].bytes, 40u);
  EXPECT_EQ(sums[1].kernel, "b");
  EXPECT_EQ(profile.nodes_us(), 11);
}

TEST(PowerOfATest, TokensPerJouleAreTheRateOverTheMeanPower) {
  tool::Test tested;
  tested.generate = 100;
  tested.seconds = {2, 4, 5};  // 25 tok/s in the median
  EXPECT_FALSE(tested.tokens_per_joule().has_value());
  tested.energy = {110, 11};
  EXPECT_DOUBLE_EQ(tested.tokens_per_joule().value_or(0), 2.5);
}

TEST(PowerOfATest, TheSamplerSeesPowerThatChangesMeanwhile) {
  const test::FakeSysfs fake(test::jetpack_layouts()[2]);  // 5.52 W
  PowerSampler sampler(fake.root(), 0.001);
  EXPECT_EQ(sampler.source(), "VDD_IN");
  const platform::Energy start = sampler.read();
  const auto wait_for = [&](double seconds, const platform::Energy& since) {
    while ((sampler.read() - since).seconds < seconds) std::this_thread::yield();
  };
  wait_for(0.02, start);
  const platform::Energy middle = sampler.read();
  EXPECT_NEAR(*(middle - start).mean_watts(), 5.52, 1e-9);
  fake.set_milliamperes("VDD_IN", "4000");  // 20 W
  sampler.read();
  const platform::Energy changed = sampler.read();
  wait_for(0.02, changed);
  EXPECT_NEAR(*(sampler.read() - changed).mean_watts(), 20, 1e-9);
}

TEST(PowerOfATest, WithoutRailsNothingIsMeasured) {
  const test::TempDir nothing;
  PowerSampler sampler(nothing.path());
  EXPECT_EQ(sampler.source(), "");
  EXPECT_FALSE(sampler.read().mean_watts().has_value());
}

}  // namespace
}  // namespace jllm::tool

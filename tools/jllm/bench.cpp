// jllm bench: times prompts ("pp") and generation ("tg") at chosen depths, as llama-bench does,
// with its field names. A sample is one run through the whole test; the median of the samples is
// what counts.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <sstream>

#include "jllm_version.h"
#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/session.h"

namespace jllm::tool {
namespace {

struct BenchOptions {
  std::string plan, depths = "0";
  uint64_t prompt = 512, generate = 128, repetitions = 5, threads = 0, device = 0;
  bool as_json = false, as_csv = false, newer_device = false;
};

struct Test {
  uint32_t prompt = 0, generate = 0, depth = 0;  // tokens; one of the first two is 0
  std::vector<double> seconds;

  std::string name() const {
    std::string text = prompt > 0 ? "pp" + std::to_string(prompt) : "tg" + std::to_string(generate);
    if (depth > 0) text += " @ d" + std::to_string(depth);
    return text;
  }
  double tokens() const { return prompt + generate; }
  double rate(double time) const { return time > 0 ? tokens() / time : 0; }
  double median() const {
    std::vector<double> sorted = seconds;
    std::sort(sorted.begin(), sorted.end());
    const size_t n = sorted.size();
    return n % 2 != 0 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }
};

struct Moments {
  double mean = 0, deviation = 0;
};

Moments moments(const std::vector<double>& values) {
  Moments m;
  for (const double v : values) m.mean += v / double(values.size());
  if (values.size() < 2) return m;
  for (const double v : values) m.deviation += (v - m.mean) * (v - m.mean);
  m.deviation = std::sqrt(m.deviation / double(values.size() - 1));
  return m;
}

std::vector<uint32_t> parse_depths(const std::string& text) {
  std::vector<uint32_t> depths;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, ',');) {
    char* end = nullptr;
    const unsigned long value = std::strtoul(word.c_str(), &end, 10);
    if (word.empty() || *end != 0 || value > UINT32_MAX) {
      throw Failure(kUsage, "--depth " + text + ": expected numbers with commas between them");
    }
    depths.push_back(static_cast<uint32_t>(value));
  }
  return depths;
}

bool parse(int argc, char** argv, BenchOptions* o) {
  Arguments a("jllm bench PLAN.jllm [-p N] [-n N] [-d N,...] [-r N] [--json | --csv]",
              "Tokens per second of prompts and of generation. Sampling is part of generation, and "
              "a prompt's "
              "time ends with the token behind it.");
  a.positional("PLAN.jllm", &o->plan);
  a.integer("-p", "--n-prompt", &o->prompt, UINT32_MAX,
            "tokens of the prompt, 0: no such test (default 512)");
  a.integer("-n", "--n-gen", &o->generate, UINT32_MAX,
            "tokens to generate, 0: no such test (default 128)");
  a.text("-d", "--n-depth", &o->depths, "tokens already there, one test each (default 0)");
  a.integer("-r", "--repetitions", &o->repetitions, 1000, "samples of each test (default 5)");
  a.flag("", "--json", &o->as_json, "print one JSON document");
  a.flag("", "--csv", &o->as_csv, "print comma-separated values");
  a.integer("", "--threads", &o->threads, 64, "host plans: worker threads (default: one per CPU)");
  a.integer("", "--device", &o->device, 1023, "CUDA plans: device number (default 0)");
  a.flag("", "--newer-device", &o->newer_device,
         "run a plan made with --emit-ptx on a newer device (tests)");
  if (!a.parse(argc, argv)) return false;
  if (o->repetitions == 0) throw Failure(kUsage, "--repetitions 0: at least one is needed");
  return true;
}

// The tests that fit the plan's context; the others are named on standard error.
std::vector<Test> make_tests(const BenchOptions& o, uint32_t context) {
  std::vector<Test> tests;
  for (const uint32_t depth : parse_depths(o.depths)) {
    for (const bool is_prompt : {true, false}) {
      Test test;
      test.depth = depth;
      (is_prompt ? test.prompt : test.generate) =
          static_cast<uint32_t>(is_prompt ? o.prompt : o.generate);
      if (test.tokens() == 0) continue;
      if (uint64_t{depth} + test.prompt + test.generate + 1 > context) {
        std::fprintf(stderr, "%s does not fit the plan's context of %u, left out\n",
                     test.name().c_str(), context);
        continue;
      }
      tests.push_back(std::move(test));
    }
  }
  return tests;
}

class Bench {
 public:
  explicit Bench(Session& session) : session_(session), executor_(session.executor()) {
    Sampling greedy;
    greedy.ignore_end = true;
    session_.check(executor_.set_sampling(greedy));
  }

  double sample(const Test& test) {
    session_.check(executor_.rewind(0));
    if (test.depth > 0) {
      feed(test.depth);
      take(1, true);  // waits for the prompt
      session_.check(executor_.rewind(test.depth));
    }
    if (test.generate > 0 && test.depth == 0) feed(1);
    const double start = now_seconds();
    if (test.prompt > 0) feed(test.prompt);
    take(test.prompt > 0 ? 1 : test.generate, false);
    return now_seconds() - start;
  }

 private:
  // Pseudo-random tokens: the same in every run.
  void feed(uint32_t count) {
    std::vector<uint32_t> tokens(count);
    for (uint32_t& token : tokens) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      token = static_cast<uint32_t>((state_ >> 33) % executor_.vocab_size());
    }
    session_.check(executor_.prefill(tokens.data(), count));
  }
  void take(uint32_t count, bool one_at_a_time) {
    const uint32_t ahead = one_at_a_time ? 1 : kAhead;
    for (uint32_t asked = 0, taken = 0; taken < count; ++taken) {
      while (asked < count && executor_.in_flight() < ahead) {
        session_.check(executor_.enqueue());
        ++asked;
      }
      session_.check(executor_.next().error());
    }
  }

  static constexpr uint32_t kAhead = 4;  // as jllm run does

  Session& session_;
  Executor& executor_;
  uint64_t state_ = 1;
};

std::string now_utc() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

nlohmann::ordered_json record(const Test& test, OpenPlan& plan, Session& session) {
  const fb::Plan& p = plan.view().plan();
  const fb::Model& model = *p.model();
  const MemoryUse& memory = session.executor().memory_use();
  std::vector<uint64_t> samples_ns;
  std::vector<double> samples_ts, nanoseconds;
  for (const double s : test.seconds) {
    samples_ns.push_back(static_cast<uint64_t>(s * 1e9));
    nanoseconds.push_back(s * 1e9);
    samples_ts.push_back(test.rate(s));
  }
  const Moments ns = moments(nanoseconds), ts = moments(samples_ts);
  nlohmann::ordered_json d;
  d["build_commit"] = JLLM_VERSION;
  d["backends"] = plan.view().is_host() ? "host" : "CUDA";
  d["gpu_info"] = session.executor().device_name();
  d["target"] = p.target()->name()->str();
  d["model_filename"] = plan.path();
  d["model_type"] = model.name()->str();
  d["model_size"] = memory.weights;
  d["model_n_params"] = model.parameter_count();
  d["n_prompt"] = test.prompt;
  d["n_gen"] = test.generate;
  d["n_depth"] = test.depth;
  d["test_time"] = now_utc();
  d["avg_ns"] = static_cast<uint64_t>(ns.mean);
  d["stddev_ns"] = static_cast<uint64_t>(ns.deviation);
  d["avg_ts"] = ts.mean;
  d["stddev_ts"] = ts.deviation;
  d["median_ts"] = test.rate(test.median());
  d["weight_gbps"] = test.generate > 0
                         ? double(model.weights_read_per_token()) * test.rate(test.median()) / 1e9
                         : 0.0;
  d["device_bytes"] = memory.device_total();
  d["samples_ns"] = samples_ns;
  d["samples_ts"] = samples_ts;
  return d;
}

void print_csv(const std::vector<nlohmann::ordered_json>& records) {
  if (records.empty()) return;
  const auto row = [](const nlohmann::ordered_json& d, bool keys) {
    std::string line;
    for (const auto& [key, value] : d.items()) {
      if (value.is_array()) continue;
      if (!line.empty()) line += ',';
      line += keys ? key : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    }
    std::printf("%s\n", line.c_str());
  };
  row(records[0], true);
  for (const auto& d : records) row(d, false);
}

void print_text(const std::vector<Test>& tests, const std::vector<nlohmann::ordered_json>& records,
                OpenPlan& plan) {
  std::printf("%s on %s\n", plan.view().plan().model()->name()->c_str(),
              records.empty() ? "" : records[0]["gpu_info"].get<std::string>().c_str());
  std::printf("%-16s %12s %10s %10s %10s\n", "test", "median tok/s", "mean", "deviation", "GB/s");
  for (size_t i = 0; i < tests.size(); ++i) {
    const nlohmann::ordered_json& d = records[i];
    std::printf("%-16s %12.1f %10.1f %10.1f %10.1f\n", tests[i].name().c_str(),
                d["median_ts"].get<double>(), d["avg_ts"].get<double>(),
                d["stddev_ts"].get<double>(), d["weight_gbps"].get<double>());
  }
}

}  // namespace

int bench_command(int argc, char** argv) {
  BenchOptions options;
  if (!parse(argc, argv, &options)) return kDone;
  OpenPlan plan(options.plan);
  ExecutorOptions executor_options;
  executor_options.threads = static_cast<unsigned>(options.threads);
  executor_options.device = static_cast<int>(options.device);
  executor_options.newer_device = options.newer_device;
  Session session(plan, executor_options);
  std::vector<Test> tests = make_tests(options, session.executor().context());
  Bench bench(session);
  std::vector<nlohmann::ordered_json> records;
  for (Test& test : tests) {
    bench.sample(test);  // warms up
    for (uint64_t i = 0; i < options.repetitions; ++i) test.seconds.push_back(bench.sample(test));
    records.push_back(record(test, plan, session));
  }
  if (options.as_json) {
    const nlohmann::ordered_json all = records;
    std::printf("%s\n", all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  } else if (options.as_csv) {
    print_csv(records);
  } else {
    print_text(tests, records, plan);
  }
  return kDone;
}

}  // namespace jllm::tool

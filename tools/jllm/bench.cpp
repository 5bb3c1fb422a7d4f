// jllm bench: times prompts ("pp") and generation ("tg") at chosen depths, as llama-bench does,
// with its field names; or shows where the time of a step goes. This file is the command line; the
// parts are in bench/.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>

#include "tools/jllm/arguments.h"
#include "tools/jllm/bench/measure.h"
#include "tools/jllm/bench/peer.h"
#include "tools/jllm/bench/print.h"
#include "tools/jllm/bench/profile.h"
#include "tools/jllm/bench/record.h"
#include "tools/jllm/bench/slots.h"
#include "tools/jllm/bench/speculation.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/session.h"

namespace jllm::tool {
namespace {

struct BenchOptions {
  PlanPaths plan;
  std::string depths = "0", svg, peer;
  uint64_t prompt = 512, generate = 128, repetitions = 5, threads = 0, device = 0;
  bool as_json = false, as_csv = false, newer_device = false, eager = false;
  bool profile = false, per_node = false, load = false, cold = false, speculate = false;
  bool slots = false, power = false;
};

std::vector<uint32_t> parse_depths(const std::string& text) {
  std::vector<uint32_t> depths;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, ',');) {
    char* end = nullptr;
    const unsigned long value = std::strtoul(word.c_str(), &end, 10);
    if (word.empty() || word[0] == '-' || *end != 0 || value > UINT32_MAX) {
      throw Failure(kUsage, "--n-depth " + text + ": expected numbers with commas between them");
    }
    depths.push_back(static_cast<uint32_t>(value));
  }
  std::sort(depths.begin(), depths.end());
  depths.erase(std::unique(depths.begin(), depths.end()), depths.end());
  return depths;
}

bool parse(int argc, char** argv, BenchOptions* o) {
  Arguments a(
      "jllm bench PLAN.jllm [-p N] [-n N] [-d N,...] [-r N] [--json | --csv] [--svg FILE]\n"
      "                  [--peer MODEL.gguf] [--load [--cold]] [--power]\n"
      "                  [--profile [--per-node] | --speculate | --slots]",
      "Tokens per second of prompts and of generation, and what was measured beside them.\n"
      "  A prompt's time ends with the token behind it: that is the time to the first token.\n"
      "  Sampling is part of generation. p50, p99 and max are of the times between two tokens\n"
      "  as they reach the host, over all repetitions; jitter is p99 - p50. CPU us/tok is\n"
      "  what all threads of the process used. Memory is planned against taken.\n"
      "With --profile: every node of a step against the time that reading its bytes takes.\n"
      "With --speculate: generation behind a prompt that repeats 32 random tokens, without\n"
      "  drafts, with those that jllm run would look up, and with drafts that all hold or all\n"
      "  fail: the most and the least that a text can gain.\n"
      "With --slots: generation in 1, 2, 4, ... sequences at once, of a plan made with\n"
      "  jllmc compile --slots N: tokens per second of all together, and of each.");
  add_plan(&a, &o->plan);
  a.integer("-p", "--n-prompt", &o->prompt, UINT32_MAX,
            "tokens of the prompt, 0: no such test (default 512)");
  a.integer("-n", "--n-gen", &o->generate, UINT32_MAX,
            "tokens to generate, 0: no such test (default 128)");
  a.text("-d", "--n-depth", &o->depths,
         "tokens already there, one test of each kind for each: 0,512,2048 (default 0)");
  a.integer("-r", "--repetitions", &o->repetitions, 1000, "samples of each test (default 5)");
  a.flag("", "--json", &o->as_json, "print one JSON document");
  a.flag("", "--csv", &o->as_csv, "print comma-separated values");
  a.text("", "--svg", &o->svg, "also draw tok/s over depth into this file");
  a.text("", "--peer", &o->peer,
         "also run llama-bench, which must be on the PATH, on this GGUF file, and compare");
  a.flag("", "--load", &o->load,
         "also hold loading against a plain read of the file and copy to the device");
  a.flag("", "--cold", &o->cold, "--load with the file out of the page cache");
  a.flag("", "--power", &o->power,
         "also watts and tokens per joule, where the module has power rails (Jetsons)");
  a.flag("", "--profile", &o->profile,
         "where the time of a step goes, by kernel, instead of the tests' rates");
  a.flag("", "--per-node", &o->per_node, "--profile node by node");
  a.flag("", "--speculate", &o->speculate,
         "what speculation gains or costs, instead of the tests' rates");
  a.flag("", "--slots", &o->slots,
         "what several sequences at once gain, instead of the tests' rates");
  a.integer("", "--threads", &o->threads, 64, "host plans: worker threads (default: one per CPU)");
  a.integer("", "--device", &o->device, 1023, "CUDA plans: device number (default 0)");
  a.flag("", "--eager", &o->eager, "CUDA plans: launch kernel by kernel, without graphs");
  a.flag("", "--newer-device", &o->newer_device,
         "run a plan made with --emit-ptx on a newer device (tests)");
  if (!a.parse(argc, argv)) return false;
  if (o->repetitions == 0) throw Failure(kUsage, "--repetitions 0: at least one is needed");
  if (o->as_json && o->as_csv) throw Failure(kUsage, "--json or --csv, not both");
  if (o->per_node) o->profile = true;
  if (o->cold) o->load = true;
  if (o->profile + o->speculate + o->slots > 1) {
    throw Failure(kUsage, "--profile, --speculate or --slots: one of them at a time");
  }
  const char* alone = o->profile     ? "--profile"
                      : o->speculate ? "--speculate"
                      : o->slots     ? "--slots"
                                     : nullptr;
  if (alone != nullptr &&
      (o->as_csv || o->load || o->power || !o->svg.empty() || !o->peer.empty())) {
    throw Failure(kUsage, std::string(alone) + " goes with --json alone: no tests are compared");
  }
  if (o->speculate || o->slots) o->prompt = 0;
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
  if (tests.empty()) {
    throw Failure(kUsage, "no test is left: the plan's context is " + std::to_string(context) +
                              "; say a smaller -p, -n or -d, or compile with a larger --context");
  }
  return tests;
}

ExecutorOptions executor_options(const BenchOptions& o) {
  ExecutorOptions options;
  options.threads = static_cast<unsigned>(o.threads);
  options.device = static_cast<int>(o.device);
  options.newer_device = o.newer_device;
  options.graphs = !o.eager;
  return options;
}

PeerOptions peer_options(const BenchOptions& o, const std::vector<Test>& tests, bool is_host) {
  PeerOptions peer;
  peer.model = o.peer;
  peer.prompt = o.prompt;
  peer.generate = o.generate;
  peer.repetitions = o.repetitions;
  peer.threads = o.threads;
  peer.is_host = is_host;
  for (const Test& test : tests) {
    if (peer.depths.empty() || peer.depths.back() != test.depth) peer.depths.push_back(test.depth);
  }
  return peer;
}

ReadCeiling read_ceiling(const BenchOptions& o, bool is_host) {
  return is_host ? host_read_ceiling(static_cast<unsigned>(o.threads))
                 : cuda_read_ceiling(static_cast<int>(o.device));
}

void print_json(const nlohmann::ordered_json& document) {
  std::printf("%s\n",
              document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

// The plan at the head of a document.
nlohmann::ordered_json describe(OpenPlan& plan) {
  nlohmann::ordered_json d;
  d["model_type"] = plan.view().plan().model()->name()->str();
  d["model_hash"] = model_hash(plan.view());
  d["plan_hash"] = plan_hash(plan.view());
  d["target"] = plan.view().plan().target()->name()->str();
  return d;
}

int profile(const BenchOptions& o) {
  OpenPlan plan(o.plan);
  plan.require_text();
  const fb::Model& model = *plan.view().plan().model();
  const std::vector<Test> tests = make_tests(o, model.context());
  const std::vector<Profile> profiles =
      Profiler(plan, executor_options(o), o.repetitions).run(tests);
  const ReadCeiling ceiling = read_ceiling(o, plan.view().is_host());
  if (!o.as_json) {
    std::printf("%s, plan %s\nfloor: a node's bytes at %.1f GB/s (%s)\n", model.name()->c_str(),
                plan_hash(plan.view()).c_str(), ceiling.gigabytes_per_second,
                ceiling.source.c_str());
    for (const Profile& p : profiles) print_profile(p, ceiling, o.per_node);
    return kDone;
  }
  nlohmann::ordered_json d = describe(plan);
  d["read_ceiling_gbps"] = ceiling.gigabytes_per_second;
  d["read_ceiling_source"] = ceiling.source;
  d["profiles"] = nlohmann::ordered_json::array();
  for (const Profile& p : profiles) d["profiles"].push_back(profile_json(p, ceiling));
  print_json(d);
  return kDone;
}

int speculate(const BenchOptions& o) {
  OpenPlan plan(o.plan);
  plan.require_text();
  const fb::Model& model = *plan.view().plan().model();
  Session session(plan, executor_options(o));
  const std::vector<SpeculationTest> tests =
      SpeculationBench(plan.view(), session).run(make_tests(o, model.context()), o.repetitions);
  const uint32_t most = session.executor().most_drafted();
  if (o.as_json) {
    nlohmann::ordered_json d = describe(plan);
    d["gpu_info"] = session.executor().device_name();
    d["most_drafted"] = most;
    d["tests"] = nlohmann::ordered_json::array();
    for (const SpeculationTest& test : tests) d["tests"].push_back(speculation_json(test));
    print_json(d);
  } else {
    std::printf("%s on %s, plan %s\nup to %u drafted tokens a step\n", model.name()->c_str(),
                session.executor().device_name(), plan_hash(plan.view()).c_str(), most);
    print_speculation(tests);
  }
  return kDone;
}

int slots(const BenchOptions& o) {
  OpenPlan plan(o.plan);
  plan.require_text();
  const fb::Model& model = *plan.view().plan().model();
  Session session(plan, executor_options(o));
  const std::vector<SlotsTest> tests =
      SlotsBench(plan.view(), session).run(make_tests(o, model.context()), o.repetitions);
  if (o.as_json) {
    nlohmann::ordered_json d = describe(plan);
    d["gpu_info"] = session.executor().device_name();
    d["tests"] = nlohmann::ordered_json::array();
    for (const SlotsTest& test : tests) d["tests"].push_back(slots_json(test));
    print_json(d);
  } else {
    std::printf("%s on %s, plan %s\n", model.name()->c_str(), session.executor().device_name(),
                plan_hash(plan.view()).c_str());
    print_slots(tests);
  }
  return kDone;
}

// Everything that needs the executor; it is gone afterwards.
std::vector<Record> measure(const BenchOptions& o, OpenPlan& plan, std::vector<Test>* tests,
                            Circumstances* c, double start) {
  Session session(plan, executor_options(o));
  std::unique_ptr<PowerSampler> power;
  if (o.power) power = std::make_unique<PowerSampler>(platform::sysfs_root());
  if (power != nullptr) c->power_source = power->source();
  if (o.power && c->power_source.empty()) {
    std::fprintf(
        stderr,
        "--power: no power rails can be read here (INA3221 or INA238 below /sys/class/hwmon, "
        "as on Jetsons); in a container, JLLM_SYSFS_ROOT says where the system's are\n");
    power.reset();
  }
  Bench bench(plan.view(), session, power.get());
  bench.first_token();
  c->load.first_token_seconds = now_seconds() - start;
  c->load.create_seconds = session.load_seconds();
  c->before = read_health(*c);
  for (Test& test : *tests) {
    Test warm_up = test;
    bench.repeat(&warm_up);
    for (uint64_t i = 0; i < o.repetitions; ++i) bench.repeat(&test);
  }
  c->after = read_health(*c);
  std::vector<Record> records;
  for (const Test& test : *tests) records.push_back(make_record(test, plan, session, *c));
  return records;
}

void write_svg(const std::string& path, const std::vector<Record>& records) {
  std::ofstream file(path, std::ios::binary);
  file << draw_chart(chart_of(records));
  if (!file.flush()) throw Failure(kFailed, path + ": cannot be written");
}

}  // namespace

int bench_command(int argc, char** argv) {
  BenchOptions options;
  if (!parse(argc, argv, &options)) return kDone;
  if (options.profile) return profile(options);
  if (options.speculate) return speculate(options);
  if (options.slots) return slots(options);
  Circumstances c;
  c.command = "jllm bench";
  for (int i = 0; i < argc; ++i) c.command += std::string(" ") + argv[i];
  auto plan = std::make_unique<OpenPlan>(options.plan);
  plan->require_text();
  c.is_host = plan->view().is_host();
  c.device = static_cast<int>(options.device);
  std::vector<Test> tests = make_tests(options, plan->view().plan().model()->context());
  const PeerOptions peer = peer_options(options, tests, c.is_host);
  if (!options.peer.empty()) check_peer(peer);  // before the time is spent
  if (options.load) {
    c.load.cold = options.cold;
    c.load.floor =
        measure_load_floor(plan->file().weights_path(), c.is_host, c.device, options.cold);
  }
  const double start = now_seconds();
  plan = std::make_unique<OpenPlan>(options.plan);
  std::vector<Record> records = measure(options, *plan, &tests, &c, start);
  const ReadCeiling ceiling = read_ceiling(options, c.is_host);
  for (Record& record : records) add_ceiling(&record, ceiling);
  if (!options.peer.empty()) add_peer(&records, run_peer(peer));
  if (!options.svg.empty()) write_svg(options.svg, records);
  if (options.as_json) {
    print_json(records);
  } else if (options.as_csv) {
    std::printf("%s", to_csv(records).c_str());
  } else {
    print_table(records);
  }
  return kDone;
}

}  // namespace jllm::tool

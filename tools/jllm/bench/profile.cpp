#include "tools/jllm/bench/profile.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

namespace jllm::tool {
namespace {

// "qkv_12" is a specialisation of "qkv".
std::string stem(const std::string& kernel) {
  size_t end = kernel.size();
  while (end > 0 && std::isdigit(static_cast<unsigned char>(kernel[end - 1]))) --end;
  const bool numbered = end > 1 && end < kernel.size() && kernel[end - 1] == '_';
  return numbered ? kernel.substr(0, end - 1) : kernel;
}

bool starts_with(const std::string& text, const char* start) { return text.rfind(start, 0) == 0; }

double floor_us(uint64_t bytes, const ReadCeiling& ceiling) {
  return ceiling.gigabytes_per_second > 0 ? double(bytes) / ceiling.gigabytes_per_second / 1e3 : 0;
}
double gigabytes_per_second(uint64_t bytes, double microseconds) {
  return microseconds > 0 ? double(bytes) / microseconds / 1e3 : 0;
}

}  // namespace

uint64_t bytes_to_read(const fb::Plan& plan, const fb::Launch& launch, uint32_t positions,
                       uint32_t rows) {
  const std::string kernel = stem(plan.kernels()->Get(launch.kernel())->name()->str());
  const uint64_t context = plan.model()->context();
  // Experts that so many tokens have at most.
  const uint64_t experts = plan.model()->expert_count();
  const uint64_t chosen = std::min(experts, uint64_t{rows} * plan.model()->expert_used_count());
  uint64_t bytes = 0;
  for (const fb::Arg* arg : *launch.args()) {
    if (arg->kind() != fb::ArgKind::Pointer) continue;
    const fb::ArenaKind arena = plan.arenas()->Get(arg->arena())->kind();
    if (arena == fb::ArenaKind::Weights) {
      const uint64_t vocab = std::max(1u, plan.model()->vocab_size());
      bytes += kernel == "embed"                ? arg->bytes() / vocab * rows
               : starts_with(kernel, "expert_") ? arg->bytes() / experts * chosen
                                                : arg->bytes();
    } else if (arena == fb::ArenaKind::Kv) {
      bytes += arg->bytes() / context * (starts_with(kernel, "attention") ? positions : rows);
    }
  }
  return bytes;
}

double Profile::nodes_us() const {
  double sum = 0;
  for (const Node& node : nodes) sum += node.microseconds;
  return sum;
}

std::vector<KernelSum> sum_by_kernel(const Profile& profile) {
  std::map<std::string, KernelSum> by_name;
  for (const Node& node : profile.nodes) {
    KernelSum& sum = by_name[node.kernel];
    sum.kernel = node.kernel;
    ++sum.launches;
    sum.microseconds += node.microseconds;
    sum.bytes += node.bytes;
  }
  std::vector<KernelSum> sums;
  for (const auto& entry : by_name) sums.push_back(entry.second);
  std::stable_sort(sums.begin(), sums.end(), [](const KernelSum& a, const KernelSum& b) {
    return a.microseconds > b.microseconds;
  });
  return sums;
}

// What is run for a test, behind its depth: these graphs once each, in this order.
struct Profiler::Step {
  Test test;
  std::vector<uint32_t> graphs;
};

std::vector<Profiler::Step> Profiler::steps_of(const std::vector<Test>& tests) const {
  std::vector<Step> steps;
  for (const Test& test : tests) {
    Step step;
    step.test = test;
    if (test.prompt > 0) {
      const int prefill = graph_for(fb::GraphKind::Prefill, test.prompt);
      const int head = graph_for(fb::GraphKind::Head, 1);
      if (prefill < 0 || head < 0) continue;
      step.graphs = {uint32_t(prefill), uint32_t(head)};
      // A single token would be left to the decode graph.
      const uint32_t rows = plan_.view().plan().graphs()->Get(uint32_t(prefill))->rows();
      step.test.prompt = std::min(test.prompt, rows);
      if (step.test.prompt < 2) continue;
    } else {
      const int decode = graph_for(fb::GraphKind::Decode, 1);
      if (decode < 0) continue;
      step.graphs = {uint32_t(decode)};
    }
    steps.push_back(step);
  }
  return steps;
}

// As the executor chooses: the smallest that takes so many rows, else the largest; -1: none.
int Profiler::graph_for(fb::GraphKind kind, uint32_t rows) const {
  const auto& graphs = *plan_.view().plan().graphs();
  int best = -1;
  for (uint32_t i = 0; i < graphs.size(); ++i) {
    if (graphs.Get(i)->kind() != kind) continue;
    const uint32_t its = graphs.Get(i)->rows();
    const uint32_t most = best < 0 ? 0 : graphs.Get(uint32_t(best))->rows();
    if (best < 0 || (most < rows ? its > most : its >= rows && its < most)) best = int(i);
  }
  return best;
}

double Profiler::plain_us(Bench& bench, Test test) const {
  bench.repeat(&test);  // warms up
  test.seconds.clear();
  for (uint64_t r = 0; r < repetitions_; ++r) bench.repeat(&test);
  return median(test.seconds) * 1e6 / (test.generate > 0 ? test.tokens() : 1);
}

void Profiler::time_nodes(Session& session, Bench& bench, const Step& step,
                          Profile* profile) const {
  const fb::Plan& plan = plan_.view().plan();
  const Test& test = step.test;
  std::vector<std::vector<double>> samples;  // of every node of every graph
  std::vector<double> marks;
  const auto keep = [&] {
    size_t first = 0;
    for (const uint32_t graph : step.graphs) {
      std::vector<float> times(plan.graphs()->Get(graph)->launches()->size() + 1);
      session.check(session.executor().launch_times(graph, times.data()));
      samples.resize(std::max(samples.size(), first + times.size() - 1));
      for (size_t n = 0; n + 1 < times.size(); ++n) samples[first++].push_back(times[n]);
      marks.push_back(times.back());
    }
  };
  bench.first_token();  // warms up
  for (uint64_t r = 0; r < repetitions_; ++r) {
    bench.fill(test.depth);
    if (test.prompt > 0) {
      bench.feed(test.prompt);
      bench.step();
      keep();
      continue;
    }
    if (test.depth == 0) bench.feed(1);
    session.check(session.executor().rewind(session.executor().count()));
    for (uint32_t token = 0; token < test.generate; ++token) {
      bench.step();
      keep();
    }
  }
  profile->mark_us = median(marks);
  const uint32_t rows = std::max(1u, test.prompt);
  // Half way through a generation.
  const uint32_t positions = test.depth + (test.prompt > 0 ? rows : test.generate / 2 + 1);
  size_t node = 0;
  for (const uint32_t graph : step.graphs) {
    for (const fb::Launch* launch : *plan.graphs()->Get(graph)->launches()) {
      profile->nodes.push_back({stem(plan.kernels()->Get(launch->kernel())->name()->str()),
                                launch->label()->str(),
                                std::max(0.0, median(samples[node++]) - profile->mark_us),
                                bytes_to_read(plan, *launch, positions, rows)});
    }
  }
}

std::vector<Profile> Profiler::run(const std::vector<Test>& tests) {
  const std::vector<Step> steps = steps_of(tests);
  std::vector<Profile> profiles(steps.size());
  {
    Session session(plan_, options_);
    Bench bench(plan_.view(), session);
    for (size_t i = 0; i < steps.size(); ++i) {
      profiles[i].test = steps[i].test.name();
      profiles[i].step_us = plain_us(bench, steps[i].test);
    }
  }
  ExecutorOptions options = options_;
  options.time_launches = true;
  Session session(plan_, options);
  Bench bench(plan_.view(), session);
  for (size_t i = 0; i < steps.size(); ++i) time_nodes(session, bench, steps[i], &profiles[i]);
  return profiles;
}

void print_profile(const Profile& p, const ReadCeiling& ceiling, bool per_node) {
  const double all = p.nodes_us();
  std::printf("\n%s: %.1f us as it runs; %zu nodes one after the other %.1f us\n", p.test.c_str(),
              p.step_us, p.nodes.size(), all);
  std::printf("%-28s %17s %10s %7s %10s %9s %10s %7s\n", per_node ? "node" : "kernel",
              per_node ? "kernel" : "launches", "us", "%", "MB", "GB/s", "floor us", "x floor");
  const auto line = [&](const std::string& name, const std::string& launches, double us,
                        uint64_t bytes) {
    const double floor = floor_us(bytes, ceiling);
    std::printf("%-28s %17s %10.2f %7.1f %10.3f %9.1f %10.2f", name.c_str(), launches.c_str(), us,
                all > 0 ? 100 * us / all : 0, double(bytes) / 1e6, gigabytes_per_second(bytes, us),
                floor);
    // Next to nothing to read: the ratio would say nothing.
    if (us < 100 * floor) {
      std::printf(" %7.2f\n", us / floor);
    } else {
      std::printf(" %7s\n", "-");
    }
  };
  uint64_t bytes = 0;
  for (const Node& node : p.nodes) bytes += node.bytes;
  if (per_node) {
    for (const Node& node : p.nodes) line(node.label, node.kernel, node.microseconds, node.bytes);
  } else {
    for (const KernelSum& k : sum_by_kernel(p)) {
      line(k.kernel, std::to_string(k.launches), k.microseconds, k.bytes);
    }
  }
  line("all nodes", std::to_string(p.nodes.size()), all, bytes);
  line("the step as it runs", "1", p.step_us, bytes);
}

nlohmann::ordered_json profile_json(const Profile& p, const ReadCeiling& ceiling) {
  const auto figures = [&](double us, uint64_t bytes) {
    return nlohmann::ordered_json{{"us", us},
                                  {"bytes", bytes},
                                  {"gbps", gigabytes_per_second(bytes, us)},
                                  {"floor_us", floor_us(bytes, ceiling)}};
  };
  nlohmann::ordered_json d;
  d["test"] = p.test;
  d["step_us"] = p.step_us;
  d["nodes_us"] = p.nodes_us();
  d["mark_us"] = p.mark_us;
  d["kernels"] = nlohmann::ordered_json::array();
  for (const KernelSum& k : sum_by_kernel(p)) {
    nlohmann::ordered_json row = {{"kernel", k.kernel}, {"launches", k.launches}};
    row.update(figures(k.microseconds, k.bytes));
    d["kernels"].push_back(row);
  }
  d["nodes"] = nlohmann::ordered_json::array();
  for (const Node& node : p.nodes) {
    nlohmann::ordered_json row = {{"label", node.label}, {"kernel", node.kernel}};
    row.update(figures(node.microseconds, node.bytes));
    d["nodes"].push_back(row);
  }
  return d;
}

}  // namespace jllm::tool

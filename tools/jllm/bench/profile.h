// How long every launch of a step takes, and how long it would take if only its bytes had to be
// read: what `jllm bench --profile` shows.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/jllm/bench/measure.h"
#include "tools/jllm/bench/read_ceiling.h"

namespace jllm::tool {

struct Node {
  std::string kernel;       // "qkv" for every specialisation qkv_N
  std::string label;        // "blk.3.attn_qkv"
  double microseconds = 0;  // median
  uint64_t bytes = 0;       // that have to be read from memory: see bytes_to_read()
};

// Of a decode step; or of a prompt, as long as one prefill graph takes, with the token behind it.
struct Profile {
  std::string test;    // "tg @ d2048"
  double step_us = 0;  // of the step as a plain replay
  double mark_us = 0;  // what taking a time takes; taken off every node
  std::vector<Node> nodes;
  double nodes_us() const;
};

// Nodes of one kernel together, largest time first.
struct KernelSum {
  std::string kernel;
  uint32_t launches = 0;
  double microseconds = 0;
  uint64_t bytes = 0;
};
std::vector<KernelSum> sum_by_kernel(const Profile& profile);

// Weights once, the row of an embedding table that is looked up, and of the KV cache the rows up to
// `positions` that attention reads, or the `rows` that are written. Activations are left out: they
// stay in the caches. (An attention with a sliding window reads less than this.)
uint64_t bytes_to_read(const fb::Plan& plan, const fb::Launch& launch, uint32_t positions,
                       uint32_t rows);

// Runs each test twice: as it is, and in a second session with the time of every launch taken.
class Profiler {
 public:
  Profiler(OpenPlan& plan, const ExecutorOptions& options, uint64_t repetitions)
      : plan_(plan), options_(options), repetitions_(repetitions) {}

  // The tests' depths and kinds; prompts no longer than the largest prefill graph.
  std::vector<Profile> run(const std::vector<Test>& tests);

 private:
  struct Step;
  std::vector<Step> steps_of(const std::vector<Test>& tests) const;
  int graph_for(fb::GraphKind kind, uint32_t rows) const;
  double plain_us(Bench& bench, Test test) const;
  void time_nodes(Session& session, Bench& bench, const Step& step, Profile* profile) const;

  OpenPlan& plan_;
  ExecutorOptions options_;
  uint64_t repetitions_;
};

void print_profile(const Profile& profile, const ReadCeiling& ceiling, bool per_node);
nlohmann::ordered_json profile_json(const Profile& profile, const ReadCeiling& ceiling);

}  // namespace jllm::tool

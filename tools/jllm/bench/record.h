// What jllm bench writes down of a test: one flat record, with llama-bench's names where it has
// them.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tools/jllm/bench/health.h"
#include "tools/jllm/bench/load.h"
#include "tools/jllm/bench/measure.h"
#include "tools/jllm/bench/read_ceiling.h"

namespace jllm::tool {

// From the opening of the plan to the first token.
struct LoadTime {
  double create_seconds = 0;  // the executor: memory, weights, code, graphs
  double first_token_seconds = 0;
  bool cold = false;
  std::optional<LoadFloor> floor;  // where it was measured
};

// What all tests of one run have in common.
struct Circumstances {
  std::string command;
  bool is_host = false;
  int device = 0;
  LoadTime load;
  Health before, after;
  std::string power_source;  // the rails that tests' energy is of; empty: none
};

using Record = nlohmann::ordered_json;

Record make_record(const Test& test, OpenPlan& plan, Session& session, const Circumstances& c);
// Once the session is gone: bandwidth beside what the memory gives at best.
void add_ceiling(Record* record, const ReadCeiling& ceiling);

// The values are the records' own, arrays left out; a head line names them.
std::string to_csv(const std::vector<Record>& records);

// Identify a plan by its tables, which hold the hashes of all its segments, and a model by its
// GGUF's header and tensor table.
std::string plan_hash(const PlanView& view);
std::string model_hash(const PlanView& view);

Health read_health(const Circumstances& c);

}  // namespace jllm::tool

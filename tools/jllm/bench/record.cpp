#include "tools/jllm/bench/record.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "jllm_version.h"
#include "tools/jllm/device_facts.h"
#include "tools/jllm/doctor/machine.h"
#include "tools/jllm/memory_table.h"

namespace jllm::tool {
namespace {

std::string now_utc() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

std::string host_name() {
  char name[256] = {0};
  return gethostname(name, sizeof name - 1) == 0 ? name : "";
}

std::string system_name() {
  utsname system = {};
  return uname(&system) == 0 ? std::string(system.sysname) + " " + system.release : "";
}

// The number, or null.
Record optional(const std::optional<double>& value) { return value ? Record(*value) : Record(); }

void add_rates(const Test& test, uint64_t weights_per_token, Record* d) {
  std::vector<uint64_t> samples_ns;
  std::vector<double> samples_ts, nanoseconds;
  for (const double s : test.seconds) {
    samples_ns.push_back(static_cast<uint64_t>(s * 1e9));
    nanoseconds.push_back(s * 1e9);
    samples_ts.push_back(test.rate(s));
  }
  const Moments ns = moments(nanoseconds), ts = moments(samples_ts);
  (*d)["avg_ns"] = static_cast<uint64_t>(ns.mean);
  (*d)["stddev_ns"] = static_cast<uint64_t>(ns.deviation);
  (*d)["avg_ts"] = ts.mean;
  (*d)["stddev_ts"] = ts.deviation;
  (*d)["median_ts"] = test.median_rate();
  const bool generates = test.generate > 0;
  (*d)["weight_gbps"] = generates ? double(weights_per_token) * test.median_rate() / 1e9 : 0.0;
  (*d)["roofline_fraction"] = nullptr;  // add_ceiling()
  (*d)["read_ceiling_gbps"] = nullptr;
  (*d)["read_ceiling_source"] = nullptr;
  const Latency tokens = latency(test.token_seconds);
  const auto milliseconds = [](bool known, double s) { return known ? Record(s * 1e3) : Record(); };
  (*d)["ttft_ms"] = milliseconds(!generates, median(test.seconds));
  (*d)["token_p50_ms"] = milliseconds(generates, tokens.p50);
  (*d)["token_p99_ms"] = milliseconds(generates, tokens.p99);
  (*d)["token_max_ms"] = milliseconds(generates, tokens.max);
  (*d)["jitter_ms"] = milliseconds(generates, tokens.jitter());
  (*d)["host_us_per_token"] = test.cpu_seconds_per_token() * 1e6;
  (*d)["samples_ns"] = samples_ns;
  (*d)["samples_ts"] = samples_ts;
}

void add_memory(OpenPlan& plan, Session& session, Record* d) {
  // Everything is taken before the first token, so these are peaks.
  const MemoryUse& memory = session.executor().memory_use();
  (*d)["device_bytes"] = memory.device_total();
  for (const char* key : {"device_planned_bytes", "device_taken_bytes", "process_planned_bytes",
                          "process_taken_bytes"}) {
    (*d)[key] = nullptr;
  }
  for (const MemoryLine& line : memory_lines(plan, session)) {
    const std::string name = line.name == "device in all" ? "device" : line.name;
    if (name != "device" && name != "process") continue;
    (*d)[name + "_planned_bytes"] = line.planned;
    (*d)[name + "_taken_bytes"] = line.measured;
  }
  (*d)["peak_resident_bytes"] = peak_resident_bytes();
}

void add_load(const LoadTime& load, Record* d) {
  (*d)["load_s"] = load.create_seconds;
  (*d)["first_token_s"] = load.first_token_seconds;
  const bool known = load.floor.has_value();
  const LoadFloor floor = load.floor.value_or(LoadFloor{});
  (*d)["load_cold"] = known ? Record(load.cold) : Record();
  (*d)["load_context_s"] = known ? Record(floor.context_seconds) : Record();
  (*d)["load_read_s"] = known ? Record(floor.read_seconds) : Record();
  (*d)["load_upload_s"] = known ? Record(floor.upload_seconds) : Record();
  (*d)["load_ratio"] = known ? Record(load.first_token_seconds / floor.total()) : Record();
}

// As CSV readers take it: quotes around text, a quote inside doubled.
std::string csv_cell(const Record& value) {
  if (!value.is_string()) {
    return value.is_null() ? "" : value.dump(-1, ' ', false, Record::error_handler_t::replace);
  }
  std::string cell = "\"";
  for (const char c : value.get<std::string>()) cell += c == '"' ? "\"\"" : std::string(1, c);
  return cell + "\"";
}

}  // namespace

std::string plan_hash(const PlanView& view) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx",
                static_cast<unsigned long long>(view.prefix().plan_hash));
  return text;
}

std::string model_hash(const PlanView& view) {
  return view.plan().provenance()->source_header_sha256()->str();
}

Health read_health(const Circumstances& c) {
  if (c.is_host) return cpu_health("");
  const DeviceFacts facts = read_device_attributes(c.device);
  return facts.integrated ? jetson_health("") : card_health(facts.pci_address);
}

Record make_record(const Test& test, OpenPlan& plan, Session& session, const Circumstances& c) {
  const fb::Plan& p = plan.view().plan();
  const fb::Model& model = *p.model();
  Record d;
  d["build_commit"] = JLLM_VERSION;
  d["command"] = c.command;
  d["host"] = host_name();
  d["system"] = system_name();
  d["backends"] = c.is_host ? "host" : "CUDA";
  d["cpu_info"] = cpu_name("");
  d["gpu_info"] = session.executor().device_name();
  d["driver_version"] =
      c.is_host ? Record() : Record(read_device_attributes(c.device).driver_version);
  d["target"] = p.target()->name()->str();
  d["model_filename"] = plan.path();
  d["model_type"] = model.name()->str();
  d["model_hash"] = model_hash(plan.view());
  d["plan_hash"] = plan_hash(plan.view());
  d["model_size"] = session.executor().memory_use().weights;
  d["model_n_params"] = model.parameter_count();
  d["n_prompt"] = test.prompt;
  d["n_gen"] = test.generate;
  d["n_depth"] = test.depth;
  d["test_time"] = now_utc();
  add_rates(test, model.weights_read_per_token(), &d);
  add_memory(plan, session, &d);
  add_load(c.load, &d);
  d["clock_mhz_before"] = optional(c.before.clock_mhz);
  d["clock_mhz_after"] = optional(c.after.clock_mhz);
  d["memory_clock_mhz"] = optional(c.after.memory_clock_mhz);
  d["temperature_c_before"] = optional(c.before.temperature_c);
  d["temperature_c_after"] = optional(c.after.temperature_c);
  d["power_w_after"] = optional(c.after.power_w);
  d["power_w"] = optional(test.energy.mean_watts());
  d["tokens_per_joule"] = optional(test.tokens_per_joule());
  d["power_source"] = c.power_source.empty() ? Record() : Record(c.power_source);
  return d;
}

void add_ceiling(Record* record, const ReadCeiling& ceiling) {
  (*record)["read_ceiling_source"] = ceiling.source;
  if (!(ceiling.gigabytes_per_second > 0)) return;
  (*record)["read_ceiling_gbps"] = ceiling.gigabytes_per_second;
  const double rate = (*record)["weight_gbps"].get<double>();
  if (rate > 0) (*record)["roofline_fraction"] = rate / ceiling.gigabytes_per_second;
}

std::string to_csv(const std::vector<Record>& records) {
  std::string text;
  if (records.empty()) return text;
  const auto add_row = [&](const Record& d, bool keys) {
    bool first = true;
    for (const auto& [key, value] : d.items()) {
      if (value.is_array()) continue;
      if (!first) text += ',';
      text += keys ? key : csv_cell(value);
      first = false;
    }
    text += '\n';
  };
  add_row(records[0], true);
  for (const Record& d : records) add_row(d, false);
  return text;
}

}  // namespace jllm::tool

#include "tools/jllm/bench/print.h"

#include <cstdio>

namespace jllm::tool {
namespace {

bool is_prompt(const Record& record) { return record["n_prompt"].get<uint64_t>() > 0; }

// The number as text, "-" where there is none.
std::string cell(const Record& record, const char* key, const char* format, double factor = 1) {
  if (!record.contains(key) || !record[key].is_number()) return "-";
  char text[64];
  std::snprintf(text, sizeof text, format, record[key].get<double>() * factor);
  return text;
}

void print_prompts(const std::vector<Record>& records) {
  std::printf("\n%-18s %12s %10s %10s %14s %12s\n", "prompt", "median tok/s", "mean", "deviation",
              "first token ms", "CPU us/tok");
  for (const Record& r : records) {
    if (!is_prompt(r)) continue;
    std::printf("%-18s %12s %10s %10s %14s %12s\n", test_name(r).c_str(),
                cell(r, "median_ts", "%.1f").c_str(), cell(r, "avg_ts", "%.1f").c_str(),
                cell(r, "stddev_ts", "%.1f").c_str(), cell(r, "ttft_ms", "%.2f").c_str(),
                cell(r, "host_us_per_token", "%.1f").c_str());
  }
}

void print_generation(const std::vector<Record>& records) {
  std::printf("\n%-18s %12s %10s %10s %8s %9s %9s %9s %9s %9s %11s\n", "generation", "median tok/s",
              "mean", "deviation", "GB/s", "% of mem", "p50 ms", "p99 ms", "max ms", "jitter ms",
              "CPU us/tok");
  for (const Record& r : records) {
    if (is_prompt(r)) continue;
    std::printf("%-18s %12s %10s %10s %8s %9s %9s %9s %9s %9s %11s\n", test_name(r).c_str(),
                cell(r, "median_ts", "%.1f").c_str(), cell(r, "avg_ts", "%.1f").c_str(),
                cell(r, "stddev_ts", "%.1f").c_str(), cell(r, "weight_gbps", "%.1f").c_str(),
                cell(r, "roofline_fraction", "%.1f", 100).c_str(),
                cell(r, "token_p50_ms", "%.3f").c_str(), cell(r, "token_p99_ms", "%.3f").c_str(),
                cell(r, "token_max_ms", "%.3f").c_str(), cell(r, "jitter_ms", "%.3f").c_str(),
                cell(r, "host_us_per_token", "%.1f").c_str());
  }
}

void print_peer(const std::vector<Record>& records) {
  std::printf("\n%-18s %12s %12s %8s\n", "against the peer", "jllm tok/s", "llama-bench", "ratio");
  for (const Record& r : records) {
    std::printf("%-18s %12s %12s %8s\n", test_name(r).c_str(), cell(r, "median_ts", "%.1f").c_str(),
                cell(r, "peer_median_ts", "%.1f").c_str(), cell(r, "peer_ratio", "%.2f").c_str());
  }
}

void print_power(const std::vector<Record>& records) {
  std::printf("\n%-18s %12s %8s %10s\n", "power", "median tok/s", "watts", "tokens/J");
  for (const Record& r : records) {
    std::printf("%-18s %12s %8s %10s\n", test_name(r).c_str(), cell(r, "median_ts", "%.1f").c_str(),
                cell(r, "power_w", "%.2f").c_str(), cell(r, "tokens_per_joule", "%.2f").c_str());
  }
  std::printf("of the whole module (%s), this program and all others\n",
              records[0]["power_source"].get<std::string>().c_str());
}

constexpr double kMebibyte = 1.0 / (1 << 20);

void print_circumstances(const Record& r) {
  std::printf("\nmemory    ");
  if (r["device_taken_bytes"].is_number()) {
    std::printf("device %s MiB of %s planned; ",
                cell(r, "device_taken_bytes", "%.1f", kMebibyte).c_str(),
                cell(r, "device_planned_bytes", "%.1f", kMebibyte).c_str());
  }
  std::printf("process %s MiB of %s planned, peak %s\n",
              cell(r, "process_taken_bytes", "%.1f", kMebibyte).c_str(),
              cell(r, "process_planned_bytes", "%.1f", kMebibyte).c_str(),
              cell(r, "peak_resident_bytes", "%.1f", kMebibyte).c_str());
  std::printf("clock     %s MHz before, %s behind; %s and %s degrees C\n",
              cell(r, "clock_mhz_before", "%.0f").c_str(),
              cell(r, "clock_mhz_after", "%.0f").c_str(),
              cell(r, "temperature_c_before", "%.0f").c_str(),
              cell(r, "temperature_c_after", "%.0f").c_str());
  std::printf("reading   %s GB/s at best (%s)\n", cell(r, "read_ceiling_gbps", "%.1f").c_str(),
              r["read_ceiling_source"].is_string()
                  ? r["read_ceiling_source"].get<std::string>().c_str()
                  : "not measured");
  std::printf("loading   %s s to the first token", cell(r, "first_token_s", "%.3f").c_str());
  if (r["load_ratio"].is_number()) {
    std::printf(", %s times a plain %s read and copy (context %s, read %s, copy %s s)",
                cell(r, "load_ratio", "%.2f").c_str(), r["load_cold"].get<bool>() ? "cold" : "warm",
                cell(r, "load_context_s", "%.3f").c_str(), cell(r, "load_read_s", "%.3f").c_str(),
                cell(r, "load_upload_s", "%.3f").c_str());
  }
  std::printf("\n");
}

}  // namespace

std::string test_name(const Record& r) {
  Test test;
  test.prompt = r["n_prompt"].get<uint32_t>();
  test.generate = r["n_gen"].get<uint32_t>();
  test.depth = r["n_depth"].get<uint32_t>();
  return test.name();
}

void print_table(const std::vector<Record>& records) {
  if (records.empty()) return;
  const Record& first = records[0];
  std::printf(
      "%s on %s\nmodel %.16s, plan %s, for target %s\n",
      first["model_type"].get<std::string>().c_str(), first["gpu_info"].get<std::string>().c_str(),
      first["model_hash"].get<std::string>().c_str(), first["plan_hash"].get<std::string>().c_str(),
      first["target"].get<std::string>().c_str());
  bool prompts = false, generation = false, peer = false;
  for (const Record& r : records) {
    (is_prompt(r) ? prompts : generation) = true;
    peer |= r.contains("peer_ratio");
  }
  if (prompts) print_prompts(records);
  if (generation) print_generation(records);
  if (peer) print_peer(records);
  if (first["power_source"].is_string()) print_power(records);
  print_circumstances(first);
}

Chart chart_of(const std::vector<Record>& records) {
  Chart chart;
  chart.x_label = "tokens already in the context";
  if (records.empty()) return chart;
  const Record& first = records[0];
  chart.title =
      first["model_type"].get<std::string>() + " on " + first["gpu_info"].get<std::string>();
  chart.subtitle = "plan " + first["plan_hash"].get<std::string>() + ", " +
                   first["test_time"].get<std::string>().substr(0, 10) + ", jllm " +
                   first["build_commit"].get<std::string>();
  for (const bool prompts : {false, true}) {
    ChartPanel panel;
    ChartSeries ours{"jllm", {}}, theirs{"llama-bench", {}};
    for (const Record& r : records) {
      if (is_prompt(r) != prompts) continue;
      const double depth = r["n_depth"].get<double>();
      panel.title = prompts ? "prompt of " + r["n_prompt"].dump() + " tokens"
                            : "generation of " + r["n_gen"].dump() + " tokens";
      ours.points.emplace_back(depth, r["median_ts"].get<double>());
      if (r.contains("peer_median_ts") && r["peer_median_ts"].is_number()) {
        theirs.points.emplace_back(depth, r["peer_median_ts"].get<double>());
      }
    }
    if (ours.points.empty()) continue;
    panel.y_label = "tokens per second";
    panel.series.push_back(ours);
    if (!theirs.points.empty()) panel.series.push_back(theirs);
    chart.panels.push_back(panel);
  }
  return chart;
}

}  // namespace jllm::tool

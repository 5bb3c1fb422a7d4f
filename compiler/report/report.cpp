#include "compiler/report/report.h"

#include <llvm/Support/FormatVariadic.h>
#include <llvm/Support/JSON.h>

#include <cstring>
#include <vector>

#include "compiler/report/edits.h"
#include "compiler/report/waterfall.h"

namespace jllm::report {
namespace {

using llvm::formatv;

// The graph that most of the time goes into: decode, or the largest of prefill where none is.
const select::ScheduledGraph& main_graph(const select::Schedule& schedule) {
  const select::ScheduledGraph* best = &schedule.graphs.front();
  for (const select::ScheduledGraph& graph : schedule.graphs) {
    if (graph.kind == ir::GraphKind::kDecode) return graph;
    if (graph.rows > best->rows) best = &graph;
  }
  return *best;
}

// Launches of each kernel in it.
std::vector<uint32_t> main_counts(const select::Schedule& schedule) {
  std::vector<uint32_t> counts(schedule.kernels.size(), 0);
  for (const select::Launch& launch : main_graph(schedule).launches) ++counts[launch.kernel];
  return counts;
}

// "Q_TYPE=q4_k" instead of a number; bit patterns of floats are left out.
std::string readable(const std::string& define) {
  const size_t equals = define.find('=');
  const std::string name = define.substr(0, equals);
  const auto ends_with = [&](const char* suffix) {
    const size_t n = std::strlen(suffix);
    return name.size() >= n && name.compare(name.size() - n, n, suffix) == 0;
  };
  if (ends_with("_BITS")) return "";
  if (!ends_with("TYPE")) return " " + define;
  const auto type = static_cast<WeightType>(std::stoul(define.substr(equals + 1)));
  return " " + name + "=" + weight_type_name(type);
}

// Matrix-vector launches of decode, and how many of them a tuning table has decided.
std::pair<size_t, size_t> tuned_launches(const select::Schedule& schedule) {
  size_t all = 0, measured = 0;
  const std::vector<uint32_t> counts = main_counts(schedule);
  for (size_t i = 0; i < schedule.kernels.size(); ++i) {
    const std::optional<select::GemvChoice>& gemv = schedule.kernels[i].gemv;
    if (!gemv) continue;
    all += counts[i];
    if (gemv->measured) measured += counts[i];
  }
  return {all, measured};
}

size_t decode_launches(const select::Schedule& schedule) {
  const select::ScheduledGraph& graph = main_graph(schedule);
  return graph.kind == ir::GraphKind::kDecode ? graph.launches.size() : 0;
}

void print_rates(const Facts& facts, llvm::raw_ostream& os) {
  const Footprint& footprint = facts.footprint;
  const select::ScheduledGraph& graph = main_graph(facts.planned->schedule);
  if (footprint.options.embeds) {
    os << formatv("\n  embeddings: {0} floats, the last token's state; {1} launches for {2} tokens",
                  facts.planned->model.params.embedding_length, graph.launches.size(), graph.rows);
    return;
  }
  const Prediction prediction = predict(footprint, facts.planned->target);
  os << formatv("\n  decode: {0} launches a token, reads {1} of weights and {2} of a full KV cache",
                graph.launches.size(), format_bytes(footprint.weights_per_token),
                format_bytes(footprint.budget.kv));
  if (prediction.tokens_per_second > 0) {
    os << formatv("; {0} GB/s allow at most {1:F0} tok/s (bandwidth / bytes)",
                  facts.planned->target.bandwidth_gbps, prediction.tokens_per_second);
  }
  os << "\n  ";
  print_speculation(footprint, os);
}

}  // namespace

void print_speculation(const Footprint& footprint, llvm::raw_ostream& os) {
  const uint32_t most = footprint.options.most_drafted();
  os << "speculation: ";
  if (most == 0) {
    os << "none";
    return;
  }
  os << formatv("up to {0} drafted tokens a step, for {1} of what the plan takes", most,
                format_bytes(footprint.speculation_bytes));
}

void print_text(const Facts& facts, const Style& style, llvm::raw_ostream& os) {
  const model::HyperParameters& p = facts.planned->model.params;
  const model::Model& m = facts.planned->model;
  os << formatv("\n{0}  ({1}, {2})  for  {3}\n\n", p.name, p.architecture,
                model::parameter_text(m.parameter_count, m.active_parameter_count),
                facts.planned->target.device_name);
  print(make_waterfall(facts.footprint, facts.planned->target), style, os);
  for (const std::string& warning : facts.planned->target.warnings) os << "  " << warning << "\n";
  print_rates(facts, os);
  if (const auto [all, measured] = tuned_launches(facts.planned->schedule); all > 0) {
    os << formatv("\n  variants: a tuning table decided {0} of {1} matrix-vector launches",
                  measured, all);
    os << (measured < all ? ", the cost model the rest" : "");
  }
  const bool embeds = facts.planned->options.embeds;
  os << formatv("\n  kernels (launches in {0}):\n",
                embeds ? "the largest prefill graph" : "decode");
  const std::vector<uint32_t> counts = main_counts(facts.planned->schedule);
  size_t others = 0;
  for (size_t i = 0; i < facts.planned->schedule.kernels.size(); ++i) {
    const select::KernelSpec& kernel = facts.planned->schedule.kernels[i];
    others += counts[i] == 0;
    if (counts[i] == 0) continue;
    std::string defines;
    for (const std::string& define : kernel.defines) defines += readable(define);
    os << formatv("    {0,-20} {1,4}x {2}\n", kernel.name, counts[i], defines);
  }
  os << formatv("    and {0} for {1} (--report=json has them)\n", others,
                embeds ? "shorter prompts and the head" : "prompts and drafts");
  if (facts.edits != nullptr) print_edits(*facts.edits, os);
  if (!facts.chat_format.empty()) os << formatv("  chat format: {0}\n", facts.chat_format);
  if (!facts.chat_covers.empty()) os << formatv("    covers: {0}\n", facts.chat_covers);
  if (!facts.chat_lacks.empty()) os << formatv("    does not cover: {0}\n", facts.chat_lacks);
  if (!facts.nvrtc.empty()) os << formatv("  nvrtc: {0}\n", facts.nvrtc);
  if (!facts.output.empty()) {
    if (!facts.self_test.empty()) os << formatv("  self-test: {0}\n", facts.self_test);
    os << formatv("\n{0}: {1}\n", facts.output, format_bytes(facts.file_bytes));
  }
  if (!facts.weight_file.empty()) {
    os << formatv("{0}: {1}{2}\n", facts.weight_file, format_bytes(facts.weight_file_bytes),
                  facts.weight_file_reused ? ", was there already" : "");
  }
}

void write_budget(const Budget& b, uint64_t scratch_lower_bound, const char* code_key,
                  llvm::json::OStream& json) {
  json.attribute("weights", int64_t(b.weights));
  json.attribute("kv", int64_t(b.kv));
  json.attribute("scratch", int64_t(b.scratch));
  json.attribute("scratch_lower_bound", int64_t(scratch_lower_bound));
  json.attribute("state", int64_t(b.state));
  json.attribute("pinned", int64_t(b.pinned));
  json.attribute(code_key, int64_t(b.code));
  json.attribute("cuda_context_estimate", int64_t(b.context));
  json.attribute("cuda_graphs_estimate", int64_t(b.graphs));
  json.attribute("host_process_estimate", int64_t(b.host));
  json.attribute("reserve", int64_t(b.reserve));
  json.attribute("total", int64_t(b.total()));
  json.attribute("budget", int64_t(b.limit));
}

void write_speculation(const Footprint& footprint, llvm::json::OStream& json) {
  json.attributeObject("speculation", [&] {
    json.attribute("most_drafted", int64_t(footprint.options.most_drafted()));
    json.attribute("bytes", int64_t(footprint.speculation_bytes));
  });
}

void print_json(const Facts& facts, llvm::raw_ostream& os) {
  const model::HyperParameters& p = facts.planned->model.params;
  const Budget& b = facts.footprint.budget;
  llvm::json::OStream json(os, 2);
  json.object([&] {
    json.attributeObject("model", [&] {
      json.attribute("name", p.name);
      json.attribute("architecture", p.architecture);
      json.attribute("parameter_count", int64_t(facts.planned->model.parameter_count));
      json.attribute("active_parameter_count",
                     int64_t(facts.planned->model.active_parameter_count));
      json.attribute("context", int64_t(facts.planned->program.context));
      json.attribute("makes", facts.planned->options.embeds ? "embeddings" : "text");
      json.attribute("kv_type_k", weight_type_name(facts.planned->options.kv_type_k));
      json.attribute("kv_type_v", weight_type_name(facts.planned->options.kv_type_v));
    });
    json.attribute("target", facts.planned->target.name);
    json.attribute("fits", b.fits());
    json.attributeObject("bytes", [&] {
      write_budget(b, facts.planned->layout.scratch_lower_bound, "code", json);
      json.attribute("file", int64_t(facts.file_bytes));
    });
    write_speculation(facts.footprint, json);
    json.attribute("weights_read_per_token", int64_t(facts.footprint.weights_per_token));
    json.attribute("decode_launches", int64_t(decode_launches(facts.planned->schedule)));
    const auto [all, measured] = tuned_launches(facts.planned->schedule);
    json.attribute("matrix_vector_launches", int64_t(all));
    json.attribute("tuned_launches", int64_t(measured));
    json.attributeArray("warnings", [&] {
      for (const std::string& warning : facts.planned->target.warnings) json.value(warning);
    });
    if (facts.edits != nullptr) write_edits(*facts.edits, json);
    json.attribute("chat_format", facts.chat_format);
    json.attribute("chat_covers", facts.chat_covers);
    json.attribute("chat_lacks", facts.chat_lacks);
    json.attribute("nvrtc", facts.nvrtc);
    json.attribute("plan", facts.output);
    if (!facts.self_test.empty()) json.attribute("self_test", facts.self_test);
    if (!facts.weight_file.empty()) {
      json.attribute("weight_file", facts.weight_file);
      json.attribute("weight_file_bytes", int64_t(facts.weight_file_bytes));
      json.attribute("weight_file_reused", facts.weight_file_reused);
    }
    const std::vector<uint32_t> counts = main_counts(facts.planned->schedule);
    json.attributeArray("kernels", [&] {
      for (size_t i = 0; i < facts.planned->schedule.kernels.size(); ++i) {
        const select::KernelSpec& kernel = facts.planned->schedule.kernels[i];
        json.object([&] {
          json.attribute("name", kernel.name);
          json.attribute("source", kernel.source);
          json.attribute(facts.planned->options.embeds ? "prefill_launches" : "decode_launches",
                         int64_t(counts[i]));
          json.attributeArray("defines", [&] {
            for (const std::string& define : kernel.defines) json.value(define);
          });
        });
      }
    });
  });
  os << '\n';
}

}  // namespace jllm::report

// A plan's tables as text and as JSON, and the map of its scratch memory over time.
#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/FormatVariadic.h>
#include <llvm/Support/JSON.h>

#include <algorithm>
#include <vector>

#include "compiler/inspect/inspect.h"
#include "compiler/report/report.h"

namespace jllm::inspect {
namespace {

using llvm::formatv;

std::string hash_text(const fb::Segment& segment) {
  return llvm::toHex(llvm::ArrayRef<uint8_t>(segment.sha256()->data(), segment.sha256()->size()),
                     true);
}

const char* segment_kind_name(fb::SegmentKind kind) { return fb::EnumNameSegmentKind(kind); }

// Kernels that a graph launches, with their counts, in order of first use.
std::vector<std::pair<std::string, uint32_t>> kernel_counts(const fb::Plan& plan,
                                                            const fb::Graph& graph) {
  std::vector<std::pair<std::string, uint32_t>> counts;
  for (const fb::Launch* launch : *graph.launches()) {
    const std::string name = plan.kernels()->Get(launch->kernel())->name()->str();
    const auto it = std::find_if(counts.begin(), counts.end(),
                                 [&](const auto& entry) { return entry.first == name; });
    if (it == counts.end()) {
      counts.emplace_back(name, 1);
    } else {
      ++it->second;
    }
  }
  return counts;
}

void print_graph_map(const fb::Plan& plan, uint32_t index, llvm::raw_ostream& out) {
  constexpr uint64_t kColumns = 64;
  const fb::Graph& graph = *plan.graphs()->Get(index);
  struct Row {
    const fb::Buffer* buffer;
    char letter;
  };
  std::vector<Row> rows;
  uint64_t size = 1;
  for (const fb::Buffer* buffer : *plan.buffers()) {
    if (buffer->graph() != static_cast<int32_t>(index)) continue;
    rows.push_back({buffer, static_cast<char>('a' + rows.size() % 26)});
    size = std::max(size, buffer->offset() + buffer->size());
  }
  out << formatv("scratch of {0} ({1} rows): {2} wide, one line per launch\n",
                 graph_kind_name(graph.kind()), graph.rows(), report::format_bytes(size));
  for (uint32_t i = 0; i < graph.launches()->size(); ++i) {
    std::string line(kColumns, '.');
    for (const Row& row : rows) {
      if (i < row.buffer->first_use() || i > row.buffer->last_use()) continue;
      const uint64_t first = row.buffer->offset() * kColumns / size;
      const uint64_t last = (row.buffer->offset() + row.buffer->size()) * kColumns / size;
      for (uint64_t c = first; c < std::max(last, first + 1) && c < kColumns; ++c) {
        line[c] = line[c] == '.' ? row.letter : '+';  // + : several buffers in one column
      }
    }
    out << formatv("  {0,-28} {1}\n", graph.launches()->Get(i)->label()->c_str(), line);
  }
}

}  // namespace

void print_plan_text(const PlanFile& file, llvm::raw_ostream& out) {
  const fb::Plan& plan = file.plan();
  const PlanPrefix& prefix = file.view().prefix();
  const fb::Model& model = *plan.model();
  const fb::Target& target = *plan.target();
  out << formatv("{0}: plan format {1}.{2}, {3}\n\n", file.path(), prefix.major, prefix.minor,
                 report::format_bytes(prefix.file_size));
  out << formatv(
      "model   {0} ({1}, {2:F1} M parameters, {3} blocks, embedding {4}, {5} heads over {6} of "
      "{7})\n",
      model.name()->c_str(), model.architecture()->c_str(), double(model.parameter_count()) / 1e6,
      model.block_count(), model.embedding_length(), model.head_count(), model.head_count_kv(),
      model.head_dim());
  out << formatv("        context {0}, KV cache K {1} V {2}, vocabulary {3}, ", model.context(),
                 weight_type_name(static_cast<WeightType>(model.kv_type_k())),
                 weight_type_name(static_cast<WeightType>(model.kv_type_v())), model.vocab_size());
  if (makes_embeddings(plan)) {
    out << "makes embeddings\n";
  } else {
    out << formatv("reads {0} of weights a token\n",
                   report::format_bytes(model.weights_read_per_token()));
  }
  out << formatv("target  {0} ({1})", target.device_name()->c_str(), target.name()->c_str());
  if (target.compute_capability() != 0) {
    out << formatv(", sm_{0}, code by CUDA {1}.{2}", target.compute_capability(),
                   target.cuda_version() / 1000, target.cuda_version() % 1000 / 10);
  }
  const chat::Description chat = chat_format(file);
  out << formatv("\nchat    {0}", chat.what);
  if (!chat.covers.empty()) out << formatv("\n        covers: {0}", chat.covers_text());
  if (!chat.lacks.empty()) out << formatv("\n        does not cover: {0}", chat.lacks_text());
  out << "\n\narenas\n";
  for (const fb::Arena* arena : *plan.arenas()) {
    out << formatv("  {0,-12} {1,14}\n", arena_kind_name(arena->kind()),
                   report::format_bytes(arena->size()));
  }
  out << formatv("requires: code {0}, CUDA context about {1}\n\nsegments\n",
                 report::format_bytes(plan.requirements()->code_bytes()),
                 report::format_bytes(plan.requirements()->context_bytes_estimate()));
  for (const fb::Segment* segment : *plan.segments()) {
    out << formatv("  {0,-10} at {1,12}  {2,12}  sha256 {3}{4}\n",
                   segment_kind_name(segment->kind()), segment->offset(),
                   report::format_bytes(segment->size()), hash_text(*segment),
                   segment->in_weight_file() ? "  (weight file)" : "");
  }
  if (const fb::WeightFile* weights = plan.weight_file()) {
    out << formatv("weight file  {0}  {1}\n", weights->name()->c_str(),
                   report::format_bytes(weights->size()));
  }
  out << "\ngraphs\n";
  for (const fb::Graph* graph : *plan.graphs()) {
    out << formatv("  {0,-8} {1,5} rows, {2,4} launches:", graph_kind_name(graph->kind()),
                   graph->rows(), graph->launches()->size());
    for (const auto& [name, count] : kernel_counts(plan, *graph))
      out << formatv(" {0} x{1}", name, count);
    out << '\n';
  }
  out << "\nbuffers (graph, launches that use it)\n";
  for (const fb::Buffer* buffer : *plan.buffers()) {
    out << formatv("  {0,-36} {1,-11} at {2,12}  {3,12}", buffer->name()->c_str(),
                   arena_kind_name(plan.arenas()->Get(buffer->arena())->kind()), buffer->offset(),
                   report::format_bytes(buffer->size()));
    if (buffer->graph() >= 0) {
      const fb::Graph& graph = *plan.graphs()->Get(static_cast<uint32_t>(buffer->graph()));
      out << formatv("  {0} {1}: {2}..{3}", graph_kind_name(graph.kind()), graph.rows(),
                     buffer->first_use(), buffer->last_use());
    }
    out << '\n';
  }
  const fb::Provenance& made = *plan.provenance();
  out << formatv("\nmade by jllmc {0} from {1} (header sha256 {2})",
                 made.compiler_version()->c_str(), made.source_name()->c_str(),
                 made.source_header_sha256()->c_str());
  if (made.nvrtc_version()->size() > 0)
    out << formatv(", NVRTC {0}", made.nvrtc_version()->c_str());
  out << "\noptions:";
  for (const auto* option : *made.options()) out << ' ' << option->c_str();
  out << '\n';
}

void print_plan_json(const PlanFile& file, llvm::raw_ostream& out) {
  const fb::Plan& plan = file.plan();
  llvm::json::OStream json(out, 2);
  const auto text = [](const flatbuffers::String* s) { return llvm::json::fixUTF8(s->c_str()); };
  json.object([&] {
    json.attribute("format", "jllm");
    json.attribute("major", int64_t(file.view().prefix().major));
    json.attribute("minor", int64_t(file.view().prefix().minor));
    json.attribute("file_bytes", int64_t(file.view().prefix().file_size));
    json.attributeObject("model", [&] {
      const fb::Model& m = *plan.model();
      json.attribute("name", text(m.name()));
      json.attribute("architecture", text(m.architecture()));
      json.attribute("parameter_count", int64_t(m.parameter_count()));
      json.attribute("expert_count", int64_t(m.expert_count()));
      json.attribute("expert_used_count", int64_t(m.expert_used_count()));
      json.attribute("makes", makes_embeddings(plan) ? "embeddings" : "text");
      json.attribute("context", int64_t(m.context()));
      json.attribute("vocab_size", int64_t(m.vocab_size()));
      json.attribute("kv_type_k", weight_type_name(static_cast<WeightType>(m.kv_type_k())));
      json.attribute("kv_type_v", weight_type_name(static_cast<WeightType>(m.kv_type_v())));
      json.attribute("weights_read_per_token", int64_t(m.weights_read_per_token()));
    });
    json.attributeObject("target", [&] {
      json.attribute("name", text(plan.target()->name()));
      json.attribute("device_name", text(plan.target()->device_name()));
      json.attribute("compute_capability", int64_t(plan.target()->compute_capability()));
      json.attribute("cuda_version", int64_t(plan.target()->cuda_version()));
    });
    const chat::Description chat = chat_format(file);
    json.attribute("chat_format", chat.what);
    json.attribute("chat_covers", chat.covers_text());
    json.attribute("chat_lacks", chat.lacks_text());
    json.attributeArray("arenas", [&] {
      for (const fb::Arena* arena : *plan.arenas()) {
        json.object([&] {
          json.attribute("kind", arena_kind_name(arena->kind()));
          json.attribute("bytes", int64_t(arena->size()));
        });
      }
    });
    json.attributeArray("segments", [&] {
      for (const fb::Segment* segment : *plan.segments()) {
        json.object([&] {
          json.attribute("kind", segment_kind_name(segment->kind()));
          json.attribute("offset", int64_t(segment->offset()));
          json.attribute("bytes", int64_t(segment->size()));
          json.attribute("sha256", hash_text(*segment));
          if (segment->in_weight_file()) json.attribute("in_weight_file", true);
        });
      }
    });
    if (const fb::WeightFile* weights = plan.weight_file()) {
      json.attributeObject("weight_file", [&] {
        json.attribute("name", text(weights->name()));
        json.attribute("bytes", int64_t(weights->size()));
      });
    }
    json.attributeArray("graphs", [&] {
      for (const fb::Graph* graph : *plan.graphs()) {
        json.object([&] {
          json.attribute("kind", graph_kind_name(graph->kind()));
          json.attribute("rows", int64_t(graph->rows()));
          json.attributeArray("launches", [&] {
            for (const fb::Launch* launch : *graph->launches()) {
              json.object([&] {
                json.attribute("label", text(launch->label()));
                json.attribute("kernel", text(plan.kernels()->Get(launch->kernel())->name()));
                json.attributeArray("grid", [&] {
                  for (const uint32_t n : {launch->grid_x(), launch->grid_y(), launch->grid_z()}) {
                    json.value(int64_t(n));
                  }
                });
              });
            }
          });
        });
      }
    });
    json.attributeArray("buffers", [&] {
      for (const fb::Buffer* buffer : *plan.buffers()) {
        json.object([&] {
          json.attribute("name", text(buffer->name()));
          json.attribute("arena", int64_t(buffer->arena()));
          json.attribute("offset", int64_t(buffer->offset()));
          json.attribute("bytes", int64_t(buffer->size()));
          json.attribute("graph", int64_t(buffer->graph()));
          json.attribute("first_use", int64_t(buffer->first_use()));
          json.attribute("last_use", int64_t(buffer->last_use()));
        });
      }
    });
    json.attributeObject("provenance", [&] {
      const fb::Provenance& made = *plan.provenance();
      json.attribute("compiler_version", text(made.compiler_version()));
      json.attribute("source_name", text(made.source_name()));
      json.attribute("source_header_sha256", text(made.source_header_sha256()));
      json.attribute("nvrtc_version", text(made.nvrtc_version()));
      json.attributeArray("options", [&] {
        for (const auto* option : *made.options()) json.value(text(option));
      });
    });
  });
  out << '\n';
}

void print_map(const fb::Plan& plan, llvm::raw_ostream& out) {
  for (const fb::GraphKind kind : {fb::GraphKind::Decode, fb::GraphKind::Prefill}) {
    const int graph = largest_graph(plan, kind);
    if (graph >= 0) print_graph_map(plan, static_cast<uint32_t>(graph), out);
  }
}

}  // namespace jllm::inspect

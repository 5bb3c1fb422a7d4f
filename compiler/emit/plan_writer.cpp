#include "compiler/emit/plan_writer.h"

#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/SHA256.h>

#include <array>
#include <cstring>
#include <optional>
#include <set>

#include "compiler/budget.h"
#include "compiler/emit/weight_file.h"
#include "compiler/emit/weight_stream.h"
#include "compiler/gguf/watch.h"
#include "compiler/support/error.h"
#include "compiler/support/output_file.h"
#include "jllm_version.h"
#include "schema/checked_math.h"
#include "schema/kv_layout.h"
#include "schema/plan_generated.h"
#include "schema/prefix.h"
#include "schema/weight_file.h"

namespace jllm::emit {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
using Digest = std::array<uint8_t, 32>;

// Stands for an offset that is not known yet. Not 0: FlatBuffers leaves fields of that value out,
// and the tables would grow when it is filled in.
constexpr uint64_t kUnknownOffset = 1;

// A segment behind the tables. The digest is known only once the bytes have been written.
struct SegmentPlan {
  fb::SegmentKind kind;
  uint64_t size = 0;
  uint32_t dest_arena = 0;
  llvm::ArrayRef<uint8_t> bytes;  // empty for weights, which are streamed
  uint64_t offset = kUnknownOffset;
  Digest digest{};
  bool in_weight_file = false;
};

Digest sha256(llvm::ArrayRef<uint8_t> bytes) {
  llvm::SHA256 hash;
  hash.update(bytes);
  const auto result = hash.final();
  Digest digest;
  std::memcpy(digest.data(), result.data(), digest.size());
  return digest;
}

class PlanWriter {
 public:
  explicit PlanWriter(const PlanInputs& inputs) : in_(inputs), plan_(*inputs.planned) {}

  llvm::Expected<PlanSizes> write(llvm::StringRef path) {
    list_segments();
    // The tables' size does not depend on the offsets and digests: build once to learn it, again to
    // fill them in.
    const uint64_t tables = build_tables().size();
    if (tables > kMaxPlanBytes) {
      return fail(ExitCode::kFailed, "the plan's tables take {0} bytes, at most {1} are allowed",
                  tables, kMaxPlanBytes);
    }
    const uint64_t first = align_up(sizeof(PlanPrefix) + tables, kSegmentAlignment);
    uint64_t end = first;
    weights_end_ = kWeightFileData;
    for (SegmentPlan& segment : segments_) {
      uint64_t& place = segment.in_weight_file ? weights_end_ : end;
      segment.offset = place;
      place = align_up(place + segment.size, kSegmentAlignment);
    }
    llvm::Expected<OutputFile> file = OutputFile::create(path);
    if (!file) return file.takeError();
    PlanSizes sizes;
    // First, so that a plan never names a file that is not there.
    if (in_.split_weights) {
      if (llvm::Error error = write_weight_file(path, &sizes)) return error;
    }
    if (llvm::Error error = write_segments(*file, first)) return error;
    if (llvm::Error error = write_head(*file, first, end)) return error;
    if (llvm::Error error = gguf::check_sources()) return error;
    if (llvm::Error error = file->commit()) return error;
    sizes.file_bytes = end;
    sizes.weight_bytes = plan_.layout.total(memory::ArenaKind::kWeights);
    sizes.code_bytes = code_bytes();
    return sizes;
  }

 private:
  uint64_t code_bytes() const {
    uint64_t sum = 0;
    for (const std::vector<uint8_t>& module : *in_.modules) sum += module.size();
    return sum;
  }

  // Code first, so that kernel i lies in segment i; then one segment per weights arena, then the
  // rest.
  void list_segments() {
    for (const std::vector<uint8_t>& module : *in_.modules) {
      segments_.push_back({fb::SegmentKind::Module, module.size(), 0, module, kUnknownOffset, {}});
    }
    for (uint32_t i = 0; i < plan_.layout.arenas.size(); ++i) {
      const memory::Arena& arena = plan_.layout.arenas[i];
      if (arena.kind != memory::ArenaKind::kWeights) continue;
      segments_.push_back(
          {fb::SegmentKind::Weights, arena.size, i, {}, kUnknownOffset, {}, in_.split_weights});
    }
    segments_.push_back(
        {fb::SegmentKind::Tokenizer, in_.tokenizer.size(), 0, in_.tokenizer, kUnknownOffset, {}});
    add_optional(fb::SegmentKind::ChatFormat, in_.chat_format);
    add_optional(fb::SegmentKind::SelfTest, in_.self_test);
    add_optional(fb::SegmentKind::Debug, in_.debug);
  }

  void add_optional(fb::SegmentKind kind, llvm::ArrayRef<uint8_t> bytes) {
    if (!bytes.empty()) segments_.push_back({kind, bytes.size(), 0, bytes, kUnknownOffset, {}});
  }

  // Hands the segment's bytes to `sink` and keeps their hash.
  llvm::Error stream(SegmentPlan& segment,
                     const std::function<llvm::Error(llvm::ArrayRef<uint8_t>)>& sink) {
    const uint64_t total = plan_.layout.total(memory::ArenaKind::kWeights);
    llvm::SHA256 hash;
    llvm::Error error =
        stream_weights(*plan_.model.file, plan_.program, plan_.layout, segment.dest_arena,
                       plan_.target.is_host, in_.edits, [&](llvm::ArrayRef<uint8_t> piece) {
                         hash.update(piece);
                         weights_done_ += piece.size();
                         if (in_.progress) in_.progress(weights_done_, total);
                         return sink(piece);
                       });
    if (error) return error;
    const auto digest = hash.final();
    std::memcpy(segment.digest.data(), digest.data(), segment.digest.size());
    return llvm::Error::success();
  }

  llvm::Error write_weight_file(llvm::StringRef plan_path, PlanSizes* sizes) {
    llvm::Expected<WeightFileWriter> file =
        WeightFileWriter::create(plan_path, plan_.model.file->path(), weights_end_);
    if (!file) return file.takeError();
    for (SegmentPlan& segment : segments_) {
      if (!segment.in_weight_file) continue;
      if (llvm::Error error = file->pad_to(segment.offset)) return error;
      const auto sink = [&](llvm::ArrayRef<uint8_t> piece) { return file->write(piece); };
      if (llvm::Error error = stream(segment, sink)) return error;
    }
    llvm::Expected<WrittenWeightFile> written = file->finish();
    if (!written) return written.takeError();
    weight_file_ = std::move(*written);
    sizes->weight_file = weight_file_->path;
    sizes->weight_file_bytes = weights_end_;
    sizes->weight_file_reused = weight_file_->reused;
    return llvm::Error::success();
  }

  llvm::Error pad_to(OutputFile& file, uint64_t offset) {
    const std::vector<uint8_t> zeros(offset - file.size(), 0);
    return file.write(zeros.data(), zeros.size());
  }

  llvm::Error write_segments(OutputFile& file, uint64_t first) {
    if (llvm::Error error = pad_to(file, first)) return error;
    for (SegmentPlan& segment : segments_) {
      if (segment.in_weight_file) continue;
      if (llvm::Error error = pad_to(file, segment.offset)) return error;
      if (segment.kind != fb::SegmentKind::Weights) {
        segment.digest = sha256(segment.bytes);
        if (llvm::Error error = file.write(segment.bytes.data(), segment.size)) return error;
        continue;
      }
      const auto sink = [&](llvm::ArrayRef<uint8_t> piece) {
        return file.write(piece.data(), piece.size());
      };
      if (llvm::Error error = stream(segment, sink)) return error;
    }
    return pad_to(file, align_up(file.size(), kSegmentAlignment));
  }

  llvm::Error write_head(OutputFile& file, uint64_t first, uint64_t end) {
    const std::vector<uint8_t> tables = build_tables();
    if (tables.size() > first - sizeof(PlanPrefix)) {
      return fail(ExitCode::kFailed, "internal error: the plan's tables grew into its segments");
    }
    PlanPrefix prefix = {};
    prefix.magic = kPlanMagic;
    prefix.major = kPlanMajor;
    prefix.minor = kPlanMinor;
    prefix.prefix_size = sizeof prefix;
    prefix.plan_offset = sizeof prefix;
    prefix.plan_size = tables.size();
    prefix.segments_offset = first;
    prefix.segments_size = end - first;
    prefix.file_size = end;
    prefix.plan_hash = hash_bytes(tables.data(), tables.size());
    if (llvm::Error error = file.write_at(0, &prefix, sizeof prefix)) return error;
    return file.write_at(sizeof prefix, tables.data(), tables.size());
  }

  Offset<fb::Target> target(FlatBufferBuilder& b) const {
    const target::Target& t = plan_.target;
    return fb::CreateTarget(b, b.CreateString(t.name),
                            t.is_host ? fb::Backend::Host : fb::Backend::Cuda, t.compute_capability,
                            in_.cuda_version, b.CreateString(t.device_name));
  }

  Offset<fb::Model> model(FlatBufferBuilder& b) const {
    const model::HyperParameters& p = plan_.model.params;
    return fb::CreateModel(b, b.CreateString(p.name), b.CreateString(p.architecture),
                           plan_.model.parameter_count, p.vocab_size, plan_.program.context,
                           p.embedding_length, p.block_count, p.head_count, p.head_count_kv,
                           p.head_dim, static_cast<uint32_t>(plan_.options.kv_type_k),
                           static_cast<uint32_t>(plan_.options.kv_type_v),
                           weights_read_per_token(plan_.program, plan_.target.is_host),
                           plan_.program.rewind_reach, p.expert_count, p.expert_used_count);
  }

  std::vector<Offset<fb::Buffer>> buffers(FlatBufferBuilder& b) const {
    std::vector<Offset<fb::Buffer>> result;
    for (ir::TensorId id = 0; id < plan_.layout.tensors.size(); ++id) {
      const std::optional<memory::Location>& l = plan_.layout.tensors[id];
      if (!l) continue;
      result.push_back(fb::CreateBuffer(b, b.CreateString(plan_.program[id].name),
                                        static_cast<uint16_t>(l->arena), l->offset, l->size,
                                        l->graph, l->first_use, l->last_use));
    }
    return result;
  }

  Offset<fb::Launch> launch(FlatBufferBuilder& b, const select::Launch& launch) const {
    std::vector<fb::Arg> args;
    for (const select::Argument& arg : launch.args) {
      if (arg.kind == select::Argument::Kind::kImmediate) {
        args.emplace_back(arg.immediate, 0, 0, fb::ArgKind::Immediate, 0, 0);
        continue;
      }
      const memory::Location& l = *plan_.layout.tensors[arg.tensor];
      if (arg.kind == select::Argument::Kind::kStride) {
        args.emplace_back(plan_.layout.arenas[l.arena].size, 0, 0, fb::ArgKind::Immediate, 0, 0);
      } else {
        args.emplace_back(l.offset, l.size, static_cast<uint16_t>(l.arena), fb::ArgKind::Pointer, 0,
                          0);
      }
    }
    return fb::CreateLaunch(b, launch.kernel, launch.grid[0], launch.grid[1], launch.grid[2],
                            b.CreateVectorOfStructs(args), b.CreateString(launch.label));
  }

  Offset<fb::Bindings> bindings(FlatBufferBuilder& b) const {
    const auto at = [&](ir::TensorId id) -> const memory::Location& {
      return *plan_.layout.tensors[id];
    };
    const ir::Bindings& ids = plan_.program.bindings;
    const bool verifies = !plan_.options.verify_rows.empty();
    const memory::Location draft = verifies ? at(ids.draft) : memory::Location{};
    const bool batches = !plan_.options.batch_rows.empty();
    const bool embeds = ids.embedding.has_value();
    // What the plan makes lies at one place, logits or a vector.
    const memory::Location& made = at(ids.embedding.value_or(ids.logits));
    return fb::CreateBindings(
        b, static_cast<uint16_t>(at(ids.state).arena), at(ids.state).offset, at(ids.tokens).offset,
        static_cast<uint16_t>(made.arena), made.offset, static_cast<uint16_t>(at(ids.ring).arena),
        at(ids.ring).offset, static_cast<uint16_t>(draft.arena), draft.offset,
        batches ? at(ids.batch).offset : 0, embeds ? UINT64_MAX : at(ids.mask).offset,
        embeds ? plan_.model.params.embedding_length : 0);
  }

  std::vector<Offset<fb::Cache>> caches(FlatBufferBuilder& b) const {
    std::vector<Offset<fb::Cache>> result;
    for (ir::TensorId id = 0; id < plan_.layout.tensors.size(); ++id) {
      const std::optional<memory::Location>& l = plan_.layout.tensors[id];
      const ir::Tensor& tensor = plan_.program[id];
      if (!l) continue;
      const auto arena = static_cast<uint16_t>(l->arena);
      if (tensor.kind == ir::TensorKind::kKvCache) {
        const KvLayout layout =
            kv_layout(static_cast<unsigned>(tensor.type), tensor.rows, tensor.cols);
        const uint32_t context = plan_.program.context;
        result.push_back(fb::CreateCache(b, arena, l->offset,
                                         static_cast<uint32_t>(tensor.rows / context), context,
                                         layout.row, layout.scales, layout.scale_row));
      } else if (tensor.kind == ir::TensorKind::kRecent) {
        result.push_back(fb::CreateCache(b, arena, l->offset, 1, static_cast<uint32_t>(tensor.rows),
                                         tensor.cols * sizeof(float)));
      }
    }
    return result;
  }

  Offset<fb::Provenance> provenance(FlatBufferBuilder& b) const {
    std::vector<Offset<flatbuffers::String>> options;
    for (const std::string& option : in_.options) options.push_back(b.CreateString(option));
    const Digest digest = plan_.model.file->header_sha256();
    return fb::CreateProvenance(
        b, b.CreateString(JLLM_VERSION),
        b.CreateString(llvm::StringRef(plan_.model.file->path()).rsplit('/').second.empty()
                           ? plan_.model.file->path().str()
                           : plan_.model.file->path().rsplit('/').second.str()),
        b.CreateString(llvm::toHex(llvm::ArrayRef<uint8_t>(digest.data(), digest.size()), true)),
        b.CreateString(in_.nvrtc_version), b.CreateVector(options));
  }

  // Of the same size whether the file has been written or not: its name ends with a hash.
  Offset<fb::WeightFile> weight_file(FlatBufferBuilder& b) const {
    if (!in_.split_weights) return {};
    const Digest unknown = {};
    const Digest& digest = weight_file_ ? weight_file_->sha256 : unknown;
    const std::string name = weight_file_name(plan_.model.file->path(), digest);
    return fb::CreateWeightFile(b, b.CreateString(name),
                                weight_file_ ? weights_end_ : kUnknownOffset,
                                b.CreateVector(digest.data(), digest.size()));
  }

  std::vector<uint8_t> build_tables() const {
    FlatBufferBuilder b(1 << 20);
    std::vector<Offset<fb::Arena>> arenas;
    for (const memory::Arena& arena : plan_.layout.arenas) {
      arenas.push_back(fb::CreateArena(b, static_cast<fb::ArenaKind>(arena.kind), arena.size,
                                       memory::kBufferAlignment));
    }
    std::vector<Offset<fb::Segment>> segments;
    for (const SegmentPlan& s : segments_) {
      segments.push_back(fb::CreateSegment(
          b, s.kind, s.offset, s.size, b.CreateVector(s.digest.data(), s.digest.size()),
          static_cast<uint16_t>(s.dest_arena), 0, s.in_weight_file));
    }
    const std::vector<uint32_t> arg_counts = argument_counts();
    std::vector<Offset<fb::Kernel>> kernels;
    for (uint32_t i = 0; i < plan_.schedule.kernels.size(); ++i) {
      const select::KernelSpec& kernel = plan_.schedule.kernels[i];
      kernels.push_back(fb::CreateKernel(
          b, b.CreateString(kernel.name), plan_.target.is_host ? -1 : static_cast<int32_t>(i),
          kernel.block, 1, 1, kernel.shared_bytes, arg_counts[i], kernel.programmatic));
    }
    std::vector<Offset<fb::Graph>> graphs;
    for (const select::ScheduledGraph& graph : plan_.schedule.graphs) {
      std::vector<Offset<fb::Launch>> launches;
      for (const select::Launch& l : graph.launches) launches.push_back(launch(b, l));
      const memory::Location logits =
          graph.logits ? *plan_.layout.tensors[*graph.logits] : memory::Location{};
      graphs.push_back(fb::CreateGraph(b, static_cast<fb::GraphKind>(graph.kind), graph.rows,
                                       b.CreateVector(launches),
                                       static_cast<uint16_t>(logits.arena), logits.offset));
    }
    const Budget budget = make_footprint(plan_, {}).budget;
    const auto requirements =
        fb::CreateRequirements(b, code_bytes(), budget.context, budget.graphs, budget.host,
                               plan_.target.is_host ? 0 : code_memory(code_bytes()));
    const auto target_table = target(b);
    const auto model_table = model(b);
    const auto buffer_tables = buffers(b);
    const auto bindings_table = bindings(b);
    const auto provenance_table = provenance(b);
    const auto weight_file_table = weight_file(b);
    const auto cache_tables = caches(b);
    const auto plan = fb::CreatePlan(
        b, target_table, model_table, b.CreateVector(arenas), b.CreateVector(segments),
        b.CreateVector(buffer_tables), b.CreateVector(kernels), b.CreateVector(graphs),
        bindings_table, requirements, provenance_table, b.CreateVector(in_.end_tokens),
        weight_file_table, plan_.program.slots, b.CreateVector(cache_tables));
    fb::FinishPlanBuffer(b, plan);
    return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
  }

  std::vector<uint32_t> argument_counts() const {
    std::vector<uint32_t> counts(plan_.schedule.kernels.size(), 0);
    for (const select::ScheduledGraph& graph : plan_.schedule.graphs) {
      for (const select::Launch& l : graph.launches) {
        counts[l.kernel] = static_cast<uint32_t>(l.args.size());
      }
    }
    return counts;
  }

  const PlanInputs& in_;
  const PlannedModel& plan_;
  std::vector<SegmentPlan> segments_;
  uint64_t weights_end_ = 0;   // size of the weight file
  uint64_t weights_done_ = 0;  // bytes streamed, of all segments
  std::optional<WrittenWeightFile> weight_file_;
};

}  // namespace

llvm::Expected<PlanSizes> write_plan(const PlanInputs& inputs, llvm::StringRef path) {
  return PlanWriter(inputs).write(path);
}

uint64_t weights_read_per_token(const ir::Program& program, bool is_host) {
  uint64_t sum = 0;
  for (const ir::Graph& graph : program.graphs) {
    if (graph.kind != ir::GraphKind::kDecode) continue;
    for (const ir::Node& node : graph.nodes) {
      for (const ir::TensorId id : node.inputs) {
        const ir::Tensor& tensor = program[id];
        if (tensor.kind != ir::TensorKind::kWeight) continue;
        const uint64_t bytes = memory::storage_bytes(tensor, is_host);
        const bool has_experts = tensor.experts > 1;  // a step reads those it chooses
        sum += node.op == ir::Op::kEmbed ? bytes / tensor.rows
               : has_experts             ? bytes / tensor.experts * node.attributes.slots
                                         : bytes;
      }
    }
  }
  return sum;
}

}  // namespace jllm::emit

// The host backend's operations: one launch per primitive node, arguments as schema/host_ops.h
// lists them. Products with quantised weights read their activations as integers, which a launch of
// its own makes, once for all products that share them.
#include <algorithm>
#include <cassert>
#include <map>

#include "compiler/select/schedule.h"
#include "compiler/support/error.h"
#include "schema/host_ops.h"
#include "schema/panel_layout.h"

namespace jllm::select {
namespace {

using Args = std::vector<Argument>;

// How a launch is shared among threads: `work` is about half a nanosecond's of one of them, the
// number of elements of most operations; `most` is the number of parts that can be told apart. A
// share is worth the few microseconds that it takes to wake a thread; small launches are one, which
// the calling thread does alone.
struct Work {
  uint64_t work = 0, most = 1;

  uint32_t shares() const {
    constexpr uint64_t kShare = 16384, kMaxShares = 64;
    return static_cast<uint32_t>(
        std::max<uint64_t>(1, std::min({work / kShare, most, kMaxShares})));
  }
};

// Of element-wise operations, which can be split anywhere.
Work elements(uint64_t count) { return {count, count}; }

// Of products of `rows` rows with `weights` weights, split in the number of outputs. A single row
// takes the time of reading the weights; by the fifth, that of multiplying shows.
Work product_work(uint64_t rows, uint64_t weights, uint64_t most) {
  return {weights / 64 * (rows + 4), most};
}

// Launches operation ArgsStruct with `args`, holding their number against the struct.
template <typename ArgsStruct>
void emit(ScheduleBuilder& out, const char* operation, const std::string& label, Args args,
          const Work& work) {
  assert(args.size() * 8 == sizeof(ArgsStruct));
  KernelSpec spec;
  spec.name = operation;
  out.launch(out.kernel(std::move(spec)), std::move(args), label, work.shares());
}

template <typename ArgsStruct>
void emit(ScheduleBuilder& out, const ir::Node& node, Args args, const Work& work = {}) {
  emit<ArgsStruct>(out, ir::op_name(node.op), node.label, std::move(args), work);
}

// int8 planes of activations beside quantised weights; 0: they stay f32.
uint64_t planes_of(ActivationMode mode) {
  switch (mode) {
    case ActivationMode::kF32:
      return 0;
    case ActivationMode::kQ8:
      return 1;
    case ActivationMode::kQ8R:
    case ActivationMode::kAuto:
      break;
  }
  return 2;
}

uint64_t type_id(WeightType type) { return static_cast<uint64_t>(type); }

}  // namespace

void choose_panels(const ir::Program& program, const SelectOptions& options, ScheduleBuilder& out) {
  if (planes_of(options.activations) == 0) return;
  for (const ir::Graph& graph : program.graphs) {
    for (const ir::Node& node : graph.nodes) {
      if (node.op != ir::Op::kMatmul && node.op != ir::Op::kExpertMatmul) continue;
      const ir::Tensor& weight = program[node.inputs[1]];
      // Each expert fills whole panels.
      const bool is_whole = weight.experts == 1 || weight.rows / weight.experts % kPanelRows == 0;
      if (has_panels(weight.type) && is_whole) out.store_in_panels(node.inputs[1]);
    }
  }
}

namespace {

// Makes images of activations, each once for all products that read it.
class Images {
 public:
  Images(const ir::Program& program, const ir::Graph& graph, const Argument& state, uint64_t planes,
         ScheduleBuilder& out)
      : program_(program), graph_(graph), state_(state), planes_(planes), out_(out) {}

  // Of the first input of `node`; `by_row`: each row, or each part of one, can be told apart.
  Argument of(const ir::Node& node, bool by_row) {
    by_row &= graph_.rows > 1;  // of a single row it is the same
    const auto [image, is_new] = images_.try_emplace({node.inputs[0], by_row});
    if (!is_new) return image->second;
    const uint64_t k = program_[node.inputs[0]].cols;
    const uint64_t bytes =
        by_row ? graph_.rows * host::image_bytes(1, k) : host::image_bytes(graph_.rows, k);
    const std::string name = node.label + "/integers";
    image->second = out_.scratch(name, bytes / sizeof(float));
    emit<host::QuantiseArgs>(out_, by_row ? "quantise_rows" : "quantise", name,
                             {state_, tensor(node.inputs[0]), image->second, immediate(graph_.rows),
                              immediate(k), immediate(planes_)},
                             elements(graph_.rows * k));
    return image->second;
  }

 private:
  const ir::Program& program_;
  const ir::Graph& graph_;
  Argument state_;
  uint64_t planes_;
  ScheduleBuilder& out_;
  std::map<std::pair<ir::TensorId, bool>, Argument> images_;
};

}  // namespace

llvm::Error select_host(const ir::Program& program, const ir::Graph& graph,
                        const SelectOptions& options, ScheduleBuilder& out) {
  const uint64_t planes = planes_of(options.activations);
  // The head graph works on one row that was consumed before: all its rows count.
  const Argument step = tensor(program.bindings.state);
  const Argument state = graph.kind == ir::GraphKind::kHead ? immediate(0) : step;
  const Argument tokens = tensor(program.bindings.tokens);
  const Argument rows = immediate(graph.rows);
  Images images(program, graph, state, planes, out);
  for (const ir::Node& node : graph.nodes) {
    const ir::Attributes& a = node.attributes;
    const auto in = [&](size_t i) { return tensor(node.inputs[i]); };
    const auto in_info = [&](size_t i) -> const ir::Tensor& { return program[node.inputs[i]]; };
    const auto result = [&]() { return tensor(node.outputs[0]); };
    const auto width = [&](size_t i) { return immediate(in_info(i).cols); };
    switch (node.op) {
      case ir::Op::kEmbed:
        emit<host::EmbedArgs>(
            out, node,
            {state, tokens, in(0), result(), rows, width(0), immediate(in_info(0).rows),
             immediate(type_id(in_info(0).type)), immediate(in_info(0).panels ? 1 : 0)},
            {4 * graph.rows * in_info(0).cols, graph.rows});  // bits to unpack
        break;
      case ir::Op::kRmsNorm:
        emit<host::RmsNormArgs>(
            out, node,
            {state, in(0), in(1), result(), rows, immediate(in_info(0).cols / a.groups),
             immediate_f32(a.epsilon), immediate(a.groups)},
            {graph.rows * in_info(0).cols, graph.rows * a.groups});
        break;
      case ir::Op::kLayerNorm:
        emit<host::LayerNormArgs>(
            out, node,
            {state, in(0), in(1), node.inputs.size() > 2 ? in(2) : immediate(0), result(), rows,
             width(0), immediate_f32(a.epsilon)},
            {graph.rows * in_info(0).cols, graph.rows});
        break;
      case ir::Op::kMatmul:
        if (in_info(1).panels) {
          const uint64_t k = in_info(1).cols;
          const Argument image = images.of(node, false);
          emit<host::ProductArgs>(
              out, "product", node.label,
              {state, image, in(1), result(), rows, immediate(in_info(1).rows), immediate(k),
               immediate(type_id(in_info(1).type)), immediate(planes)},
              product_work(graph.rows * planes, in_info(1).rows * k, panel_count(in_info(1).rows)));
          break;
        }
        emit<host::MatmulArgs>(out, node,
                               {state, in(0), in(1), result(), rows, immediate(in_info(1).rows),
                                width(1), immediate(type_id(in_info(1).type))},
                               product_work(graph.rows, in_info(1).elements(), in_info(1).rows));
        break;
      case ir::Op::kAddBias:
        emit<host::AddBiasArgs>(out, node, {state, in(0), in(1), result(), rows, width(0)},
                                elements(graph.rows * in_info(0).cols));
        break;
      case ir::Op::kRope:
        emit<host::RopeArgs>(
            out, node,
            {state, in(0), in(1), result(), rows, immediate(a.heads), immediate(a.head_dim),
             immediate(a.pairs), immediate(a.neox ? 1 : 0), immediate_f32(a.magnitude)},
            {graph.rows * in_info(0).cols, a.heads});
        break;
      case ir::Op::kKvAppend:
        emit<host::KvAppendArgs>(
            out, node,
            {state, in(0), in(1), rows, immediate(a.heads), immediate(a.head_dim),
             immediate(program.context), immediate(type_id(in_info(1).type)),
             immediate(in_info(1).rotation)},
            {graph.rows * in_info(0).cols, a.heads});
        break;
      case ir::Op::kAttention:
        emit<host::AttentionArgs>(
            out, node,
            {state, in(0), in(1), in(2), result(),
             out.scratch(node.label + "/scores", uint64_t{a.heads} * program.context), rows,
             immediate(a.heads), immediate(a.kv_heads), immediate(a.head_dim),
             immediate(program.context), immediate(type_id(in_info(1).type)),
             immediate(type_id(in_info(2).type)), immediate_f32(a.scale),
             immediate(in_info(1).rotation), immediate(a.window), immediate_f32(a.softcap)},
            // With half of the context filled.
            {graph.rows * in_info(0).cols * program.context / 8, a.heads});
        break;
      case ir::Op::kShortConv:
        emit<host::ShortConvArgs>(
            out, node,
            {state, in(0), in(1), in(2), result(), rows, immediate(in_info(1).rows), width(1),
             immediate(in_info(2).rows)},
            {graph.rows * in_info(0).cols, in_info(1).rows});
        break;
      case ir::Op::kGlu:
        emit<host::GluArgs>(
            out, node, {state, in(0), in(1), result(), rows, width(0), immediate(a.activation)},
            elements(graph.rows * in_info(0).cols));
        break;
      case ir::Op::kUnary:
        emit<host::UnaryArgs>(out, node,
                              {state, in(0), result(), rows, width(0), immediate(a.function),
                               immediate_f32(a.parameter)},
                              elements(graph.rows * in_info(0).cols));
        break;
      case ir::Op::kAdd:
        emit<host::AddArgs>(out, node, {state, in(0), in(1), result(), rows, width(0)},
                            elements(graph.rows * in_info(0).cols));
        break;
      case ir::Op::kRoute:
        emit<host::RouteArgs>(out, node,
                              {state, in(0), result(), tensor(node.outputs[1]), rows, width(0),
                               immediate(a.slots), immediate(a.renormalise ? 1 : 0)},
                              {graph.rows * in_info(0).cols * a.slots, graph.rows});
        break;
      case ir::Op::kExpertMatmul: {
        const ir::Tensor& weight = in_info(1);
        const uint64_t n = weight.rows / weight.experts, k = weight.cols;
        const Argument shared = immediate(in_info(0).cols == k ? 1 : 0);
        if (weight.panels) {
          const Argument image = images.of(node, true);
          emit<host::ExpertProductArgs>(
              out, "expert_product", node.label,
              {state, image, in(2), in(1), result(), rows, immediate(a.slots), immediate(n),
               immediate(k), immediate(type_id(weight.type)), immediate(weight.experts), shared,
               immediate(planes)},
              product_work(graph.rows * a.slots * planes, n * k, panel_count(n)));
          break;
        }
        emit<host::ExpertMatmulArgs>(
            out, node,
            {state, in(0), in(2), in(1), result(), rows, immediate(a.slots), immediate(n),
             immediate(k), immediate(type_id(weight.type)), immediate(weight.experts), shared},
            product_work(graph.rows * a.slots, n * k, n));
        break;
      }
      case ir::Op::kExpertSum:
        emit<host::ExpertSumArgs>(out, node,
                                  {state, in(0), in(1), result(), rows, immediate(a.slots),
                                   immediate(program[node.outputs[0]].cols)},
                                  elements(graph.rows * in_info(0).cols));
        break;
      case ir::Op::kFinishChunk:
        emit<host::FinishChunkArgs>(out, node, {state, in(0), result(), rows, width(0)});
        break;
      case ir::Op::kSample:
        emit<host::SampleMaskedArgs>(
            out, "sample_masked", node.label,
            {step, tokens, in(0), out.scratch(node.label + "/work", in_info(0).cols),
             tensor(program.bindings.ring), tensor(program.bindings.mask), width(0),
             immediate(a.advance ? 1 : 0)},
            {});
        break;
      case ir::Op::kDraft:
        emit<host::DraftArgs>(out, node, {step, tokens, tensor(program.bindings.draft)});
        break;
      case ir::Op::kAccept:
        emit<host::AcceptArgs>(
            out, node,
            {step, tokens, in(0), out.scratch(node.label + "/work", in_info(0).cols),
             tensor(program.bindings.ring), tensor(program.bindings.draft), rows, width(0)});
        break;
      default:
        return fail(ExitCode::kFailed, "internal: the host backend has no operation '{0}'",
                    ir::op_name(node.op));
    }
  }
  return llvm::Error::success();
}

}  // namespace jllm::select

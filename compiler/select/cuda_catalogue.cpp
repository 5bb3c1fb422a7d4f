// The CUDA kernels: one launch per node, its constants as macros. kernels/device/README.md lists macros and
// arguments of each kernel, kernels/catalogue.h the grids.
#include <cstring>

#include "compiler/select/schedule.h"
#include "compiler/support/error.h"
#include "kernels/catalogue.h"

namespace jllm::select {
namespace {

using Args = std::vector<Argument>;
using Defines = std::vector<std::string>;
using kernels::LaunchShape;

std::string define(const char* name, uint64_t value) { return std::string(name) + "=" + std::to_string(value); }

std::string define_bits(const char* name, float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return define(name, bits) + "u";
}

class CudaSelector {
 public:
  CudaSelector(const ir::Program& program, const ir::Graph& graph, const target::Target& target,
               ScheduleBuilder& out)
      : program_(program), graph_(graph), sms_(target.sm_count), out_(out) {
    step_ = tensor(program.bindings.state);
  }

  llvm::Error node(const ir::Node& n) {
    n_ = &n;
    switch (n.op) {
      case ir::Op::kEmbed: return embed();
      case ir::Op::kRmsNorm: return rms_norm();
      case ir::Op::kMatmul: return matmul(false);
      case ir::Op::kAddBias: return elementwise("add_bias", width(0), {define("N", width(0))}, {in(0), in(1), result()});
      case ir::Op::kRope: return rope();
      case ir::Op::kKvAppend: return kv_append();
      case ir::Op::kAttention: return graph_.rows == 1 ? attention_decode() : attention();
      case ir::Op::kGlu: return elementwise("glu", width(0), {define("N", width(0))}, {in(0), in(1), result()});
      case ir::Op::kAdd: return elementwise("add", width(0), {define("N", width(0))}, {in(0), in(1), result()});
      case ir::Op::kFinishChunk: return finish_chunk();
      case ir::Op::kSample: return sample();
      case ir::Op::kQkv: return qkv();
      case ir::Op::kRopeAppend: return rope_append();
      case ir::Op::kMatmulAdd: return graph_.rows == 1 ? matmul_add() : matmul(true);
      case ir::Op::kGateUp: return gate_up();
      case ir::Op::kHead: return head();
    }
    return fail(ExitCode::kFailed, "internal: no CUDA kernel for '{0}'", ir::op_name(n.op));
  }

 private:
  const ir::Tensor& info(size_t i) const { return program_[n_->inputs[i]]; }
  Argument in(size_t i) const { return tensor(n_->inputs[i]); }
  Argument result() const { return tensor(n_->outputs[0]); }
  uint64_t width(size_t i) const { return info(i).cols; }
  uint64_t type(size_t i) const { return static_cast<uint64_t>(info(i).type); }
  const ir::Attributes& attributes() const { return n_->attributes; }

  llvm::Error emit(const char* kernel, Defines defines, Args args, const LaunchShape& shape) {
    KernelSpec spec;
    spec.name = spec.source = kernel;
    spec.defines = std::move(defines);
    spec.block = shape.block;
    spec.shared_bytes = static_cast<uint32_t>(shape.shared_bytes);
    out_.launch(out_.kernel(std::move(spec)), std::move(args), n_->label, shape.grid_x, shape.grid_y);
    return llvm::Error::success();
  }

  // Kernels whose first argument is the state, one work item per element of a row.
  llvm::Error elementwise(const char* kernel, uint64_t items, Defines defines, const Args& rest) {
    Args args = {step_};
    for (const Argument& arg : rest) args.push_back(arg);
    return emit(kernel, std::move(defines), std::move(args),
                kernels::elementwise_shape(graph_.rows, items, sms_));
  }

  llvm::Error embed() {
    return emit("embed", {define("TYPE", type(0)), define("DIM", width(0))},
                {step_, tensor(program_.bindings.tokens), in(0), result()},
                kernels::row_shape(graph_.rows, width(0)));
  }

  llvm::Error rms_norm() {
    return emit("rms_norm", {define("DIM", width(0)), define_bits("EPSILON_BITS", attributes().epsilon)},
                {step_, in(0), in(1), result()}, kernels::row_shape(graph_.rows, width(0)));
  }

  llvm::Error matmul(bool residual) {
    const uint64_t n = info(1).rows;
    const uint64_t k = info(1).cols;
    Args args = {step_, in(0), in(1)};
    if (residual) args.push_back(in(2));
    const Argument rest[] = {result(), immediate(graph_.rows), immediate(n), immediate(k)};
    for (const Argument& arg : rest) args.push_back(arg);
    const uint32_t tile = kernels::matmul_tile(graph_.rows, n, sms_);
    return emit("matmul",
                {define("TYPE", type(1)), define("RESIDUAL", residual ? 1 : 0), define("TILE", tile)},
                std::move(args), kernels::matmul_shape(graph_.rows, n, tile));
  }

  Defines head_defines() const {
    const ir::Attributes& a = attributes();
    return {define("HEADS", a.heads), define("KV_HEADS", a.kv_heads), define("HEAD_DIM", a.head_dim)};
  }
  Defines rope_defines() const {
    const ir::Attributes& a = attributes();
    return {define("PAIRS", a.pairs), define("NEOX", a.neox ? 1 : 0),
            define_bits("MAGNITUDE_BITS", a.magnitude)};
  }
  // Caches are inputs k and v.
  Defines cache_defines(size_t k, size_t v) const {
    return {define("CONTEXT", program_.context), define("KV_K_TYPE", type(k)),
            define("KV_V_TYPE", type(v))};
  }
  static Defines join(std::initializer_list<Defines> lists) {
    Defines all;
    for (const Defines& list : lists) all.insert(all.end(), list.begin(), list.end());
    return all;
  }

  llvm::Error rope() {
    const ir::Attributes& a = attributes();
    return elementwise("rope", uint64_t{a.heads} * a.head_dim / 2,
                       join({{define("HEADS", a.heads), define("HEAD_DIM", a.head_dim)}, rope_defines()}),
                       {in(0), in(1), result()});
  }

  llvm::Error kv_append() {
    const ir::Attributes& a = attributes();
    return elementwise("kv_append", uint64_t{a.heads} * a.head_dim,
                       {define("HEADS", a.heads), define("HEAD_DIM", a.head_dim),
                        define("CONTEXT", program_.context), define("KV_TYPE", type(1))},
                       {in(0), in(1)});
  }

  llvm::Error rope_append() {
    const ir::Attributes& a = attributes();
    return elementwise("rope_append", (uint64_t{a.heads} + 2 * a.kv_heads) * a.head_dim / 2,
                       join({head_defines(), rope_defines(), cache_defines(4, 5)}),
                       {in(0), in(1), in(2), in(3), in(4), in(5)});
  }

  llvm::Error attention() {
    const ir::Attributes& a = attributes();
    return emit("attention",
                join({head_defines(), cache_defines(1, 2), {define_bits("SCALE_BITS", a.scale)}}),
                {step_, in(0), in(1), in(2), result(), immediate(graph_.rows)},
                kernels::attention_shape(graph_.rows, a.heads, a.kv_heads, a.head_dim));
  }

  llvm::Error attention_decode() {
    const ir::Attributes& a = attributes();
    const uint32_t splits = kernels::attention_decode_splits(a.kv_heads, sms_);
    const uint64_t partial = kernels::attention_decode_partial_bytes(a.heads, splits, a.head_dim);
    const uint64_t tickets = kernels::attention_decode_ticket_bytes(a.kv_heads);
    return emit("attention_decode",
                join({head_defines(), cache_defines(1, 2),
                      {define_bits("SCALE_BITS", a.scale), define("SPLITS", splits)}}),
                {step_, in(0), in(1), in(2), result(), out_.scratch(n_->label + "/partial", partial / 4),
                 out_.persistent("attention_tickets", tickets / 4)},
                kernels::attention_decode_shape(a.kv_heads, splits));
  }

  llvm::Error qkv() {
    const ir::Attributes& a = attributes();
    const bool bias = n_->inputs.size() > 8;
    Args args = {step_, in(0), in(1), in(2), in(3), in(4)};
    if (bias) args = {step_, in(0), in(1), in(2), in(3), in(4), in(8), in(9), in(10)};
    for (const Argument& last : {in(5), result(), in(6), in(7)}) args.push_back(last);
    return emit("qkv",
                join({{define("K", width(0)), define("Q_TYPE", type(2)), define("K_TYPE", type(3)),
                       define("V_TYPE", type(4))},
                      head_defines(), rope_defines(), {define("HAS_BIAS", bias ? 1 : 0)},
                      cache_defines(6, 7), {define_bits("EPSILON_BITS", a.epsilon)}}),
                std::move(args),
                kernels::gemv_shape(width(0), (uint64_t{a.heads} + 2 * a.kv_heads) * a.head_dim, sms_));
  }

  llvm::Error matmul_add() {
    return emit("matmul_add",
                {define("TYPE", type(1)), define("K", width(1)), define("N", info(1).rows),
                 define("HAS_BIAS", 0)},
                {in(0), in(1), in(2), result()}, kernels::gemv_shape(width(1), info(1).rows, sms_));
  }

  llvm::Error gate_up() {
    return emit("gate_up",
                {define("GATE_TYPE", type(2)), define("UP_TYPE", type(3)), define("K", width(0)),
                 define("N", info(2).rows), define_bits("EPSILON_BITS", attributes().epsilon)},
                {in(0), in(1), in(2), in(3), result()},
                kernels::gemv_shape(width(0), info(2).rows, sms_));
  }

  llvm::Error head() {
    return emit("head",
                {define("TYPE", type(2)), define("K", width(0)), define("N", info(2).rows),
                 define_bits("EPSILON_BITS", attributes().epsilon)},
                {in(0), in(1), in(2), result()}, kernels::gemv_shape(width(0), info(2).rows, sms_));
  }

  llvm::Error finish_chunk() {
    return emit("finish_chunk", {define("DIM", width(0)), define("ROWS", graph_.rows)},
                {step_, in(0), result()}, kernels::finish_chunk_shape());
  }

  llvm::Error sample() {
    return emit("sample", {define("VOCAB", width(0)), define("ADVANCE", attributes().advance ? 1 : 0)},
                {step_, tensor(program_.bindings.tokens), in(0),
                 out_.scratch(n_->label + "/work", width(0)), tensor(program_.bindings.ring)},
                kernels::sample_shape());
  }

  const ir::Program& program_;
  const ir::Graph& graph_;
  uint32_t sms_;
  ScheduleBuilder& out_;
  const ir::Node* n_ = nullptr;
  Argument step_;
};

}  // namespace

llvm::Error select_cuda(const ir::Program& program, const ir::Graph& graph,
                        const target::Target& target, ScheduleBuilder& out) {
  CudaSelector selector(program, graph, target, out);
  for (const ir::Node& node : graph.nodes) {
    if (llvm::Error error = selector.node(node)) return error;
  }
  return llvm::Error::success();
}

}  // namespace jllm::select

// The CUDA kernels: one launch per node, its constants as macros. kernels/device/README.md lists
// macros and arguments of each kernel, kernels/catalogue.h the grids.
#include <cstring>

#include "compiler/select/activation_forms.h"
#include "compiler/select/cuda_experts.h"
#include "compiler/select/schedule.h"
#include "compiler/support/error.h"
#include "kernels/attention_shapes.h"
#include "kernels/catalogue.h"
#include "kernels/gemm_shapes.h"
#include "kernels/gemv_shapes.h"

namespace jllm::select {
namespace {

using Args = std::vector<Argument>;
using Defines = std::vector<std::string>;
using kernels::Activations;
using kernels::define;
using kernels::LaunchShape;

std::string define_bits(const char* name, float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return define(name, bits) + "u";
}

class CudaSelector {
 public:
  CudaSelector(const ir::Program& program, const ir::Graph& graph, const target::Target& target,
               const SelectOptions& options, ScheduleBuilder& out)
      : program_(program),
        graph_(graph),
        sms_(target.sm_count),
        compute_capability_(target.compute_capability),
        overlap_(options.overlap),
        table_(options.tuning ? &*options.tuning
                              : tuning::shipped(target.compute_capability, target.sm_count)),
        out_(out),
        forms_(program, graph, options.activations),
        experts_(program, graph, sms_, compute_capability_, out) {
    step_ = tensor(is_batch() ? program.bindings.batch : program.bindings.state);
  }

  llvm::Error node(const ir::Node& n) {
    n_ = &n;
    switch (n.op) {
      case ir::Op::kEmbed:
        return embed();
      case ir::Op::kRmsNorm:
        return rms_norm();
      case ir::Op::kLayerNorm:
        return layer_norm();
      case ir::Op::kMatmul:
        return few_tokens() ? matvec(false) : matmul();
      case ir::Op::kMatmuls:
      case ir::Op::kMatmulGlu:
        return matmul();
      case ir::Op::kAddBias:
        return elementwise("add_bias", width(0), {define("N", width(0))}, {in(0), in(1), result()});
      case ir::Op::kRope:
        return rope();
      case ir::Op::kKvAppend:
        return kv_append();
      case ir::Op::kAttention:
        return few_tokens() ? attention_decode() : attention();
      case ir::Op::kShortConv:
        return short_conv();
      case ir::Op::kGlu:
        return glu();
      case ir::Op::kUnary:
        return unary();
      case ir::Op::kAdd:
        return elementwise("add", width(0), {define("N", width(0))}, {in(0), in(1), result()});
      case ir::Op::kFinishChunk:
        return finish_chunk();
      case ir::Op::kSample:
        return sample();
      case ir::Op::kQkv:
        return qkv();
      case ir::Op::kRopeAppend:
        return rope_append();
      case ir::Op::kMatmulAdd:
        return few_tokens() ? matvec(true) : matmul();
      case ir::Op::kGateUp:
        return gate_up();
      case ir::Op::kHead:
        return head();
      case ir::Op::kDraft:
        return emit("draft", {define("ROWS", graph_.rows)},
                    {step_, tensor(program_.bindings.tokens), tensor(program_.bindings.draft)},
                    kernels::draft_shape());
      case ir::Op::kAccept:
        return accept();
      case ir::Op::kRoute:
      case ir::Op::kExpertSum:
        return experts({});
      case ir::Op::kExpertMatmul:
        return experts({weight_type(1)});
      case ir::Op::kExpertGlu:
        return experts({weight_type(1), weight_type(2)});
    }
    return fail(ExitCode::kFailed, "internal: no CUDA kernel for '{0}'", ir::op_name(n.op));
  }

 private:
  bool few_tokens() const { return multiplies_row_by_row(graph_); }

  // Whether rows belong to a sequence each. Kernels that look at sequences then take, in the place
  // of the state, the states, which rows there are, and how far apart the slots' states lie.
  bool is_batch() const { return graph_.kind == ir::GraphKind::kBatch; }
  Args sequences() const {
    if (!is_batch()) return {step_};
    const ir::TensorId state = program_.bindings.state;
    return {tensor(state), step_, slot_stride(state)};
  }
  Defines batch_define() const { return is_batch() ? Defines{"BATCH=1"} : Defines{}; }
  // Of caches, behind all other arguments.
  void add_strides(std::initializer_list<ir::TensorId> caches, Args* args) const {
    if (!is_batch()) return;
    for (const ir::TensorId cache : caches) args->push_back(slot_stride(cache));
  }

  const ir::Tensor& info(size_t i) const { return program_[n_->inputs[i]]; }
  Argument in(size_t i) const { return tensor(n_->inputs[i]); }
  Argument result() const { return tensor(n_->outputs[0]); }
  uint64_t width(size_t i) const { return info(i).cols; }
  uint64_t type(size_t i) const { return static_cast<uint64_t>(info(i).type); }
  const ir::Attributes& attributes() const { return n_->attributes; }

  llvm::Error emit(const char* kernel, Defines defines, Args args, const LaunchShape& shape) {
    launch_kernel(kernel, std::move(defines), std::move(args), shape, n_->label);
    return llvm::Error::success();
  }

  void launch_kernel(const char* kernel, Defines defines, Args args, const LaunchShape& shape,
                     const std::string& label, std::optional<GemvChoice> gemv = std::nullopt) {
    KernelSpec spec;
    spec.gemv = std::move(gemv);
    spec.name = spec.source = kernel;
    spec.defines = std::move(defines);
    spec.block = shape.block;
    spec.shared_bytes = static_cast<uint32_t>(shape.shared_bytes);
    spec.programmatic = overlap_ && compute_capability_ >= 90 && kernels::may_overlap(kernel);
    out_.launch(out_.kernel(std::move(spec)), std::move(args), label, shape.grid_x, shape.grid_y,
                shape.grid_z);
  }

  // Kernels whose first argument is the state, one work item per element of a row.
  llvm::Error elementwise(const char* kernel, uint64_t items, Defines defines, const Args& rest) {
    Args args = {step_};
    for (const Argument& arg : rest) args.push_back(arg);
    return emit(kernel, std::move(defines), std::move(args),
                kernels::elementwise_shape(graph_.rows, items, sms_));
  }

  // The same for kernels that look at sequences; `caches`: of which they take the strides.
  llvm::Error by_sequence(const char* kernel, uint64_t items, const Defines& defines,
                          const Args& rest, std::initializer_list<ir::TensorId> caches = {}) {
    Args args = sequences();
    args.insert(args.end(), rest.begin(), rest.end());
    add_strides(caches, &args);
    return emit(kernel, join({defines, batch_define()}), std::move(args),
                kernels::elementwise_shape(graph_.rows, items, sms_));
  }

  llvm::Error experts(std::initializer_list<WeightType> types) {
    for (CudaLaunch& l : experts_.launches(*n_, forms_.mode_for(types))) {
      launch_kernel(l.kernel, std::move(l.defines), std::move(l.args), l.shape, l.label);
    }
    return llvm::Error::success();
  }

  llvm::Error embed() {
    Args args = sequences();
    args.insert(args.end(), {tensor(program_.bindings.tokens), in(0), result()});
    return emit("embed", join({{define("TYPE", type(0)), define("DIM", width(0))}, batch_define()}),
                std::move(args), kernels::row_shape(graph_.rows, width(0)));
  }

  llvm::Error rms_norm() {
    const uint32_t groups = attributes().groups;
    const uint64_t dim = width(0) / groups;
    Defines defines = {define("DIM", dim), define_bits("EPSILON_BITS", attributes().epsilon)};
    if (forms_.is_half_image(n_->outputs[0])) defines.push_back("OUT_HALVES=1");
    return emit("rms_norm", std::move(defines), {step_, in(0), in(1), result()},
                kernels::row_shape(graph_.rows, dim, groups));
  }

  llvm::Error layer_norm() {
    const bool bias = n_->inputs.size() > 2;
    Args args = {step_, in(0), in(1)};
    if (bias) args.push_back(in(2));
    args.push_back(result());
    return emit("layer_norm",
                {define("DIM", width(0)), define("HAS_BIAS", bias ? 1 : 0),
                 define_bits("EPSILON_BITS", attributes().epsilon)},
                std::move(args), kernels::row_shape(graph_.rows, width(0)));
  }

  llvm::Error short_conv() {
    const uint64_t n = info(1).rows;
    Args args = sequences();
    args.insert(args.end(), {in(0), in(1), in(2), result()});
    LaunchShape shape = kernels::short_conv_shape(is_batch() ? 1 : graph_.rows, n);
    if (is_batch()) shape.grid_z = graph_.rows;
    return emit("short_conv",
                join({{define("N", n), define("TAPS", width(1)), define("RECENT", info(2).rows),
                       define("ROWS", is_batch() ? 1 : graph_.rows),
                       define("SEGMENT", kernels::kShortConvSegment)},
                      batch_define()}),
                std::move(args), shape);
  }

  llvm::Error glu() {
    return elementwise("glu", width(0),
                       {define("N", width(0)), define("ACTIVATION", attributes().activation)},
                       {in(0), in(1), result()});
  }

  llvm::Error unary() {
    return elementwise("unary", width(0),
                       {define("N", width(0)), define("FUNCTION", attributes().function),
                        define_bits("PARAMETER_BITS", attributes().parameter)},
                       {in(0), result()});
  }

  // Several tokens: out = in W^T, with a residual, for several matrices or with gate and up. f32
  // weights are multiplied in f32; others on tensor cores, which take a half image.
  llvm::Error matmul() {
    const bool residual = n_->op == ir::Op::kMatmulAdd;
    const size_t matrices = n_->inputs.size() - (residual ? 2 : 1);
    kernels::GemmProblem problem;
    problem.rows = graph_.rows;
    problem.k = info(1).cols;
    problem.gated = n_->op == ir::Op::kMatmulGlu;
    for (size_t i = 1; i <= matrices; ++i) {
      problem.types.push_back(static_cast<unsigned>(weight_type(i)));
      problem.n.push_back(info(i).rows);
    }
    Args args = {step_};
    if (!kernels::has_gemm(problem.types[0])) {
      args.insert(args.end(), {in(0), in(1)});
      if (residual) args.push_back(in(2));
      args.insert(args.end(), {result(), immediate(graph_.rows), immediate(problem.n[0]),
                               immediate(problem.k)});
      const uint32_t tile = kernels::matmul_tile(graph_.rows, problem.n[0], sms_);
      Defines defines = {define("RESIDUAL", residual ? 1 : 0)};
      if (tile != 64) defines.push_back(define("TILE", tile));
      return emit("matmul", std::move(defines), std::move(args),
                  kernels::matmul_shape(graph_.rows, problem.n[0], tile));
    }
    const Argument image = half_image(n_->inputs[0]);
    args.push_back(image);
    for (size_t i = 1; i < n_->inputs.size(); ++i) args.push_back(in(i));
    for (const ir::TensorId output : n_->outputs) args.push_back(tensor(output));
    args.push_back(immediate(graph_.rows));
    const kernels::GemmTile tile = kernels::gemm_tile(problem, sms_, compute_capability_);
    Defines defines = kernels::gemm_defines(tile, problem);
    if (residual) defines.push_back("RESIDUAL=1");
    if (problem.gated) defines.push_back(define("ACTIVATION", attributes().activation));
    return emit("gemm", std::move(defines), std::move(args), kernels::gemm_shape(tile, problem));
  }

  // This activation as a half image: as it is, or made by a launch of its own.
  Argument half_image(ir::TensorId id) {
    if (forms_.is_half_image(id)) return tensor(id);
    const uint64_t width = program_[id].cols;
    const Argument image = out_.scratch(n_->label + "/halves",
                                        (kernels::half_image_bytes(graph_.rows, width) + 3) / 4);
    launch_kernel("halves", {define("DIM", width)}, {step_, tensor(id), image},
                  kernels::row_shape(graph_.rows, width), n_->label + "/halves");
    return image;
  }

  WeightType weight_type(size_t i) const { return info(i).type; }

  Defines image_defines() const {
    const Activations mode = forms_.image_of(n_->outputs[0]);
    if (mode == Activations::kExact) return {};
    return {define("OUT_IMAGE", static_cast<uint64_t>(mode))};
  }
  GemvChoice choose(const char* kernel, std::initializer_list<size_t> weights, Activations mode,
                    uint64_t n) const {
    GemvChoice choice;
    kernels::GemvProblem& problem = choice.problem;
    problem.kernel = kernel;
    for (const size_t i : weights) problem.types.push_back(static_cast<unsigned>(weight_type(i)));
    problem.mode = mode;
    problem.k = info(*weights.begin()).cols;
    problem.n = n;
    const tuning::Entry* entry = table_ != nullptr ? table_->find(problem) : nullptr;
    choice.measured = entry != nullptr;
    choice.variant = entry != nullptr ? entry->variant : kernels::choose_variant(problem, sms_);
    problem.tokens = graph_.rows;
    problem.tokens = kernels::tokens_per_launch(problem, compute_capability_);
    choice.variant = kernels::with_tokens(problem, choice.variant, sms_);
    return choice;
  }
  LaunchShape shape_of(const GemvChoice& choice) const {
    return kernels::gemv_shape(choice.problem, choice.variant, sms_);
  }
  static Defines defines_of(const GemvChoice& choice) {
    return kernels::gemv_defines(choice.problem, choice.variant);
  }
  // Launches for all tokens of the graph; `defines` lack those of the choice.
  llvm::Error emit(GemvChoice choice, const Defines& defines, const Args& args) {
    const uint32_t per_launch = choice.problem.tokens;
    for (uint32_t first = 0; first < graph_.rows; first += per_launch) {
      choice.problem.tokens = std::min(per_launch, graph_.rows - first);
      Defines all = join({defines, defines_of(choice)});
      if (first > 0) all.push_back(define("FIRST_TOKEN", first));
      launch_kernel(choice.problem.kernel.c_str(), std::move(all), args, shape_of(choice),
                    n_->label, choice);
    }
    return llvm::Error::success();
  }

  Defines tokens_define() const {
    return graph_.rows > 1 ? Defines{define("TOKENS", graph_.rows)} : Defines{};
  }

  Defines head_defines() const {
    const ir::Attributes& a = attributes();
    return {define("HEADS", a.heads), define("KV_HEADS", a.kv_heads),
            define("HEAD_DIM", a.head_dim)};
  }
  Defines rope_defines() const {
    const ir::Attributes& a = attributes();
    return {define("PAIRS", a.pairs), define("NEOX", a.neox ? 1 : 0),
            define_bits("MAGNITUDE_BITS", a.magnitude)};
  }
  Defines cache_defines(const ir::Tensor& k, const ir::Tensor& v) const {
    return {define("CONTEXT", program_.context), define("KV_K_TYPE", static_cast<uint64_t>(k.type)),
            define("KV_V_TYPE", static_cast<uint64_t>(v.type))};
  }
  Defines attention_defines() const {
    const ir::Attributes& a = attributes();
    Defines scores = {define("ROTATION", info(1).rotation), define_bits("SCALE_BITS", a.scale)};
    if (a.window != 0) scores.push_back(define("WINDOW", a.window));
    if (a.softcap != 0) scores.push_back(define_bits("SOFTCAP_BITS", a.softcap));
    return join({head_defines(), cache_defines(info(1), info(2)), scores});
  }
  static Defines join(std::initializer_list<Defines> lists) {
    Defines all;
    for (const Defines& list : lists) all.insert(all.end(), list.begin(), list.end());
    return all;
  }

  llvm::Error rope() {
    const ir::Attributes& a = attributes();
    return by_sequence(
        "rope", uint64_t{a.heads} * a.head_dim / 2,
        join({{define("HEADS", a.heads), define("HEAD_DIM", a.head_dim)}, rope_defines()}),
        {in(0), in(1), result()});
  }

  llvm::Error kv_append() {
    const ir::Attributes& a = attributes();
    return by_sequence(
        "kv_append", kernels::kv_append_items(static_cast<unsigned>(type(1)), a.heads, a.head_dim),
        {define("HEADS", a.heads), define("HEAD_DIM", a.head_dim),
         define("CONTEXT", program_.context), define("KV_TYPE", type(1)),
         define("ROTATION", info(1).rotation)},
        {in(0), in(1)}, {n_->inputs[1]});
  }

  llvm::Error rope_append() {
    const ir::Attributes& a = attributes();
    return by_sequence("rope_append", (uint64_t{a.heads} + 2 * a.kv_heads) * a.head_dim / 2,
                       join({head_defines(), rope_defines(), cache_defines(info(4), info(5))}),
                       {in(0), in(1), in(2), in(3), in(4), in(5)}, {n_->inputs[4], n_->inputs[5]});
  }

  llvm::Error attention() {
    const ir::Attributes& a = attributes();
    const kernels::AttentionProblem problem = {graph_.rows, a.heads,           a.kv_heads,
                                               a.head_dim,  unsigned(type(1)), unsigned(type(2))};
    const kernels::AttentionTile tile = kernels::attention_tile(problem, sms_);
    return emit("attention", join({attention_defines(), kernels::attention_defines(tile, problem)}),
                {step_, in(0), in(1), in(2), result(), immediate(graph_.rows)},
                kernels::attention_shape(tile, problem));
  }

  llvm::Error attention_decode() {
    const ir::Attributes& a = attributes();
    // The rows of a batch have caches of their own, and blocks: grid z.
    const uint32_t tokens = is_batch() ? 1 : graph_.rows, copies = graph_.rows / tokens;
    const kernels::DecodeAttention decode =
        kernels::decode_attention(a.heads, a.kv_heads, a.head_dim, sms_, tokens);
    const bool append = n_->inputs.size() > 3, head_norms = n_->inputs.size() > 5;
    Args args = sequences();
    args.push_back(in(0));
    if (append) args.insert(args.end(), {in(3), in(4)});
    Defines norms;
    if (head_norms) {
      args.insert(args.end(), {in(5), in(6), in(7)});
      norms = join({{"HEAD_NORM=1", define_bits("EPSILON_BITS", a.epsilon)}, rope_defines()});
    }
    args.insert(args.end(),
                {in(1), in(2), result(),
                 out_.scratch(n_->label + "/partial", copies * decode.partial_bytes() / 4),
                 out_.persistent((is_batch() ? "batch_tickets/" : "attention_tickets/") +
                                     std::to_string(graph_.rows),
                                 copies * decode.ticket_bytes() / 4)});
    add_strides({n_->inputs[1], n_->inputs[2]}, &args);
    LaunchShape shape = decode.shape();
    shape.grid_z = copies;
    return emit("attention_decode",
                join({attention_defines(),
                      {define("SPLITS", decode.splits), define("APPEND", append ? 1 : 0)},
                      is_batch() ? batch_define() : tokens_define(),
                      norms,
                      image_defines()}),
                std::move(args), shape);
  }

  llvm::Error qkv() {
    const ir::Attributes& a = attributes();
    const Activations mode = forms_.mode_for({weight_type(2), weight_type(3), weight_type(4)});
    const GemvChoice choice =
        choose("qkv", {2, 3, 4}, mode, (uint64_t{a.heads} + 2 * a.kv_heads) * a.head_dim);
    // Appends k and v, or hands them over as f32 rows.
    const bool append = n_->outputs.size() == 1;
    const size_t first_bias = append ? 8 : 6;
    const bool bias = n_->inputs.size() > first_bias;
    Args args = sequences();
    args.insert(args.end(), {in(0), in(1), in(2), in(3), in(4)});
    if (bias) {
      args.insert(args.end(), {in(first_bias), in(first_bias + 1), in(first_bias + 2)});
    }
    const ir::TensorId k = append ? n_->inputs[6] : n_->outputs[1];
    const ir::TensorId v = append ? n_->inputs[7] : n_->outputs[2];
    args.insert(args.end(), {in(5), result(), tensor(k), tensor(v)});
    if (append) add_strides({k, v}, &args);
    return emit(choice,
                join({{define("K", width(0)), define("Q_TYPE", type(2)), define("K_TYPE", type(3)),
                       define("V_TYPE", type(4))},
                      head_defines(),
                      rope_defines(),
                      {define("HAS_BIAS", bias ? 1 : 0), define("APPEND", append ? 1 : 0)},
                      cache_defines(program_[k], program_[v]),
                      {define_bits("EPSILON_BITS", a.epsilon)},
                      batch_define()}),
                args);
  }

  llvm::Error matvec(bool residual) {
    const Activations mode = forms_.mode_for({weight_type(1)});
    const GemvChoice choice = choose("matmul_add", {1}, mode, info(1).rows);
    Defines defines = {define("TYPE", type(1)), define("K", width(1)), define("N", info(1).rows),
                       define("HAS_BIAS", 0)};
    if (forms_.image_of(n_->inputs[0]) != Activations::kExact) defines.push_back("IN_IMAGE=1");
    Args args = {in(0), in(1)};
    if (residual) {
      args.push_back(in(2));
    } else {
      defines.push_back("RESIDUAL=0");
    }
    args.push_back(result());
    return emit(choice, defines, args);
  }

  llvm::Error gate_up() {
    const Activations mode = forms_.mode_for({weight_type(2), weight_type(3)});
    const GemvChoice choice = choose("gate_up", {2, 3}, mode, info(2).rows);
    return emit(
        choice,
        join({{define("GATE_TYPE", type(2)), define("UP_TYPE", type(3)), define("K", width(0)),
               define("N", info(2).rows), define_bits("EPSILON_BITS", attributes().epsilon),
               define("ACTIVATION", attributes().activation)},
              image_defines()}),
        {in(0), in(1), in(2), in(3), result()});
  }

  llvm::Error head() {
    const Activations mode = forms_.mode_for({weight_type(2)});
    const GemvChoice choice = choose("head", {2}, mode, info(2).rows);
    Args args = {in(0), in(1), in(2), result()};
    Defines tops;
    if (is_sampled(n_->outputs[0])) {
      top_count_ = shape_of(choice).grid_x;
      tops_ = out_.scratch(n_->label + "/tops", uint64_t{2} * top_count_ * graph_.rows);
      args.push_back(tops_);
      tops.push_back(define("TOPS", 1));
    }
    return emit(choice,
                join({{define("TYPE", type(2)), define("K", width(0)), define("N", info(2).rows),
                       define_bits("EPSILON_BITS", attributes().epsilon)},
                      tops}),
                args);
  }

  // Whether the sampler reads this node's result as it is: softcaps and biases work in place.
  bool is_sampled(ir::TensorId id) const {
    bool sampled = false;
    for (const ir::Node& node : graph_.nodes) {
      const bool samples = node.op == ir::Op::kSample || node.op == ir::Op::kAccept;
      sampled |= samples && node.inputs[0] == id;
      if (&node != n_ && llvm::is_contained(node.outputs, id)) return false;
    }
    return sampled;
  }

  llvm::Error finish_chunk() {
    return emit("finish_chunk", {define("DIM", width(0)), define("ROWS", graph_.rows)},
                {step_, in(0), result()}, kernels::finish_chunk_shape());
  }

  llvm::Error sample() {
    Args more = {tensor(program_.bindings.mask)};
    if (is_batch()) more.push_back(slot_stride(program_.bindings.ring));
    return sampler("sample",
                   join({{define("ADVANCE", attributes().advance ? 1 : 0)}, batch_define()}), more);
  }
  llvm::Error accept() {
    return sampler("accept", {define("ROWS", graph_.rows)}, {tensor(program_.bindings.draft)});
  }
  llvm::Error sampler(const char* kernel, Defines defines, const Args& more) {
    defines.push_back(define("VOCAB", width(0)));
    LaunchShape shape = kernels::sample_shape();
    if (is_batch()) shape.grid_x = graph_.rows;
    Args args = sequences();
    args.insert(args.end(), {tensor(program_.bindings.tokens), in(0),
                             out_.scratch(n_->label + "/work", width(0) * shape.grid_x),
                             tensor(program_.bindings.ring)});
    args.insert(args.end(), more.begin(), more.end());
    if (top_count_ != 0) {
      defines.push_back(define("TOPS", top_count_));
      args.push_back(tops_);
    }
    return emit(kernel, std::move(defines), std::move(args), shape);
  }

  const ir::Program& program_;
  const ir::Graph& graph_;
  uint32_t sms_;
  uint32_t compute_capability_;
  bool overlap_;
  const tuning::Table* table_;  // may be null
  ScheduleBuilder& out_;
  ActivationForms forms_;
  CudaExperts experts_;
  const ir::Node* n_ = nullptr;
  Argument step_;
  Argument tops_;           // the head's largest logits,
  uint32_t top_count_ = 0;  // of so many blocks
};

}  // namespace

llvm::Error select_cuda(const ir::Program& program, const ir::Graph& graph,
                        const target::Target& target, const SelectOptions& options,
                        ScheduleBuilder& out) {
  CudaSelector selector(program, graph, target, options, out);
  for (const ir::Node& node : graph.nodes) {
    if (llvm::Error error = selector.node(node)) return error;
  }
  return llvm::Error::success();
}

}  // namespace jllm::select

#include "compiler/ir/builder.h"

namespace jllm::ir {

GraphBuilder::GraphBuilder(Program& program, GraphKind kind, uint32_t rows) : program_(program) {
  graph_.kind = kind;
  graph_.rows = rows;
}

std::string GraphBuilder::scoped(const char* name) const {
  return scope_.empty() ? name : scope_ + "." + name;
}

TensorId GraphBuilder::activation(uint64_t cols, const char* name) {
  Tensor tensor;
  tensor.name = graph_name(graph_) + "/" + scoped(name);
  tensor.rows = graph_.rows;
  tensor.cols = cols;
  return program_.add(std::move(tensor));
}

void GraphBuilder::emit(Op op, std::vector<TensorId> inputs, std::vector<TensorId> outputs,
                        const Attributes& attributes, const char* name) {
  graph_.nodes.push_back({op, std::move(inputs), std::move(outputs), attributes, scoped(name)});
}

TensorId GraphBuilder::embed(TensorId table) {
  const TensorId out = activation(program_[table].cols, "token_embd");
  emit(Op::kEmbed, {table}, {out}, {}, "token_embd");
  return out;
}

TensorId GraphBuilder::rms_norm(TensorId x, TensorId weight, float epsilon, const char* name,
                                uint32_t groups) {
  const TensorId out = activation(program_[x].cols, name);
  Attributes attributes;
  attributes.epsilon = epsilon;
  attributes.groups = groups;
  emit(Op::kRmsNorm, {x, weight}, {out}, attributes, name);
  return out;
}

TensorId GraphBuilder::layer_norm(TensorId x, TensorId weight, std::optional<TensorId> bias,
                                  float epsilon, const char* name) {
  const TensorId out = activation(program_[x].cols, name);
  Attributes attributes;
  attributes.epsilon = epsilon;
  std::vector<TensorId> inputs = {x, weight};
  if (bias) inputs.push_back(*bias);
  emit(Op::kLayerNorm, std::move(inputs), {out}, attributes, name);
  return out;
}

TensorId GraphBuilder::matmul(TensorId x, TensorId weight, const char* name) {
  return matmul_into(x, weight, activation(program_[weight].rows, name), name);
}

TensorId GraphBuilder::matmul_into(TensorId x, TensorId weight, TensorId out, const char* name) {
  emit(Op::kMatmul, {x, weight}, {out}, {}, name);
  return out;
}

TensorId GraphBuilder::add_bias(TensorId x, TensorId bias, const char* name) {
  const TensorId out = activation(program_[x].cols, name);
  emit(Op::kAddBias, {x, bias}, {out}, {}, name);
  return out;
}

void GraphBuilder::add_bias_in_place(TensorId x, TensorId bias, const char* name) {
  emit(Op::kAddBias, {x, bias}, {x}, {}, name);
}

TensorId GraphBuilder::rope(TensorId x, TensorId frequencies, const Attributes& attributes,
                            const char* name) {
  const TensorId out = activation(program_[x].cols, name);
  emit(Op::kRope, {x, frequencies}, {out}, attributes, name);
  return out;
}

void GraphBuilder::kv_append(TensorId x, TensorId cache, uint32_t heads, uint32_t head_dim,
                             const char* name) {
  Attributes attributes;
  attributes.heads = heads;
  attributes.head_dim = head_dim;
  emit(Op::kKvAppend, {x, cache}, {}, attributes, name);
}

TensorId GraphBuilder::attention(TensorId q, TensorId k_cache, TensorId v_cache,
                                 const Attributes& attributes) {
  const TensorId out = activation(program_[q].cols, "attn_out");
  emit(Op::kAttention, {q, k_cache, v_cache}, {out}, attributes, "attention");
  return out;
}

TensorId GraphBuilder::short_conv(TensorId bcx, TensorId taps, TensorId state) {
  const TensorId out = activation(program_[taps].rows, "shortconv");
  emit(Op::kShortConv, {bcx, taps, state}, {out}, {}, "shortconv");
  return out;
}

TensorId GraphBuilder::glu(TensorId gate, TensorId up, Activation function) {
  const TensorId out = activation(program_[gate].cols, "ffn_act");
  Attributes attributes;
  attributes.activation = function;
  emit(Op::kGlu, {gate, up}, {out}, attributes, "ffn_act");
  return out;
}

TensorId GraphBuilder::unary(TensorId x, UnaryFunction function, float parameter,
                             const char* name) {
  const TensorId out = activation(program_[x].cols, name);
  Attributes attributes;
  attributes.function = function;
  attributes.parameter = parameter;
  emit(Op::kUnary, {x}, {out}, attributes, name);
  return out;
}

void GraphBuilder::unary_in_place(TensorId x, UnaryFunction function, float parameter,
                                  const char* name) {
  Attributes attributes;
  attributes.function = function;
  attributes.parameter = parameter;
  emit(Op::kUnary, {x}, {x}, attributes, name);
}

TensorId GraphBuilder::add(TensorId a, TensorId b, const char* name) {
  const TensorId out = activation(program_[a].cols, name);
  emit(Op::kAdd, {a, b}, {out}, {}, name);
  return out;
}

GraphBuilder::Routes GraphBuilder::route(TensorId logits, uint32_t slots, bool renormalise) {
  const Routes routes = {activation(slots, "ffn_chosen"), activation(slots, "ffn_weights"), slots};
  Attributes attributes;
  attributes.slots = slots;
  attributes.renormalise = renormalise;
  emit(Op::kRoute, {logits}, {routes.chosen, routes.weights}, attributes, "ffn_route");
  return routes;
}

TensorId GraphBuilder::expert_matmul(TensorId x, TensorId weight, const Routes& routes,
                                     const char* name) {
  const ir::Tensor& matrices = program_[weight];
  const TensorId out = activation(routes.slots * (matrices.rows / matrices.experts), name);
  Attributes attributes;
  attributes.slots = routes.slots;
  emit(Op::kExpertMatmul, {x, weight, routes.chosen}, {out}, attributes, name);
  return out;
}

TensorId GraphBuilder::expert_sum(TensorId x, const Routes& routes) {
  const TensorId out = activation(program_[x].cols / routes.slots, "ffn_sum");
  Attributes attributes;
  attributes.slots = routes.slots;
  emit(Op::kExpertSum, {x, routes.weights}, {out}, attributes, "ffn_sum");
  return out;
}

void GraphBuilder::finish_chunk(TensorId x) {
  emit(Op::kFinishChunk, {x}, {program_.bindings.hidden}, {}, "finish_chunk");
}

void GraphBuilder::keep_as_embedding(TensorId x) {
  program_.tensors[x].name = "embedding";
  program_.tensors[x].kind = TensorKind::kPersistent;
  program_.bindings.embedding = x;
}

void GraphBuilder::sample(TensorId logits, bool advance) {
  Attributes attributes;
  attributes.advance = advance;
  if (graph_.kind == GraphKind::kBatch) graph_.logits = logits;
  emit(Op::kSample, {logits}, {}, attributes, "sample");
}

void GraphBuilder::draft() { emit(Op::kDraft, {}, {}, {}, "draft"); }

void GraphBuilder::accept(TensorId logits) {
  graph_.logits = logits;
  emit(Op::kAccept, {logits}, {}, {}, "accept");
}

void GraphBuilder::finish() { program_.graphs.push_back(std::move(graph_)); }

}  // namespace jllm::ir

#include "compiler/select/cuda_experts.h"

namespace jllm::select {
namespace {

using kernels::define;

// A product of one or, with gate and up, two matrices per expert.
struct Product {
  const ir::Tensor* in;
  std::vector<const ir::Tensor*> weights;
  uint64_t n, k;
  ir::TensorId chosen;
  bool in_per_slot;

  Product(const ir::Program& program, const ir::Node& node)
      : in(&program[node.inputs[0]]), chosen(node.inputs.back()) {
    for (size_t i = 1; i + 1 < node.inputs.size(); ++i) {
      weights.push_back(&program[node.inputs[i]]);
    }
    n = weights[0]->rows / weights[0]->experts;
    k = weights[0]->cols;
    in_per_slot = in->cols != k;
  }
  std::vector<unsigned> types() const {
    std::vector<unsigned> out;
    for (const ir::Tensor* weight : weights) out.push_back(static_cast<unsigned>(weight->type));
    return out;
  }
};

}  // namespace

std::vector<CudaLaunch> CudaExperts::launches(const ir::Node& node, kernels::Activations mode) {
  if (node.op == ir::Op::kRoute) return route(node);
  if (node.op == ir::Op::kExpertSum) return sum(node);
  const bool few_tokens = graph_.kind != ir::GraphKind::kPrefill;
  const bool has_gemm = kernels::has_gemm(Product(program_, node).types()[0]);
  return few_tokens || !has_gemm ? slot_by_slot(node, mode) : expert_by_expert(node);
}

std::vector<CudaLaunch> CudaExperts::route(const ir::Node& node) const {
  return {
      {"route",
       {define("EXPERTS", program_[node.inputs[0]].cols), define("SLOTS", node.attributes.slots),
        define("RENORMALISE", node.attributes.renormalise ? 1 : 0)},
       {step(), tensor(node.inputs[0]), tensor(node.outputs[0]), tensor(node.outputs[1])},
       kernels::route_shape(graph_.rows),
       node.label}};
}

std::vector<CudaLaunch> CudaExperts::slot_by_slot(const ir::Node& node,
                                                  kernels::Activations mode) const {
  const Product product(program_, node);
  const uint32_t slots = node.attributes.slots;
  const kernels::GemvProblem problem = {"expert_matmul", product.types(), mode, product.k,
                                        product.n};
  const kernels::GemvVariant variant = kernels::choose_expert_variant(problem, slots, sms_);
  std::vector<std::string> defines = {define("TYPE", problem.types[0]), define("K", product.k),
                                      define("N", product.n), define("SLOTS", slots),
                                      define("IN_PER_SLOT", product.in_per_slot ? 1 : 0)};
  std::vector<Argument> args = {step(), tensor(node.inputs[0]), tensor(product.chosen),
                                tensor(node.inputs[1])};
  if (node.op == ir::Op::kExpertGlu) {
    defines.insert(defines.end(), {define("UP_TYPE", problem.types[1]),
                                   define("ACTIVATION", node.attributes.activation)});
    args.push_back(tensor(node.inputs[2]));
  }
  args.push_back(tensor(node.outputs[0]));
  for (std::string& more : kernels::gemv_defines(problem, variant)) {
    defines.push_back(std::move(more));
  }
  return {{"expert_matmul", std::move(defines), std::move(args),
           kernels::expert_matmul_shape(problem, variant, graph_.rows * slots, sms_), node.label}};
}

std::vector<CudaLaunch> CudaExperts::expert_by_expert(const ir::Node& node) {
  const Product product(program_, node);
  const uint32_t slots = node.attributes.slots, rows = graph_.rows * slots;
  const auto experts = static_cast<uint32_t>(product.weights[0]->experts);
  kernels::GemmProblem problem = {rows, product.k, product.types(), {}, false, experts};
  problem.n.assign(product.weights.size(), product.n);
  problem.gated = node.op == ir::Op::kExpertGlu;
  const kernels::GemmTile tile = kernels::gemm_tile(problem, sms_, compute_capability_);
  std::vector<CudaLaunch> launches;

  const auto [lists, are_new] = lists_.try_emplace({product.chosen, tile.tokens()});
  if (are_new) {
    const uint32_t tiles = kernels::expert_tiles(tile, problem);
    const std::string label = node.label + "/lists";
    lists->second = {out_.scratch(label + "/sources", rows),
                     out_.scratch(label + "/tiles", uint64_t{3} * tiles)};
    launches.push_back({"expert_lists",
                        {define("EXPERTS", experts), define("SLOTS", slots),
                         define("TILE", tile.tokens()), define("TILES", tiles)},
                        {step(), tensor(product.chosen), lists->second.sources, lists->second.tiles,
                         immediate(graph_.rows)},
                        kernels::expert_lists_shape(),
                        label});
  }
  const Argument image =
      out_.scratch(node.label + "/halves", (kernels::half_image_bytes(rows, product.k) + 3) / 4);
  launches.push_back({"halves",
                      {define("DIM", product.k), define("SLOTS", slots),
                       define("IN_PER_SLOT", product.in_per_slot ? 1 : 0)},
                      {step(), tensor(node.inputs[0]), lists->second.sources, image},
                      kernels::row_shape(rows, product.k),
                      node.label + "/halves"});
  std::vector<std::string> defines = kernels::gemm_defines(tile, problem);
  if (problem.gated) defines.push_back(define("ACTIVATION", node.attributes.activation));
  std::vector<Argument> args = {step(), image, lists->second.sources, lists->second.tiles};
  for (size_t i = 1; i + 1 < node.inputs.size(); ++i) args.push_back(tensor(node.inputs[i]));
  args.insert(args.end(), {tensor(node.outputs[0]), immediate(rows)});
  launches.push_back({"gemm", std::move(defines), std::move(args),
                      kernels::gemm_shape(tile, problem), node.label});
  return launches;
}

std::vector<CudaLaunch> CudaExperts::sum(const ir::Node& node) const {
  const uint64_t n = program_[node.outputs[0]].cols;
  const bool residual = node.inputs.size() > 2;
  std::vector<Argument> args = {step(), tensor(node.inputs[0]), tensor(node.inputs[1])};
  if (residual) args.push_back(tensor(node.inputs[2]));
  args.push_back(tensor(node.outputs[0]));
  return {{"expert_sum",
           {define("N", n), define("SLOTS", node.attributes.slots),
            define("RESIDUAL", residual ? 1 : 0)},
           std::move(args),
           kernels::elementwise_shape(graph_.rows, n, sms_),
           node.label}};
}

}  // namespace jllm::select

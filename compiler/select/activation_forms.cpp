#include "compiler/select/activation_forms.h"

#include "kernels/gemm_shapes.h"

namespace jllm::select {

using kernels::Activations;

bool multiplies_row_by_row(const ir::Graph& graph) { return graph.kind != ir::GraphKind::kPrefill; }

bool ActivationForms::is_half_image(ir::TensorId id) const {
  const uint64_t width = program_[id].cols;
  if (kernels::half_image_bytes(graph_.rows, width) > graph_.rows * width * sizeof(float)) {
    return false;
  }
  bool from_norm = false, read = false;
  for (const ir::Node& node : graph_.nodes) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] != id) continue;
      const bool takes_image = node.op == ir::Op::kMatmuls || node.op == ir::Op::kMatmulGlu ||
                               (!multiplies_row_by_row(graph_) &&
                                (node.op == ir::Op::kMatmul || node.op == ir::Op::kMatmulAdd));
      if (i != 0 || !takes_image ||
          !kernels::has_gemm(static_cast<unsigned>(program_[node.inputs[1]].type))) {
        return false;
      }
      read = true;
    }
    for (const ir::TensorId output : node.outputs) {
      if (output != id) continue;
      if (from_norm || node.op != ir::Op::kRmsNorm || node.attributes.groups != 1) return false;
      from_norm = true;
    }
  }
  return from_norm && read;
}

Activations ActivationForms::mode_for(std::initializer_list<WeightType> types) const {
  for (const WeightType type : types) {
    if (!kernels::has_int8_products(static_cast<unsigned>(type))) return Activations::kExact;
  }
  switch (mode_) {
    case ActivationMode::kF32:
      return Activations::kExact;
    case ActivationMode::kQ8:
      return Activations::kInt8;
    case ActivationMode::kQ8R:
    case ActivationMode::kAuto:
      break;
  }
  return Activations::kInt8Pair;
}

Activations ActivationForms::image_of(ir::TensorId id) const {
  const ir::Node *maker = nullptr, *reader = nullptr;
  for (const ir::Node& node : graph_.nodes) {
    for (const ir::TensorId input : node.inputs) {
      if (input != id) continue;
      if (reader != nullptr) return Activations::kExact;
      reader = &node;
    }
    if (!node.outputs.empty() && node.outputs[0] == id) maker = &node;
  }
  if (!multiplies_row_by_row(graph_) || maker == nullptr || reader == nullptr ||
      (reader->op != ir::Op::kMatmulAdd && reader->op != ir::Op::kMatmul) ||
      reader->inputs[0] != id) {
    return Activations::kExact;
  }
  const bool whole_blocks =
      (maker->op == ir::Op::kGateUp && program_[id].cols % 32 == 0) ||
      (maker->op == ir::Op::kAttention && maker->attributes.head_dim % 32 == 0);
  if (!whole_blocks) return Activations::kExact;
  const Activations mode = mode_for({program_[reader->inputs[1]].type});
  const uint64_t width = program_[id].cols;
  return kernels::image_bytes(mode, width) <= width * 4 ? mode : Activations::kExact;
}

}  // namespace jllm::select

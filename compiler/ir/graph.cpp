#include "compiler/ir/graph.h"

#include <llvm/Support/FormatVariadic.h>

namespace jllm::ir {

const char* op_name(Op op) {
  switch (op) {
    case Op::kEmbed:
      return "embed";
    case Op::kRmsNorm:
      return "rms_norm";
    case Op::kLayerNorm:
      return "layer_norm";
    case Op::kMatmul:
      return "matmul";
    case Op::kAddBias:
      return "add_bias";
    case Op::kRope:
      return "rope";
    case Op::kKvAppend:
      return "kv_append";
    case Op::kAttention:
      return "attention";
    case Op::kShortConv:
      return "short_conv";
    case Op::kGlu:
      return "glu";
    case Op::kUnary:
      return "unary";
    case Op::kAdd:
      return "add";
    case Op::kRoute:
      return "route";
    case Op::kExpertMatmul:
      return "expert_matmul";
    case Op::kExpertSum:
      return "expert_sum";
    case Op::kFinishChunk:
      return "finish_chunk";
    case Op::kSample:
      return "sample";
    case Op::kDraft:
      return "draft";
    case Op::kAccept:
      return "accept";
    case Op::kQkv:
      return "qkv";
    case Op::kRopeAppend:
      return "rope_append";
    case Op::kMatmulAdd:
      return "matmul_add";
    case Op::kMatmuls:
      return "matmuls";
    case Op::kMatmulGlu:
      return "matmul_glu";
    case Op::kGateUp:
      return "gate_up";
    case Op::kHead:
      return "head";
    case Op::kExpertGlu:
      return "expert_glu";
  }
  return "?";
}

TensorId Program::add(Tensor tensor) {
  tensors.push_back(std::move(tensor));
  return static_cast<TensorId>(tensors.size() - 1);
}

std::string graph_name(const Graph& graph) {
  switch (graph.kind) {
    case GraphKind::kDecode:
      return "decode";
    case GraphKind::kHead:
      return "head";
    case GraphKind::kPrefill:
      return "prefill_" + std::to_string(graph.rows);
    case GraphKind::kVerify:
      return "verify_" + std::to_string(graph.rows);
    case GraphKind::kBatch:
      return "batch_" + std::to_string(graph.rows);
  }
  return "?";
}

void dump(const Program& program, llvm::raw_ostream& os) {
  const auto list = [&](const std::vector<TensorId>& ids) {
    std::string text;
    for (const TensorId id : ids) text += (text.empty() ? "" : ", ") + program[id].name;
    return text;
  };
  for (const Graph& graph : program.graphs) {
    os << llvm::formatv("graph {0} rows={1} nodes={2}\n", graph_name(graph), graph.rows,
                        graph.nodes.size());
    for (const Node& node : graph.nodes) {
      os << llvm::formatv("  {0,-24} {1,-12} ({2}) -> ({3})\n", node.label, op_name(node.op),
                          list(node.inputs), list(node.outputs));
    }
  }
}

}  // namespace jllm::ir

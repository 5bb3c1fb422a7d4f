// Fusion by pattern: runs of primitive operations that a CUDA kernel does in one launch become one
// node. What does not match stays as it is and still runs.
#pragma once

#include "compiler/ir/graph.h"

namespace jllm::passes {

// Decode and head graphs: {rms_norm, q/k/v matmuls, biases, rope, append} -> qkv; {rms_norm, gate,
// up, glu} -> gate_up; {rms_norm, matmul} -> head. All graphs: {matmul, add} -> matmul_add; prefill
// graphs: {rope, rope, append, append} -> rope_append. Experts: {gate, up, glu} -> expert_glu,
// {expert_sum, add} -> expert_sum. With a quantised cache qkv does not append,
// attention does, and others append in nodes of their own.
void fuse(ir::Program& program);

}  // namespace jllm::passes

// Graphs that look like a pattern and are none: fusion must leave them alone, or keep what they
// compute. Built node by node.
#include <gtest/gtest.h>
#include <llvm/Support/raw_ostream.h>

#include "compiler/ir/builder.h"
#include "compiler/passes/fuse.h"

namespace jllm::passes {
namespace {

using ir::Attributes;
using ir::GraphBuilder;
using ir::GraphKind;
using ir::Op;
using ir::Program;
using ir::TensorId;
using ir::TensorKind;

constexpr uint64_t kDim = 32;

// A program with the tensors that the graphs below use, and one graph under construction.
class Patterns : public testing::Test {
 protected:
  Patterns() {
    norm_ = tensor("norm", TensorKind::kConstant, 1);
    bias_ = tensor("bias", TensorKind::kConstant, 1);
    frequencies_ = tensor("frequencies", TensorKind::kConstant, 1);
    for (const char* name : {"w0", "w1", "w2", "w3"}) {
      w_.push_back(tensor(name, TensorKind::kWeight, kDim));
    }
    k_cache_ = tensor("k_cache", TensorKind::kKvCache, 8);
    v_cache_ = tensor("v_cache", TensorKind::kKvCache, 8);
    logits_ = tensor("logits", TensorKind::kPersistent, 1);
    hidden_ = tensor("hidden", TensorKind::kPersistent, 1);
    program_.bindings.logits = logits_;
    program_.bindings.hidden = hidden_;
  }

  TensorId tensor(const char* name, TensorKind kind, uint64_t rows) {
    ir::Tensor t;
    t.name = name;
    t.kind = kind;
    t.rows = rows;
    t.cols = kDim;
    return program_.add(std::move(t));
  }

  GraphBuilder builder(GraphKind kind = GraphKind::kDecode) {
    return GraphBuilder(program_, kind, kind == GraphKind::kPrefill ? 4 : 1);
  }
  static Attributes rope_attributes() {
    Attributes a;
    a.heads = 1;
    a.kv_heads = 1;
    a.head_dim = kDim;
    a.pairs = kDim / 2;
    a.scale = 1;
    return a;
  }
  TensorId attention(GraphBuilder& b, TensorId q, TensorId k, TensorId v) const {
    b.kv_append(k, k_cache_, 1, kDim, "append_k");
    b.kv_append(v, v_cache_, 1, kDim, "append_v");
    return b.attention(q, k_cache_, v_cache_, rope_attributes());
  }

  // Operations of the fused graph in order: "rms_norm qkv attention".
  std::string fused_ops(GraphBuilder& b) {
    b.finish();
    fuse(program_);
    std::string text;
    for (const ir::Node& node : program_.graphs.back().nodes) {
      text += (text.empty() ? "" : " ") + std::string(ir::op_name(node.op));
    }
    return text;
  }
  const ir::Node& node(size_t i) const { return program_.graphs.back().nodes.at(i); }

  Program program_;
  TensorId norm_, bias_, frequencies_, k_cache_, v_cache_, logits_, hidden_;
  std::vector<TensorId> w_;
};

TEST_F(Patterns, ANormUsedAFourthTimeKeepsQkvApart) {
  GraphBuilder b = builder();
  const TensorId y = b.rms_norm(hidden_, norm_, 1e-5f, "norm");
  const TensorId q = b.rope(b.matmul(y, w_[0], "q"), frequencies_, rope_attributes(), "rope_q");
  const TensorId k = b.rope(b.matmul(y, w_[1], "k"), frequencies_, rope_attributes(), "rope_k");
  const TensorId v = b.matmul(y, w_[2], "v");
  b.add(attention(b, q, k, v), y, "parallel");  // the fourth reader
  EXPECT_EQ(fused_ops(b), "rms_norm matmul matmul matmul rope_append attention add");
}

TEST_F(Patterns, KeysWithoutRopeKeepQkvApart) {
  GraphBuilder b = builder();
  const TensorId y = b.rms_norm(hidden_, norm_, 1e-5f, "norm");
  const TensorId q = b.rope(b.matmul(y, w_[0], "q"), frequencies_, rope_attributes(), "rope_q");
  const TensorId k = b.matmul(y, w_[1], "k");
  const TensorId v = b.matmul(y, w_[2], "v");
  attention(b, q, k, v);
  EXPECT_EQ(fused_ops(b), "rms_norm matmul rope matmul matmul kv_append kv_append attention");
}

TEST_F(Patterns, KeysOfAnotherRopeTableKeepQkvApart) {
  GraphBuilder b = builder();
  const TensorId other = tensor("other", TensorKind::kConstant, 1);
  const TensorId y = b.rms_norm(hidden_, norm_, 1e-5f, "norm");
  const TensorId q = b.rope(b.matmul(y, w_[0], "q"), frequencies_, rope_attributes(), "rope_q");
  const TensorId k = b.rope(b.matmul(y, w_[1], "k"), other, rope_attributes(), "rope_k");
  const TensorId v = b.matmul(y, w_[2], "v");
  attention(b, q, k, v);
  EXPECT_EQ(fused_ops(b), "rms_norm matmul rope matmul rope matmul kv_append kv_append attention");
}

TEST_F(Patterns, KeysReadBesideTheCacheKeepQkvApart) {
  GraphBuilder b = builder();
  const TensorId y = b.rms_norm(hidden_, norm_, 1e-5f, "norm");
  const TensorId q = b.rope(b.matmul(y, w_[0], "q"), frequencies_, rope_attributes(), "rope_q");
  const TensorId k = b.rope(b.matmul(y, w_[1], "k"), frequencies_, rope_attributes(), "rope_k");
  const TensorId v = b.matmul(y, w_[2], "v");
  b.add(attention(b, q, k, v), k, "key_residual");
  EXPECT_EQ(fused_ops(b),
            "rms_norm matmul rope matmul rope matmul kv_append kv_append attention add");
}

TEST_F(Patterns, AGateThatIsReadTwiceKeepsGateUpApart) {
  GraphBuilder b = builder();
  const TensorId y = b.rms_norm(hidden_, norm_, 1e-5f, "norm");
  const TensorId gate = b.matmul(y, w_[0], "gate");
  const TensorId up = b.matmul(y, w_[1], "up");
  b.add(b.glu(gate, up), gate, "again");
  EXPECT_EQ(fused_ops(b), "rms_norm matmul matmul glu add");
}

// glu is not symmetric: silu belongs to its first input, whichever matrix came first.
TEST_F(Patterns, GateAndUpKeepTheirRoles) {
  GraphBuilder b = builder();
  const TensorId y = b.rms_norm(hidden_, norm_, 1e-5f, "norm");
  const TensorId up = b.matmul(y, w_[0], "up");
  const TensorId gate = b.matmul(y, w_[1], "gate");
  b.glu(gate, up);
  const std::string ops = fused_ops(b);
  if (ops == "gate_up") {
    EXPECT_EQ(node(0).inputs[2], w_[1]);
    EXPECT_EQ(node(0).inputs[3], w_[0]);
  } else {
    EXPECT_EQ(ops, "rms_norm matmul matmul glu");
  }
}

TEST_F(Patterns, AMatrixThatIsReadTwiceKeepsItsSumApart) {
  GraphBuilder b = builder();
  const TensorId x = b.matmul(hidden_, w_[0], "x");
  b.glu(b.add(x, hidden_, "sum"), x);
  EXPECT_EQ(fused_ops(b), "matmul add glu");
}

TEST_F(Patterns, AMatrixAddedToItselfIsNoResidual) {
  GraphBuilder b = builder();
  const TensorId x = b.matmul(hidden_, w_[0], "x");
  b.add(x, x, "twice");
  EXPECT_EQ(fused_ops(b), "matmul add");
}

// The residual of the first sum is that of the second too: both fuse, and each reads the right one.
TEST_F(Patterns, AResidualUsedTwiceStaysRight) {
  GraphBuilder b = builder();
  const TensorId x = b.embed(w_[3]);
  const TensorId first = b.add(b.matmul(x, w_[0], "a"), x, "first");
  const TensorId second = b.add(b.matmul(first, w_[1], "b"), x, "second");
  b.finish_chunk(second);
  EXPECT_EQ(fused_ops(b), "embed matmul_add matmul_add finish_chunk");
  EXPECT_EQ(node(1).inputs, (std::vector<TensorId>{x, w_[0], x}));
  EXPECT_EQ(node(1).outputs, (std::vector<TensorId>{first}));
  EXPECT_EQ(node(2).inputs, (std::vector<TensorId>{first, w_[1], x}));
  EXPECT_EQ(node(2).outputs, (std::vector<TensorId>{second}));
}

// The fused node stands where the sum stood: the residual may be made behind the matrix product.
TEST_F(Patterns, AResidualMadeBehindTheProductComesBeforeTheFusedNode) {
  GraphBuilder b = builder();
  const TensorId x = b.matmul(hidden_, w_[0], "x");
  const TensorId late = b.glu(hidden_, hidden_);
  b.finish_chunk(b.add(x, late, "sum"));
  EXPECT_EQ(fused_ops(b), "glu matmul_add finish_chunk");
  EXPECT_EQ(node(1).inputs[2], late);
}

TEST_F(Patterns, ANormWithOneMatrixIsAHeadOnlyForOneRow) {
  GraphBuilder decode = builder();
  decode.matmul_into(decode.rms_norm(hidden_, norm_, 1e-5f, "norm"), w_[0], logits_, "output");
  EXPECT_EQ(fused_ops(decode), "head");
  GraphBuilder prefill = builder(GraphKind::kPrefill);
  prefill.matmul_into(prefill.rms_norm(hidden_, norm_, 1e-5f, "norm"), w_[0], logits_, "output");
  EXPECT_EQ(fused_ops(prefill), "rms_norm matmul");
}

TEST_F(Patterns, ANormReadBesideItsMatrixIsNoHead) {
  GraphBuilder b = builder();
  const TensorId y = b.rms_norm(hidden_, norm_, 1e-5f, "norm");
  b.glu(b.matmul(y, w_[0], "output"), y);
  EXPECT_EQ(fused_ops(b), "rms_norm matmul glu");
}

TEST_F(Patterns, RotatedQueriesReadTwiceKeepRopeAndAppendApart) {
  GraphBuilder b = builder(GraphKind::kPrefill);
  const TensorId q =
      b.rope(b.matmul(hidden_, w_[0], "q"), frequencies_, rope_attributes(), "rope_q");
  const TensorId k =
      b.rope(b.matmul(hidden_, w_[1], "k"), frequencies_, rope_attributes(), "rope_k");
  const TensorId v = b.matmul(hidden_, w_[2], "v");
  b.glu(attention(b, q, k, v), q);
  EXPECT_EQ(fused_ops(b), "matmul rope matmul rope matmul kv_append kv_append attention glu");
}

// The fused operation rotates q in place, so nobody else may want q as it was.
TEST_F(Patterns, UnrotatedQueriesReadElsewhereKeepRopeAndAppendApart) {
  GraphBuilder b = builder(GraphKind::kPrefill);
  const TensorId raw = b.matmul(hidden_, w_[0], "q");
  const TensorId q = b.rope(raw, frequencies_, rope_attributes(), "rope_q");
  const TensorId k =
      b.rope(b.matmul(hidden_, w_[1], "k"), frequencies_, rope_attributes(), "rope_k");
  const TensorId v = b.matmul(hidden_, w_[2], "v");
  b.glu(attention(b, q, k, v), raw);
  EXPECT_EQ(fused_ops(b), "matmul rope matmul rope matmul kv_append kv_append attention glu");
}

}  // namespace
}  // namespace jllm::passes

// Fusion of whole llama programs, held against the text dump: what a decode step, a prompt chunk
// and the head become, and what biases change.
#include "compiler/passes/fuse.h"

#include <gtest/gtest.h>

#include "compiler/model/model.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm::passes {
namespace {

using gguf::value_of;

TinyLlama one_layer() {
  TinyLlama tiny;
  tiny.layers = 1;
  return tiny;
}

// The dump of one graph of the fused program.
std::string fused(const TinyLlama& tiny, ir::GraphKind kind, WeightType kv_k = WeightType::kF16,
                  WeightType kv_v = WeightType::kF16) {
  const gguf::TempFolder folder;
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  const model::Model model = value_of(model::load(file));
  model::ProgramOptions options;
  options.context = 64;
  options.prefill_rows = {16};
  options.kv_type_k = kv_k;
  options.kv_type_v = kv_v;
  ir::Program program = value_of(model::build_program(model, options));
  fuse(program);
  std::erase_if(program.graphs, [&](const ir::Graph& graph) { return graph.kind != kind; });
  std::string text;
  llvm::raw_string_ostream os(text);
  ir::dump(program, os);
  return os.str();
}

TEST(Fuse, ADecodeLayerIsFiveNodes) {
  EXPECT_EQ(fused(one_layer(), ir::GraphKind::kDecode), R"(graph decode rows=1 nodes=8
  token_embd               embed        (token_embd.weight) -> (decode/token_embd)
  blk.0.attn_qkv           qkv          (decode/token_embd, blk.0.attn_norm.weight, blk.0.attn_q.weight, blk.0.attn_k.weight, blk.0.attn_v.weight, rope_frequencies, cache_k.0, cache_v.0) -> (decode/blk.0.rope_q)
  blk.0.attention          attention    (decode/blk.0.rope_q, cache_k.0, cache_v.0) -> (decode/blk.0.attn_out)
  blk.0.attn_output        matmul_add   (decode/blk.0.attn_out, blk.0.attn_output.weight, decode/token_embd) -> (decode/blk.0.attn_residual)
  blk.0.ffn_gate_up        gate_up      (decode/blk.0.attn_residual, blk.0.ffn_norm.weight, blk.0.ffn_gate.weight, blk.0.ffn_up.weight) -> (decode/blk.0.ffn_act)
  blk.0.ffn_down           matmul_add   (decode/blk.0.ffn_act, blk.0.ffn_down.weight, decode/blk.0.attn_residual) -> (decode/blk.0.ffn_residual)
  output                   head         (decode/blk.0.ffn_residual, output_norm.weight, token_embd.weight) -> (logits)
  sample                   sample       (logits) -> ()
)");
}

TEST(Fuse, EveryLayerOfADecodeStepFusesAlike) {
  TinyLlama tiny;
  tiny.layers = 3;
  const std::string text = fused(tiny, ir::GraphKind::kDecode);
  const size_t end = text.find('\n');
  EXPECT_EQ(text.substr(0, end), "graph decode rows=1 nodes=18");  // 5 * 3 + embed, head, sample
  std::string labels;
  for (size_t at = end + 1; at < text.size(); at = text.find('\n', at) + 1) {
    const size_t start = text.find_first_not_of(' ', at);
    labels += text.substr(start, text.find(' ', start) - start) + "\n";
  }
  std::string expected = "token_embd\n";
  for (const char* blk : {"blk.0.", "blk.1.", "blk.2."}) {
    for (const char* node : {"attn_qkv", "attention", "attn_output", "ffn_gate_up", "ffn_down"}) {
      expected += std::string(blk) + node + "\n";
    }
  }
  EXPECT_EQ(labels, expected + "output\nsample\n");
}

TEST(Fuse, BiasesOfQkvJoinTheNode) {
  TinyLlama tiny = one_layer();
  tiny.qkv_bias = true;
  EXPECT_EQ(fused(tiny, ir::GraphKind::kDecode), R"(graph decode rows=1 nodes=8
  token_embd               embed        (token_embd.weight) -> (decode/token_embd)
  blk.0.attn_qkv           qkv          (decode/token_embd, blk.0.attn_norm.weight, blk.0.attn_q.weight, blk.0.attn_k.weight, blk.0.attn_v.weight, rope_frequencies, cache_k.0, cache_v.0, blk.0.attn_q.bias, blk.0.attn_k.bias, blk.0.attn_v.bias) -> (decode/blk.0.rope_q)
  blk.0.attention          attention    (decode/blk.0.rope_q, cache_k.0, cache_v.0) -> (decode/blk.0.attn_out)
  blk.0.attn_output        matmul_add   (decode/blk.0.attn_out, blk.0.attn_output.weight, decode/token_embd) -> (decode/blk.0.attn_residual)
  blk.0.ffn_gate_up        gate_up      (decode/blk.0.attn_residual, blk.0.ffn_norm.weight, blk.0.ffn_gate.weight, blk.0.ffn_up.weight) -> (decode/blk.0.ffn_act)
  blk.0.ffn_down           matmul_add   (decode/blk.0.ffn_act, blk.0.ffn_down.weight, decode/blk.0.attn_residual) -> (decode/blk.0.ffn_residual)
  output                   head         (decode/blk.0.ffn_residual, output_norm.weight, token_embd.weight) -> (logits)
  sample                   sample       (logits) -> ()
)");
}

// The kernel takes no bias in some branches only.
TEST(Fuse, BiasesOfSomeBranchesKeepQkvApart) {
  TinyLlama tiny = one_layer();
  tiny.qkv_bias = true;
  tiny.without = {"blk.0.attn_k.bias"};
  EXPECT_EQ(fused(tiny, ir::GraphKind::kDecode), R"(graph decode rows=1 nodes=14
  token_embd               embed        (token_embd.weight) -> (decode/token_embd)
  blk.0.attn_norm          rms_norm     (decode/token_embd, blk.0.attn_norm.weight) -> (decode/blk.0.attn_norm)
  blk.0.attn_q             matmul       (decode/blk.0.attn_norm, blk.0.attn_q.weight) -> (decode/blk.0.attn_q)
  blk.0.attn_q             add_bias     (decode/blk.0.attn_q, blk.0.attn_q.bias) -> (decode/blk.0.attn_q)
  blk.0.attn_k             matmul       (decode/blk.0.attn_norm, blk.0.attn_k.weight) -> (decode/blk.0.attn_k)
  blk.0.attn_v             matmul       (decode/blk.0.attn_norm, blk.0.attn_v.weight) -> (decode/blk.0.attn_v)
  blk.0.attn_v             add_bias     (decode/blk.0.attn_v, blk.0.attn_v.bias) -> (decode/blk.0.attn_v)
  blk.0.rope_append        rope_append  (decode/blk.0.attn_q, decode/blk.0.attn_k, decode/blk.0.attn_v, rope_frequencies, cache_k.0, cache_v.0) -> (decode/blk.0.attn_q)
  blk.0.attention          attention    (decode/blk.0.attn_q, cache_k.0, cache_v.0) -> (decode/blk.0.attn_out)
  blk.0.attn_output        matmul_add   (decode/blk.0.attn_out, blk.0.attn_output.weight, decode/token_embd) -> (decode/blk.0.attn_residual)
  blk.0.ffn_gate_up        gate_up      (decode/blk.0.attn_residual, blk.0.ffn_norm.weight, blk.0.ffn_gate.weight, blk.0.ffn_up.weight) -> (decode/blk.0.ffn_act)
  blk.0.ffn_down           matmul_add   (decode/blk.0.ffn_act, blk.0.ffn_down.weight, decode/blk.0.attn_residual) -> (decode/blk.0.ffn_residual)
  output                   head         (decode/blk.0.ffn_residual, output_norm.weight, token_embd.weight) -> (logits)
  sample                   sample       (logits) -> ()
)");
}

TEST(Fuse, BiasesBehindTheOutputAndTheFfnKeepTheirMatricesApart) {
  TinyLlama tiny = one_layer();
  tiny.output_bias = true;
  tiny.ffn_bias = true;
  EXPECT_EQ(fused(tiny, ir::GraphKind::kDecode), R"(graph decode rows=1 nodes=17
  token_embd               embed        (token_embd.weight) -> (decode/token_embd)
  blk.0.attn_qkv           qkv          (decode/token_embd, blk.0.attn_norm.weight, blk.0.attn_q.weight, blk.0.attn_k.weight, blk.0.attn_v.weight, rope_frequencies, cache_k.0, cache_v.0) -> (decode/blk.0.rope_q)
  blk.0.attention          attention    (decode/blk.0.rope_q, cache_k.0, cache_v.0) -> (decode/blk.0.attn_out)
  blk.0.attn_output        matmul       (decode/blk.0.attn_out, blk.0.attn_output.weight) -> (decode/blk.0.attn_output)
  blk.0.attn_output        add_bias     (decode/blk.0.attn_output, blk.0.attn_output.bias) -> (decode/blk.0.attn_output)
  blk.0.attn_residual      add          (decode/blk.0.attn_output, decode/token_embd) -> (decode/blk.0.attn_residual)
  blk.0.ffn_norm           rms_norm     (decode/blk.0.attn_residual, blk.0.ffn_norm.weight) -> (decode/blk.0.ffn_norm)
  blk.0.ffn_gate           matmul       (decode/blk.0.ffn_norm, blk.0.ffn_gate.weight) -> (decode/blk.0.ffn_gate)
  blk.0.ffn_gate           add_bias     (decode/blk.0.ffn_gate, blk.0.ffn_gate.bias) -> (decode/blk.0.ffn_gate)
  blk.0.ffn_up             matmul       (decode/blk.0.ffn_norm, blk.0.ffn_up.weight) -> (decode/blk.0.ffn_up)
  blk.0.ffn_up             add_bias     (decode/blk.0.ffn_up, blk.0.ffn_up.bias) -> (decode/blk.0.ffn_up)
  blk.0.ffn_act            glu          (decode/blk.0.ffn_gate, decode/blk.0.ffn_up) -> (decode/blk.0.ffn_act)
  blk.0.ffn_down           matmul       (decode/blk.0.ffn_act, blk.0.ffn_down.weight) -> (decode/blk.0.ffn_down)
  blk.0.ffn_down           add_bias     (decode/blk.0.ffn_down, blk.0.ffn_down.bias) -> (decode/blk.0.ffn_down)
  blk.0.ffn_residual       add          (decode/blk.0.ffn_down, decode/blk.0.attn_residual) -> (decode/blk.0.ffn_residual)
  output                   head         (decode/blk.0.ffn_residual, output_norm.weight, token_embd.weight) -> (logits)
  sample                   sample       (logits) -> ()
)");
}

// Tensor cores multiply with several matrices at once.
TEST(Fuse, APromptChunkOfAQuantisedModelTakesQkvAndGateUpTogether) {
  TinyLlama tiny = one_layer();
  tiny.type = WeightType::kQ8_0;
  EXPECT_EQ(fused(tiny, ir::GraphKind::kPrefill), R"(graph prefill_16 rows=16 nodes=10
  token_embd               embed        (token_embd.weight) -> (prefill_16/token_embd)
  blk.0.attn_norm          rms_norm     (prefill_16/token_embd, blk.0.attn_norm.weight) -> (prefill_16/blk.0.attn_norm)
  blk.0.attn_q+attn_k+attn_v matmuls      (prefill_16/blk.0.attn_norm, blk.0.attn_q.weight, blk.0.attn_k.weight, blk.0.attn_v.weight) -> (prefill_16/blk.0.attn_q, prefill_16/blk.0.attn_k, prefill_16/blk.0.attn_v)
  blk.0.rope_append        rope_append  (prefill_16/blk.0.attn_q, prefill_16/blk.0.attn_k, prefill_16/blk.0.attn_v, rope_frequencies, cache_k.0, cache_v.0) -> (prefill_16/blk.0.attn_q)
  blk.0.attention          attention    (prefill_16/blk.0.attn_q, cache_k.0, cache_v.0) -> (prefill_16/blk.0.attn_out)
  blk.0.attn_output        matmul_add   (prefill_16/blk.0.attn_out, blk.0.attn_output.weight, prefill_16/token_embd) -> (prefill_16/blk.0.attn_residual)
  blk.0.ffn_norm           rms_norm     (prefill_16/blk.0.attn_residual, blk.0.ffn_norm.weight) -> (prefill_16/blk.0.ffn_norm)
  blk.0.ffn_gate_up        matmul_glu   (prefill_16/blk.0.ffn_norm, blk.0.ffn_gate.weight, blk.0.ffn_up.weight) -> (prefill_16/blk.0.ffn_act)
  blk.0.ffn_down           matmul_add   (prefill_16/blk.0.ffn_act, blk.0.ffn_down.weight, prefill_16/blk.0.attn_residual) -> (prefill_16/blk.0.ffn_residual)
  finish_chunk             finish_chunk (prefill_16/blk.0.ffn_residual) -> (hidden)
)");
  tiny.types["blk.0.ffn_up.weight"] = WeightType::kQ4_0;  // gate and up need one type
  tiny.types["blk.0.attn_v.weight"] = WeightType::kF32;   // and there are no products with f32
  const std::string text = fused(tiny, ir::GraphKind::kPrefill);
  EXPECT_EQ(text.find("matmul_glu"), std::string::npos) << text;
  EXPECT_EQ(text.find(" blk.0.attn_q+"), std::string::npos) << text;
  EXPECT_NE(text.find("blk.0.ffn_gate+ffn_up"), std::string::npos) << text;
}

TEST(Fuse, APromptChunkFusesRopeWithTheAppendsAndMatricesWithTheResidual) {
  EXPECT_EQ(fused(one_layer(), ir::GraphKind::kPrefill), R"(graph prefill_16 rows=16 nodes=14
  token_embd               embed        (token_embd.weight) -> (prefill_16/token_embd)
  blk.0.attn_norm          rms_norm     (prefill_16/token_embd, blk.0.attn_norm.weight) -> (prefill_16/blk.0.attn_norm)
  blk.0.attn_q             matmul       (prefill_16/blk.0.attn_norm, blk.0.attn_q.weight) -> (prefill_16/blk.0.attn_q)
  blk.0.attn_k             matmul       (prefill_16/blk.0.attn_norm, blk.0.attn_k.weight) -> (prefill_16/blk.0.attn_k)
  blk.0.attn_v             matmul       (prefill_16/blk.0.attn_norm, blk.0.attn_v.weight) -> (prefill_16/blk.0.attn_v)
  blk.0.rope_append        rope_append  (prefill_16/blk.0.attn_q, prefill_16/blk.0.attn_k, prefill_16/blk.0.attn_v, rope_frequencies, cache_k.0, cache_v.0) -> (prefill_16/blk.0.attn_q)
  blk.0.attention          attention    (prefill_16/blk.0.attn_q, cache_k.0, cache_v.0) -> (prefill_16/blk.0.attn_out)
  blk.0.attn_output        matmul_add   (prefill_16/blk.0.attn_out, blk.0.attn_output.weight, prefill_16/token_embd) -> (prefill_16/blk.0.attn_residual)
  blk.0.ffn_norm           rms_norm     (prefill_16/blk.0.attn_residual, blk.0.ffn_norm.weight) -> (prefill_16/blk.0.ffn_norm)
  blk.0.ffn_gate           matmul       (prefill_16/blk.0.ffn_norm, blk.0.ffn_gate.weight) -> (prefill_16/blk.0.ffn_gate)
  blk.0.ffn_up             matmul       (prefill_16/blk.0.ffn_norm, blk.0.ffn_up.weight) -> (prefill_16/blk.0.ffn_up)
  blk.0.ffn_act            glu          (prefill_16/blk.0.ffn_gate, prefill_16/blk.0.ffn_up) -> (prefill_16/blk.0.ffn_act)
  blk.0.ffn_down           matmul_add   (prefill_16/blk.0.ffn_act, blk.0.ffn_down.weight, prefill_16/blk.0.attn_residual) -> (prefill_16/blk.0.ffn_residual)
  finish_chunk             finish_chunk (prefill_16/blk.0.ffn_residual) -> (hidden)
)");
}

// Groups of elements share a scale, so that whole heads must meet: qkv hands k and v over, and the
// attention appends them. A layer still takes five nodes.
TEST(Fuse, QuantisedCachesAreAppendedToByTheAttention) {
  TinyLlama tiny = one_layer();
  tiny.head_dim = 32;
  const WeightType f16 = WeightType::kF16, q8_0 = WeightType::kQ8_0, q4_0 = WeightType::kQ4_0;
  for (const auto& [k, v] : {std::pair(q8_0, q8_0), {q4_0, f16}, {f16, q4_0}}) {
    const std::string text = fused(tiny, ir::GraphKind::kDecode, k, v);
    EXPECT_NE(text.find("graph decode rows=1 nodes=8\n"), std::string::npos) << text;
    EXPECT_NE(text.find(R"(
  blk.0.attn_qkv           qkv          (decode/token_embd, blk.0.attn_norm.weight, blk.0.attn_q.weight, blk.0.attn_k.weight, blk.0.attn_v.weight, rope_frequencies) -> (decode/blk.0.rope_q, decode/blk.0.rope_k, decode/blk.0.attn_v)
  blk.0.attention          attention    (decode/blk.0.rope_q, cache_k.0, cache_v.0, decode/blk.0.rope_k, decode/blk.0.attn_v) -> (decode/blk.0.attn_out)
)"),
              std::string::npos)
        << text;
  }
  tiny.qkv_bias = true;
  const std::string text = fused(tiny, ir::GraphKind::kDecode, q8_0, q8_0);
  EXPECT_NE(text.find("rope_frequencies, blk.0.attn_q.bias, blk.0.attn_k.bias, blk.0.attn_v.bias) "
                      "-> (decode/blk.0.rope_q, "),
            std::string::npos)
      << text;
}

TEST(Fuse, APromptChunkAppendsToQuantisedCachesByThemselves) {
  TinyLlama tiny = one_layer();
  tiny.head_dim = 32;
  const std::string text =
      fused(tiny, ir::GraphKind::kPrefill, WeightType::kF16, WeightType::kQ8_0);
  EXPECT_EQ(text.find("rope_append"), std::string::npos) << text;
  EXPECT_NE(text.find("blk.0.append_k           kv_append    (prefill_16/blk.0.rope_k, cache_k.0)"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("blk.0.append_v           kv_append    (prefill_16/blk.0.attn_v, cache_v.0)"),
            std::string::npos)
      << text;
}

TEST(Fuse, TheHeadGraphIsTwoNodes) {
  EXPECT_EQ(fused(one_layer(), ir::GraphKind::kHead), R"(graph head rows=1 nodes=2
  output                   head         (hidden, output_norm.weight, token_embd.weight) -> (logits)
  sample                   sample       (logits) -> ()
)");
}

TEST(Fuse, IsIdempotent) {
  const gguf::TempFolder folder;
  const gguf::File file = write_and_open(TinyLlama(), folder.file("m.gguf"));
  const model::Model model = value_of(model::load(file));
  model::ProgramOptions options;
  options.context = 64;
  options.prefill_rows = {16};
  ir::Program program = value_of(model::build_program(model, options));
  std::string once, twice;
  llvm::raw_string_ostream first(once), second(twice);
  fuse(program);
  ir::dump(program, first);
  fuse(program);
  ir::dump(program, second);
  EXPECT_EQ(first.str(), second.str());
}

}  // namespace
}  // namespace jllm::passes

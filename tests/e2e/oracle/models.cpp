#include "tests/e2e/oracle/models.h"

#include <algorithm>

namespace jllm::oracle {
namespace {

// 256 wide, so that blocks of 256 weights fit every row.
TinyLlama base() {
  TinyLlama m;
  m.layers = 3;
  m.embedding = 256;
  m.ffn = 512;
  m.heads = 4;
  m.kv_heads = 2;
  m.head_dim = 64;
  m.vocab = 512;
  m.context = 256;
  m.tokenizer = true;
  return m;
}

// Heads wider than embedding / heads, one key/value head, an output of its own, Llama 3
// frequencies.
TinyLlama wide_heads() {
  TinyLlama m = base();
  m.layers = 2;
  m.head_dim = 128;
  m.kv_heads = 1;
  m.tied = false;
  m.rope_base = 500000;
  for (uint32_t i = 0; i < m.head_dim / 2; ++i) {
    m.rope_factors.push_back(i < 24 ? 1.0f
                                    : std::min(8.0f, 1.0f + 0.5f * static_cast<float>(i - 24)));
  }
  return m;
}

TinyLlama biases() {
  TinyLlama m = base();
  m.layers = 2;
  m.qkv_bias = m.output_bias = m.ffn_bias = true;
  return m;
}

// No shared key/value heads, positions scaled down.
TinyLlama scaled_rope() {
  TinyLlama m = base();
  m.layers = 2;
  m.kv_heads = m.heads;
  m.more_keys = [](gguf::Writer& w) {
    w.set_string("llama.rope.scaling.type", "linear");
    w.set_f32("llama.rope.scaling.factor", 4);
  };
  return m;
}

// Trained for 64 positions, stretched to four times as many.
TinyLlama yarn_rope() {
  TinyLlama m = base();
  m.layers = 2;
  m.more_keys = [](gguf::Writer& w) {
    w.set_string("llama.rope.scaling.type", "yarn");
    w.set_f32("llama.rope.scaling.factor", 4);
    w.set_u32("llama.rope.scaling.original_context_length", 64);
  };
  return m;
}

TinyLlama of_type(WeightType type) {
  TinyLlama m = base();
  m.type = type;
  return m;
}

// What a Q4_K_M file looks like: more bits for the output and for some of attn_v and ffn_down.
TinyLlama q4_k_m() {
  TinyLlama m = of_type(WeightType::kQ4_K);
  for (const char* name : {"token_embd.weight", "blk.0.attn_v.weight", "blk.0.ffn_down.weight",
                           "blk.2.attn_v.weight", "blk.2.ffn_down.weight"}) {
    m.types[name] = WeightType::kQ6_K;
  }
  return m;
}

}  // namespace

std::vector<OracleModel> oracle_models() {
  std::vector<OracleModel> models = {{"f32", base()},
                                     {"wide_heads", wide_heads()},
                                     {"biases", biases()},
                                     {"scaled_rope", scaled_rope()},
                                     {"yarn_rope", yarn_rope()}};
  const OracleModel quantised[] = {
      {"f16", of_type(WeightType::kF16)},       {"bf16", of_type(WeightType::kBF16)},
      {"q4_0", of_type(WeightType::kQ4_0)},     {"q5_0", of_type(WeightType::kQ5_0)},
      {"q8_0", of_type(WeightType::kQ8_0)},     {"q4_k_m", q4_k_m()},
      {"q6_k", of_type(WeightType::kQ6_K)},     {"q1_0", of_type(WeightType::kQ1_0)},
      {"q4_1", of_type(WeightType::kQ4_1)},     {"q5_1", of_type(WeightType::kQ5_1)},
      {"q5_k", of_type(WeightType::kQ5_K)},     {"q2_k", of_type(WeightType::kQ2_K)},
      {"q3_k", of_type(WeightType::kQ3_K)},     {"iq4_nl", of_type(WeightType::kIQ4_NL)},
      {"iq4_xs", of_type(WeightType::kIQ4_XS)}, {"mxfp4", of_type(WeightType::kMXFP4)},
      {"tq1_0", of_type(WeightType::kTQ1_0)},   {"tq2_0", of_type(WeightType::kTQ2_0)}};
  for (OracleModel model : quantised) {
    models.push_back(model);
    model.name += ".as_f32";
    model.model.dequantise = true;
    models.push_back(model);
  }
  return models;
}

std::vector<OracleModel> embedding_models() {
  TinyLlama pooled = of_type(WeightType::kQ8_0);
  pooled.seed = 2;
  pooled.more_keys = [](gguf::Writer& w) { w.set_u32("llama.pooling_type", 3); };
  std::vector<OracleModel> models = {{"pooled", pooled}};
  pooled.dequantise = true;
  models.push_back({"pooled.as_f32", pooled});
  for (const OracleModel& model : oracle_models()) {
    if (model.name == "f32" || model.name == "wide_heads") models.push_back(model);
  }
  return models;
}

}  // namespace jllm::oracle

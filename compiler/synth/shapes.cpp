// The table of model shapes, from the models' published configurations. Marked "?" is what was not
// at hand and taken from the nearest relative.
#include "compiler/synth/shapes.h"

namespace jllm::synth {
namespace {

constexpr ModelShape llama(ModelShape s, float rope_freq_base, Tokenizer tokenizer,
                           float llama3_factor = 0) {
  s.rope_freq_base = rope_freq_base;
  s.tokenizer = tokenizer;
  s.llama3_factor = llama3_factor;
  return s;
}

constexpr ModelShape qwen2(ModelShape s) {
  s.architecture = "qwen2";
  s.tokenizer = Tokenizer::kQwenBpe;
  s.rope_freq_base = 1000000;
  s.norm_epsilon = 1e-6f;
  s.qkv_bias = true;
  return s;
}

constexpr ModelShape qwen3(ModelShape s) {
  s = qwen2(s);
  s.architecture = "qwen3";
  s.qkv_bias = false;
  s.head_norms = true;
  return s;
}

constexpr ModelShape qwen3_embedding(ModelShape s) {
  s = qwen3(s);
  s.tokenizer = Tokenizer::kQwenEmbeddingBpe;
  s.pooling_type = 3;
  return s;
}

constexpr ModelShape gemma2(ModelShape s) {
  s.architecture = "gemma2";
  s.tokenizer = Tokenizer::kGemmaSpm;
  s.norm_epsilon = 1e-6f;
  s.sliding_window = 4096;
  s.attention_softcap = 50;
  s.final_softcap = 30;
  s.post_norms = true;
  return s;
}

constexpr ModelShape gemma3(ModelShape s, uint32_t sliding_window, float linear_factor = 0) {
  s = gemma2(s);
  s.architecture = "gemma3";
  s.rope_freq_base = 1000000;
  s.linear_factor = linear_factor;
  s.sliding_window = sliding_window;
  s.attention_softcap = s.final_softcap = 0;
  s.head_norms = true;
  return s;
}

constexpr ModelShape phi3(ModelShape s, Tokenizer tokenizer) {
  s.architecture = "phi3";
  s.tokenizer = tokenizer;
  s.fused = true;
  return s;
}

constexpr ModelShape phi4_mini(ModelShape s) {
  s = phi3(s, Tokenizer::kGpt4oBpe);
  s.rope_dimension_count = 96;
  s.rope_original_context = 4096;
  s.sliding_window = 262144;
  return s;
}

constexpr ModelShape phi4(ModelShape s) {
  s = phi3(s, Tokenizer::kPhi4Bpe);
  s.rope_freq_base = 250000;
  return s;
}

constexpr ModelShape phi3_mini(ModelShape s) {
  s = phi3(s, Tokenizer::kPhi3Spm);
  s.sliding_window = 2047;
  return s;
}

constexpr ModelShape stablelm(ModelShape s) {
  s.architecture = "stablelm";
  s.tokenizer = Tokenizer::kStableLmBpe;
  s.rope_dimension_count = 16;
  s.layer_norm = true;
  s.qkv_bias = true;
  return s;
}

constexpr ModelShape nemotron(ModelShape s) {
  s.architecture = "nemotron";
  s.tokenizer = Tokenizer::kSpm;
  s.rope_dimension_count = 64;
  s.layer_norm = true;
  s.gated = false;
  return s;
}

constexpr ModelShape smollm3(ModelShape s) {
  s.architecture = "smollm3";
  s.tokenizer = Tokenizer::kLlamaBpe;  // its own, smaug-bpe, splits alike
  s.rope_freq_base = 5000000;
  s.norm_epsilon = 1e-6f;
  return s;
}

constexpr ModelShape granite(ModelShape s) {
  s.architecture = "granite";
  s.tokenizer = Tokenizer::kSmolBpe;  // its own, refact, splits alike
  s.rope_freq_base = 10000000;
  s.embedding_scale = 12;
  s.residual_scale = 0.22f;
  s.attention_scale = 0.015625f;
  s.logit_scale = 8;
  return s;
}

constexpr ModelShape olmo2(ModelShape s) {
  s.architecture = "olmo2";
  s.tokenizer = Tokenizer::kPhi4Bpe;  // dbrx, as well
  s.rope_freq_base = 500000;
  s.norm_epsilon = 1e-6f;
  s.row_norms = true;
  s.attn_norm = s.ffn_norm = false;
  s.post_norms = true;
  return s;
}

constexpr ModelShape olmo3(ModelShape s) {
  s = olmo2(s);
  s.sliding_window = 4096;
  s.yarn_factor = 8;
  return s;
}

constexpr ModelShape lfm2(ModelShape s, uint32_t attention_layers) {
  s.architecture = "lfm2";
  s.tokenizer = Tokenizer::kLlamaBpe;  // its own, lfm2, splits alike
  s.rope_freq_base = 1000000;
  s.head_norms = true;
  s.attention_layers = attention_layers;
  s.conv_taps = 3;
  return s;
}

constexpr ModelShape experts(ModelShape s, uint32_t count, uint32_t used, uint32_t ffn = 0) {
  s.expert_count = count;
  s.expert_used_count = used;
  s.expert_feed_forward_length = ffn;
  return s;
}

constexpr ModelShape qwen3moe(ModelShape s) {
  s = experts(qwen3(s), 128, 8, 768);
  s.architecture = "qwen3moe";
  return s;
}

constexpr ModelShape olmoe(ModelShape s) {
  s = experts(s, 64, 8);
  s.architecture = "olmoe";
  s.tokenizer = Tokenizer::kStableLmBpe;  // its own, dolma's, splits alike but for its numbers
  s.row_norms = true;
  return s;
}

constexpr ModelShape granite_moe(ModelShape s, uint32_t count) {
  s = experts(granite(s), count, 8);
  s.architecture = "granitemoe";
  s.rope_freq_base = 1500000;
  s.norm_epsilon = 1e-6f;
  s.logit_scale = 6;
  return s;
}

constexpr Tokenizer kLlamaBpe = Tokenizer::kLlamaBpe, kSmolBpe = Tokenizer::kSmolBpe,
                    kTekken = Tokenizer::kTekkenBpe, kSpm = Tokenizer::kSpm;

constexpr ModelShape kShapes[] = {
    // name, blocks, embedding, feed-forward, heads, kv heads, head dim, vocabulary, context, tied
    llama({"llama-3.2-1b", 16, 2048, 8192, 32, 8, 64, 128256, 131072, true}, 500000, kLlamaBpe, 32),
    llama({"llama-3.2-3b", 28, 3072, 8192, 24, 8, 128, 128256, 131072, true}, 500000, kLlamaBpe,
          32),
    llama({"llama-3.1-8b", 32, 4096, 14336, 32, 8, 128, 128256, 131072, false}, 500000, kLlamaBpe,
          8),
    llama({"tinyllama", 22, 2048, 5632, 32, 4, 64, 32000, 2048, false}, 10000, kSpm),
    llama({"smollm2-135m", 30, 576, 1536, 9, 3, 64, 49152, 8192, true}, 100000, kSmolBpe),
    llama({"smollm2-360m", 32, 960, 2560, 15, 5, 64, 49152, 8192, true}, 100000, kSmolBpe),
    llama({"smollm2-1.7b", 24, 2048, 8192, 32, 32, 64, 49152, 8192, true}, 130000, kSmolBpe),
    // Version 0.3: no sliding window.
    llama({"mistral-7b", 32, 4096, 14336, 32, 8, 128, 32768, 32768, false}, 1000000, kSpm),
    llama({"mistral-nemo", 40, 5120, 14336, 32, 8, 128, 131072, 131072, false}, 1000000, kTekken),
    // The contexts of the Instruct models.
    qwen2({"qwen2.5-0.5b", 24, 896, 4864, 14, 2, 64, 151936, 32768, true}),
    qwen2({"qwen2.5-1.5b", 28, 1536, 8960, 12, 2, 128, 151936, 32768, true}),
    qwen2({"qwen2.5-3b", 36, 2048, 11008, 16, 2, 128, 151936, 32768, true}),
    qwen2({"qwen2.5-7b", 28, 3584, 18944, 28, 4, 128, 152064, 32768, false}),
    qwen3({"qwen3-0.6b", 28, 1024, 3072, 16, 8, 128, 151936, 40960, true}),
    qwen3({"qwen3-1.7b", 28, 2048, 6144, 16, 8, 128, 151936, 40960, true}),
    qwen3({"qwen3-4b", 36, 2560, 9728, 32, 8, 128, 151936, 40960, true}),
    qwen3({"qwen3-8b", 36, 4096, 12288, 32, 8, 128, 151936, 40960, false}),
    qwen3_embedding({"qwen3-embedding-0.6b", 28, 1024, 3072, 16, 8, 128, 151669, 32768, true}),
    // Published with every matrix in Q1_0 (--type q1_0). Context: ?
    qwen3({"bonsai-8b", 36, 4096, 12288, 32, 8, 128, 151936, 65536, false}),
    gemma2({"gemma-2-2b", 26, 2304, 9216, 8, 4, 256, 256000, 8192, true}),
    gemma3({"gemma-3-1b", 26, 1152, 6912, 4, 1, 256, 262144, 32768, true}, 512),
    // Vocabulary: 262208 with the tokens for images, which text models leave out. ?
    gemma3({"gemma-3-4b", 34, 2560, 10240, 8, 4, 256, 262144, 131072, true}, 1024, 8),
    // The version with a context of 4K.
    phi3_mini({"phi-3-mini", 32, 3072, 8192, 32, 32, 96, 32064, 4096, false}),
    phi4_mini({"phi-4-mini", 32, 3072, 8192, 24, 8, 128, 200064, 131072, true}),
    phi4({"phi-4", 40, 5120, 17920, 40, 10, 128, 100352, 16384, false}),
    stablelm({"stablelm-2-1.6b", 24, 2048, 5632, 32, 32, 64, 100352, 4096, false}),
    olmo2({"olmo-2-1b", 16, 2048, 8192, 16, 16, 128, 100352, 4096, false}),
    olmo3({"olmo-3-7b", 32, 4096, 11008, 32, 32, 128, 100278, 65536, false}),
    granite({"granite-3.3-2b", 40, 2048, 8192, 32, 8, 64, 49159, 131072, true}),
    smollm3({"smollm3-3b", 36, 2048, 11008, 16, 4, 128, 128256, 65536, true}),
    // Six layers of sixteen attend: 2, 5, 8, 10, 12 and 14.
    lfm2({"lfm2-350m", 16, 1024, 4608, 16, 8, 64, 65536, 128000, true}, 0x5524),
    lfm2({"lfm2-1.2b", 16, 2048, 8192, 32, 8, 64, 65536, 128000, true}, 0x5524),
    llama(experts({"mixtral-8x7b", 32, 4096, 14336, 32, 8, 128, 32000, 32768, false}, 8, 2),
          1000000, kSpm),
    qwen3moe({"qwen3-30b-a3b", 48, 2048, 6144, 32, 4, 128, 151936, 40960, false}),
    olmoe({"olmoe-1b-7b", 16, 2048, 1024, 16, 16, 128, 50304, 4096, false}),
    granite_moe({"granite-3.1-1b-a400m", 24, 1024, 512, 16, 8, 64, 49155, 131072, true}, 32),
    granite_moe({"granite-3.1-3b-a800m", 32, 1536, 512, 24, 8, 64, 49155, 131072, true}, 40),
    nemotron({"nemotron-mini-4b", 32, 3072, 9216, 24, 8, 128, 256000, 4096, false}),
};

}  // namespace

llvm::ArrayRef<ModelShape> model_shapes() { return kShapes; }

const ModelShape* find_shape(llvm::StringRef name) {
  for (const ModelShape& shape : kShapes) {
    if (name == shape.name) return &shape;
  }
  return nullptr;
}

}  // namespace jllm::synth

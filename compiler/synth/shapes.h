// Hyper-parameters of the models that `jllmc synth --like` knows.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/StringRef.h>

#include <cstdint>

#include "compiler/synth/tokenizers.h"

namespace jllm::synth {

// A decoder-only transformer. Names follow the GGUF keys; 0 where a model has nothing of the kind.
struct ModelShape {
  const char* name;
  uint32_t block_count;
  uint32_t embedding_length;
  uint32_t feed_forward_length;
  uint32_t head_count;
  uint32_t head_count_kv;
  uint32_t head_dim;
  uint32_t vocab_size;
  uint32_t context_length;
  bool tied;  // the output matrix is the token embedding

  const char* architecture = "llama";
  Tokenizer tokenizer = Tokenizer::kLlamaBpe;
  float rope_freq_base = 10000;
  float norm_epsilon = 1e-5f;
  uint32_t rope_dimension_count = 0;   // 0: whole heads
  float llama3_factor = 0;             // of the Llama 3 frequencies: a rope_freqs tensor
  float linear_factor = 0;             // rope.scaling of type linear
  float yarn_factor = 0;               // rope.scaling of type yarn, of context_length / factor
  uint32_t rope_original_context = 0;  // longrope: rope_factors_long and _short
  uint32_t sliding_window = 0;
  float attention_softcap = 0;
  float final_softcap = 0;
  // Factors of Granite.
  float embedding_scale = 0, residual_scale = 0, attention_scale = 0, logit_scale = 0;

  // Of a mixture of experts; a feed-forward length of 0 is the model's.
  uint32_t expert_count = 0, expert_used_count = 0, expert_feed_forward_length = 0;
  uint32_t expert_shared_feed_forward_length = 0;

  uint32_t pooling_type = 0;  // of a model that makes embeddings: model::Pooling

  // Which tensors a block has.
  bool layer_norm = false;  // layer norms with biases instead of RMS norms
  bool qkv_bias = false;
  bool head_norms = false;  // attn_q_norm, attn_k_norm of a head
  bool row_norms = false;   // the same, over all heads
  bool attn_norm = true;
  bool post_norms = false;  // post_attention_norm, post_ffw_norm
  bool fused = false;       // attn_qkv; ffn_up, ffn_gate_up_exps hold the gate's rows too
  bool gated = true;        // ffn_gate
  bool ffn_norm = true;
  // Layers whose bit is set attend, the others have a short convolution of so many taps.
  uint32_t attention_layers = 0;
  uint32_t conv_taps = 0;

  bool has_attention(uint32_t layer) const {
    return conv_taps == 0 || (attention_layers >> layer % 32 & 1) != 0;
  }
};

llvm::ArrayRef<ModelShape> model_shapes();
const ModelShape* find_shape(llvm::StringRef name);  // null when unknown

}  // namespace jllm::synth

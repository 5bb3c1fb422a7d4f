// What the graphs of decoder-only transformers are made of: linear layers with optional biases,
// norms, attention, feed-forward parts, and the three kinds of graphs around a stack of blocks.
// Architecture files choose and wire them; each piece emits primitive operations only.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compiler/model/model.h"

namespace jllm::model {

struct Linear {
  ir::TensorId weight = 0;
  std::optional<ir::TensorId> bias;

  ir::TensorId apply(ir::GraphBuilder& b, ir::TensorId x, const char* name) const;
};

// RMS norm, or layer norm with an optional bias.
struct Norm {
  ir::TensorId weight = 0;
  std::optional<ir::TensorId> bias;
  float epsilon = 0;
  bool is_layer_norm = false;

  ir::TensorId apply(ir::GraphBuilder& b, ir::TensorId x, const char* name) const;
};

// Causal attention from a normed x to the output matrix's result, caches appended on the way.
struct Attention {
  Linear q, k, v, output;
  std::optional<Norm> q_norm, k_norm;  // of each head, before its rotation,
  bool norms_whole_rows = false;       // or of all heads together
  ir::TensorId frequencies = 0, k_cache = 0, v_cache = 0;
  uint32_t kv_heads = 0;
  ir::Attributes attributes;  // of attention and rope; heads: of the queries

  ir::TensorId apply(ir::GraphBuilder& b, ir::TensorId x) const;
};

// A feed-forward part behind its norm.
using FeedForward = std::function<ir::TensorId(ir::GraphBuilder& b, ir::TensorId x)>;

// down(activation(gate x) * (up x)).
struct GatedFeedForward {
  Linear gate, up, down;
  Activation activation = kSilu;

  ir::TensorId operator()(ir::GraphBuilder& b, ir::TensorId x) const;
};

// The same by the experts that a router chooses for each token, and their weighted sum; plus, where
// there is one, by an expert that every token has.
struct ExpertFeedForward {
  Linear router;
  ir::TensorId gate = 0, up = 0, down = 0;  // of all experts
  uint32_t used = 0;                        // of a token
  bool renormalise = false;                 // their weights add up to 1
  std::optional<GatedFeedForward> shared;

  ir::TensorId operator()(ir::GraphBuilder& b, ir::TensorId x) const;
};

// x behind one block; the scope of names is set.
using Block = std::function<ir::TensorId(ir::GraphBuilder& b, ir::TensorId x)>;

// The Block of most architectures: both parts behind a norm, each added to what went in.
struct PreNormBlock {
  Norm attn_norm;
  Attention attention;
  Norm ffn_norm;
  FeedForward feed_forward;

  ir::TensorId operator()(ir::GraphBuilder& b, ir::TensorId x) const;
};

// The Block of Gemma 2 and 3: as above, with a second norm behind each part, before its sum.
struct SandwichBlock {
  Norm attn_norm;
  Attention attention;
  Norm post_attention_norm, ffn_norm;
  GatedFeedForward feed_forward;
  Norm post_ffw_norm;

  ir::TensorId operator()(ir::GraphBuilder& b, ir::TensorId x) const;
};

// The Block of OLMo 2: a norm behind each part only, before its sum.
struct PostNormBlock {
  Attention attention;
  Norm post_attention_norm;
  GatedFeedForward feed_forward;
  Norm post_ffw_norm;

  ir::TensorId operator()(ir::GraphBuilder& b, ir::TensorId x) const;
};

// A stack of blocks between the embedding and the output matrix.
struct Decoder {
  ir::TensorId token_embd = 0;
  float embedding_scale = 1;
  std::vector<Block> blocks;
  Norm output_norm;
  Linear output;
  float logit_scale = 1;
  float logit_softcap = 0;  // 0: none
};

// Rotary frequencies of a kind of layer, as a tensor of the program.
struct RopeTable {
  ir::TensorId frequencies = 0;
  float magnitude = 1;
};

// Which elements of a head rope rotates together.
enum class Pairing { kNeighbours, kHalves };  // (2i, 2i + 1); (i, i + pairs)

// Loads the pieces under the names that all architectures share into a program of its own. Errors
// are collected; finish() returns the first.
class DecoderLoader {
 public:
  DecoderLoader(const Model& model, const ProgramOptions& options);

  bool has(const std::string& tensor) const { return tensors_.has(tensor); }
  void refuse(llvm::Error error) { tensors_.refuse(std::move(error)); }

  // The embedding, and as output either a matrix of its own or the embedding again.
  Decoder decoder();

  // The model's own scaling, or none.
  RopeTable rope();
  RopeTable plain_rope(float freq_base);

  // `name` stands in front of ".weight" and ".bias". Norms have the width of the embedding.
  Linear linear(const std::string& name, uint64_t rows, uint64_t cols);
  Norm rms_norm(const std::string& name);
  Norm layer_norm(const std::string& name);
  // A small matrix that is kept as f32, for an operation of its own.
  ir::TensorId table(const std::string& name, uint64_t rows, uint64_t cols);
  // Memory for f32 rows of the last positions: position p is row p % rows. What follows reads
  // `back` of them; there are more, so that a sequence can be taken back a little.
  ir::TensorId recent_rows(const std::string& name, uint64_t cols, uint64_t back);
  // attn_q, attn_k, attn_v, or the three as the rows of attn_qkv; attn_output; caches.
  Attention attention(uint32_t layer, const RopeTable& rope, Pairing pairing);
  // The norms attn_q_norm and attn_k_norm, which work on single heads.
  void add_head_norms(uint32_t layer, Attention* attention);
  // The same names, but over all heads of q and of k.
  void add_row_norms(uint32_t layer, Attention* attention);
  // ffn_gate, ffn_up, ffn_down; `fused`: ffn_up holds the gate's rows and then its own.
  GatedFeedForward gated_feed_forward(uint32_t layer, bool fused = false);
  // ffn_gate_inp, the router; ffn_{gate,up,down}_exps, or gate and up as the rows of
  // ffn_gate_up_exps; ffn_{gate,up,down}_shexp.
  ExpertFeedForward expert_feed_forward(uint32_t layer, bool renormalise);
  // The one where the model has experts, or else the other.
  FeedForward feed_forward(uint32_t layer, bool renormalise);
  SandwichBlock sandwich_block(uint32_t layer, const RopeTable& rope);

  // The program with its decode, prefill, verify and head graphs.
  llvm::Expected<ir::Program> finish(const Decoder& decoder);

 private:
  Linear linear_rows(const std::string& name, const TensorLoader::Rows& rows, uint64_t cols);
  Norm norm(const std::string& name, uint64_t dim);
  // `part` is the middle of the names: ffn_gate`part`.weight.
  GatedFeedForward gated(const std::string& blk, const std::string& part, uint64_t width);

  const Model& model_;
  const ProgramOptions& options_;
  const HyperParameters& p_;
  ir::Program program_;
  TensorLoader tensors_;
};

std::string block_name(uint32_t layer);  // "blk.3."

// Whether a layer attends to a sliding window: all but the last of every `period` layers.
bool is_sliding(uint32_t layer, uint32_t period);

}  // namespace jllm::model

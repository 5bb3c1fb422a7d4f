// Architecture `nemotron`: Minitron and Nemotron-Mini. Layer norms with biases, rope on the first
// half of a head, and a feed-forward part without a gate: down(max(up x, 0)^2).
#include "compiler/model/decoder.h"

namespace jllm::model {
namespace {

struct NemotronBlock {
  Norm attn_norm;
  Attention attention;
  Norm ffn_norm;
  Linear up, down;

  ir::TensorId operator()(ir::GraphBuilder& b, ir::TensorId x) const {
    const ir::TensorId y = attention.apply(b, attn_norm.apply(b, x, "attn_norm"));
    x = b.add(y, x, "attn_residual");
    const ir::TensorId u = up.apply(b, ffn_norm.apply(b, x, "ffn_norm"), "ffn_up");
    const ir::TensorId z = b.unary(u, kReluSquared, 0, "ffn_act");
    return b.add(down.apply(b, z, "ffn_down"), x, "ffn_residual");
  }
};

llvm::Expected<ir::Program> build(const Model& model, const ProgramOptions& options) {
  const HyperParameters& p = model.params;
  DecoderLoader load(model, options);
  Decoder decoder = load.decoder();
  decoder.output_norm = load.layer_norm("output_norm");
  const RopeTable rope = load.rope();
  for (uint32_t i = 0; i < p.block_count; ++i) {
    const std::string blk = block_name(i);
    decoder.blocks.push_back(
        NemotronBlock{load.layer_norm(blk + "attn_norm"), load.attention(i, rope, Pairing::kHalves),
                      load.layer_norm(blk + "ffn_norm"),
                      load.linear(blk + "ffn_up", p.feed_forward_length, p.embedding_length),
                      load.linear(blk + "ffn_down", p.embedding_length, p.feed_forward_length)});
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kNemotron;
const Architecture kNemotron = {"nemotron", true, &build};

}  // namespace jllm::model

// Architecture `stablelm`: StableLM 2 1.6B and 3B, Zephyr. Layer norms with biases, rope on the
// first part of a head, SwiGLU. Without a norm of its own the feed-forward part runs beside
// attention.
#include "compiler/model/decoder.h"
#include "compiler/support/error.h"

namespace jllm::model {
namespace {

struct StableLmBlock {
  Norm attn_norm;
  Attention attention;
  std::optional<Norm> ffn_norm;
  GatedFeedForward feed_forward;

  ir::TensorId operator()(ir::GraphBuilder& b, ir::TensorId x) const {
    const ir::TensorId normed = attn_norm.apply(b, x, "attn_norm");
    const ir::TensorId y = b.add(attention.apply(b, normed), x, "attn_residual");
    const ir::TensorId z = ffn_norm ? ffn_norm->apply(b, y, "ffn_norm") : normed;
    return b.add(feed_forward(b, z), y, "ffn_residual");
  }
};

llvm::Expected<ir::Program> build(const Model& model, const ProgramOptions& options) {
  if (model.file->find_tensor("blk.0.attn_q_norm.weight") != nullptr) {
    return fail(ExitCode::kUnsupported,
                "{0}: stablelm with a norm per head (StableLM 2 12B) is not supported",
                model.file->path());
  }
  DecoderLoader load(model, options);
  Decoder decoder = load.decoder();
  decoder.output_norm = load.layer_norm("output_norm");
  const RopeTable rope = load.rope();
  for (uint32_t i = 0; i < model.params.block_count; ++i) {
    const std::string blk = block_name(i);
    StableLmBlock block{load.layer_norm(blk + "attn_norm"),
                        load.attention(i, rope, Pairing::kHalves), std::nullopt,
                        load.gated_feed_forward(i)};
    if (load.has(blk + "ffn_norm.weight")) block.ffn_norm = load.layer_norm(blk + "ffn_norm");
    decoder.blocks.push_back(std::move(block));
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kStableLm;
const Architecture kStableLm = {"stablelm", true, &build};

}  // namespace jllm::model

// Architectures `qwen3` and, with experts, `qwen3moe`: Qwen 3 and Bonsai. As llama, but every head
// of q and k goes through an RMS norm of its own before rope, which rotates the halves of a head.
#include "compiler/model/decoder.h"

namespace jllm::model {
namespace {

llvm::Expected<ir::Program> build(const Model& model, const ProgramOptions& options) {
  DecoderLoader load(model, options);
  Decoder decoder = load.decoder();
  decoder.output_norm = load.rms_norm("output_norm");
  const RopeTable rope = load.rope();
  for (uint32_t i = 0; i < model.params.block_count; ++i) {
    const std::string blk = block_name(i);
    Attention attention = load.attention(i, rope, Pairing::kHalves);
    load.add_head_norms(i, &attention);
    decoder.blocks.push_back(PreNormBlock{load.rms_norm(blk + "attn_norm"), attention,
                                          load.rms_norm(blk + "ffn_norm"),
                                          load.feed_forward(i, /*renormalise=*/true)});
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kQwen3, kQwen3Moe;
const Architecture kQwen3 = {"qwen3", false, &build};
const Architecture kQwen3Moe = {"qwen3moe", false, &build, Experts::kAlways};

}  // namespace jllm::model

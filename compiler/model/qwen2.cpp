// Architecture `qwen2`: Qwen 2 and 2.5, and what was distilled into them. As llama, but rope
// rotates the halves of a head; q, k and v have biases.
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
    decoder.blocks.push_back(
        PreNormBlock{load.rms_norm(blk + "attn_norm"), load.attention(i, rope, Pairing::kHalves),
                     load.rms_norm(blk + "ffn_norm"), load.gated_feed_forward(i)});
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kQwen2;
const Architecture kQwen2 = {"qwen2", false, &build};

}  // namespace jllm::model

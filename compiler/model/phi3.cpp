// Architecture `phi3`: Phi-3, Phi-3.5, Phi-4 and Phi-4-mini. As llama, but with q, k and v in one
// matrix, gate and up in another, rope on the halves of a head or of its first part, and longrope.
// The sliding window of some files is ignored: they were converted from models that attend to the
// whole context.
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
                     load.rms_norm(blk + "ffn_norm"), load.gated_feed_forward(i, true)});
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kPhi3;
const Architecture kPhi3 = {"phi3", false, &build};

}  // namespace jllm::model

// Architecture `olmoe`: OLMoE. Mixture of experts whose weights are not brought to a sum of 1; q
// and k go through an RMS norm over all heads together before rope, which rotates the halves of a
// head.
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
    load.add_row_norms(i, &attention);
    decoder.blocks.push_back(PreNormBlock{load.rms_norm(blk + "attn_norm"), attention,
                                          load.rms_norm(blk + "ffn_norm"),
                                          load.feed_forward(i, /*renormalise=*/false)});
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kOlmoe;
const Architecture kOlmoe = {"olmoe", false, &build, Experts::kAlways};

}  // namespace jllm::model

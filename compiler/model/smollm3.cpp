// Architecture `smollm3`: SmolLM 3. As llama, but every fourth layer rotates nothing.
#include "compiler/model/decoder.h"

namespace jllm::model {
namespace {

constexpr uint32_t kRopePeriod = 4;  // of layers; the last of each goes without

llvm::Expected<ir::Program> build(const Model& model, const ProgramOptions& options) {
  DecoderLoader load(model, options);
  Decoder decoder = load.decoder();
  decoder.output_norm = load.rms_norm("output_norm");
  const RopeTable rope = load.rope();
  for (uint32_t i = 0; i < model.params.block_count; ++i) {
    const std::string blk = block_name(i);
    Attention attention = load.attention(i, rope, Pairing::kNeighbours);
    if (i % kRopePeriod == kRopePeriod - 1) attention.attributes.pairs = 0;
    decoder.blocks.push_back(PreNormBlock{load.rms_norm(blk + "attn_norm"), attention,
                                          load.rms_norm(blk + "ffn_norm"),
                                          load.gated_feed_forward(i)});
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kSmolLm3;
const Architecture kSmolLm3 = {"smollm3", false, &build};

}  // namespace jllm::model

// Architecture `llama`: Llama 1 to 3.x, TinyLlama, Mistral, SmolLM2, Yi, and with experts Mixtral.
// RMS pre-norm, grouped-query attention with rope on neighbouring pairs, SwiGLU; optional biases;
// output tied to the embedding or not.
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
    decoder.blocks.push_back(PreNormBlock{
        load.rms_norm(blk + "attn_norm"), load.attention(i, rope, Pairing::kNeighbours),
        load.rms_norm(blk + "ffn_norm"), load.feed_forward(i, /*renormalise=*/true)});
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kLlama;
const Architecture kLlama = {"llama", false, &build, Experts::kSometimes};

}  // namespace jllm::model

// Architecture `llama`: Llama 1 to 3.x, TinyLlama, Mistral, SmolLM2, Yi. RMS pre-norm,
// grouped-query attention with rope on neighbouring pairs, SwiGLU; optional biases; output tied to
// the embedding or not.
#include "compiler/model/decoder.h"
#include "compiler/support/error.h"

namespace jllm::model {
namespace {

llvm::Expected<ir::Program> build(const Model& model, const ProgramOptions& options) {
  llvm::Expected<uint64_t> experts = model.file->get_u64_or("llama.expert_count", 0);
  if (!experts) return experts.takeError();
  if (*experts > 0) {
    return fail(ExitCode::kUnsupported, "{0}: llama with {1} experts is not supported yet",
                model.file->path(), *experts);
  }
  DecoderLoader load(model, options);
  Decoder decoder = load.decoder();
  decoder.output_norm = load.rms_norm("output_norm");
  const RopeTable rope = load.rope();
  for (uint32_t i = 0; i < model.params.block_count; ++i) {
    const std::string blk = block_name(i);
    decoder.blocks.push_back(PreNormBlock{
        load.rms_norm(blk + "attn_norm"), load.attention(i, rope, Pairing::kNeighbours),
        load.rms_norm(blk + "ffn_norm"), load.gated_feed_forward(i)});
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kLlama;
const Architecture kLlama = {"llama", false, &build};

}  // namespace jllm::model

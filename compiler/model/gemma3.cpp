// Architecture `gemma3`: the text part of Gemma 3. As gemma2, without its softcaps, but with a norm
// for every head of q and k. Of six layers the last sees everything; the others see a sliding
// window and rotate with a base of their own, unscaled.
#include <cmath>

#include "compiler/model/decoder.h"

namespace jllm::model {
namespace {

constexpr uint32_t kSlidingPeriod = 6;  // where the file does not say

llvm::Expected<ir::Program> build(const Model& model, const ProgramOptions& options) {
  const HyperParameters& p = model.params;
  constexpr uint32_t kBlocksOf27B = 62;  // which scales by the width per head instead of a head's
  const float scale = p.block_count == kBlocksOf27B
                          ? 1 / std::sqrt(float(p.embedding_length) / float(p.head_count))
                          : p.attention_scale;
  DecoderLoader load(model, options);
  Decoder decoder = load.decoder();
  decoder.embedding_scale = std::sqrt(float(p.embedding_length));
  decoder.output_norm = load.rms_norm("output_norm");
  decoder.logit_softcap = p.final_softcap;
  const RopeTable global = load.rope(), local = load.plain_rope(p.rope_freq_base_swa);
  for (uint32_t i = 0; i < p.block_count; ++i) {
    const bool sliding = p.sliding_window != 0 &&
                         is_sliding(i, p.sliding_period != 0 ? p.sliding_period : kSlidingPeriod);
    SandwichBlock block = load.sandwich_block(i, sliding ? local : global);
    load.add_head_norms(i, &block.attention);
    block.feed_forward.activation = kGelu;
    block.attention.attributes.scale = scale;
    if (sliding) block.attention.attributes.window = p.sliding_window;
    decoder.blocks.push_back(std::move(block));
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kGemma3;
const Architecture kGemma3 = {"gemma3", false, &build};

}  // namespace jllm::model

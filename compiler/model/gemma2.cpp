// Architecture `gemma2`: Gemma 2. The embedding is scaled, every part of a block stands between two
// RMS norms, GELU instead of SiLU, softcaps on scores and logits; every other layer, from the first
// on, attends to a sliding window only.
#include <cmath>

#include "compiler/model/decoder.h"

namespace jllm::model {
namespace {

// What files mean that leave the keys out.
constexpr float kAttentionSoftcap = 50, kFinalSoftcap = 30;
constexpr uint32_t kSlidingWindow = 4096, kSlidingPeriod = 2;

template <typename T>
T or_default(T value, T fallback) {
  return value != 0 ? value : fallback;
}

llvm::Expected<ir::Program> build(const Model& model, const ProgramOptions& options) {
  const HyperParameters& p = model.params;
  constexpr uint32_t kBlocksOf27B = 46;  // which scales by the width per head instead of a head's
  const float scale = p.block_count == kBlocksOf27B
                          ? 1 / std::sqrt(float(p.embedding_length) / float(p.head_count))
                          : p.attention_scale;
  DecoderLoader load(model, options);
  Decoder decoder = load.decoder();
  decoder.embedding_scale = std::sqrt(float(p.embedding_length));
  decoder.output_norm = load.rms_norm("output_norm");
  decoder.logit_softcap = or_default(p.final_softcap, kFinalSoftcap);
  const RopeTable rope = load.rope();
  for (uint32_t i = 0; i < p.block_count; ++i) {
    SandwichBlock block = load.sandwich_block(i, rope);
    block.feed_forward.activation = kGelu;
    ir::Attributes& a = block.attention.attributes;
    a.scale = scale;
    a.softcap = or_default(p.attention_softcap, kAttentionSoftcap);
    if (is_sliding(i, or_default(p.sliding_period, kSlidingPeriod))) {
      a.window = or_default(p.sliding_window, kSlidingWindow);
    }
    decoder.blocks.push_back(std::move(block));
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kGemma2;
const Architecture kGemma2 = {"gemma2", false, &build};

}  // namespace jllm::model

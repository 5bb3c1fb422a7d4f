// Architecture `olmo2`: OLMo 2 and 3. No norm in front of the parts of a block but one behind each,
// before its sum; q and k go through an RMS norm over all heads together before rope, which rotates
// the halves of a head. OLMo 3: three layers of four attend to a sliding window, and only the
// fourth stretches its rope.
#include "compiler/model/decoder.h"

namespace jllm::model {
namespace {

constexpr uint32_t kSlidingPeriod = 4;  // where the file does not say

llvm::Expected<ir::Program> build(const Model& model, const ProgramOptions& options) {
  const HyperParameters& p = model.params;
  DecoderLoader load(model, options);
  Decoder decoder = load.decoder();
  decoder.output_norm = load.rms_norm("output_norm");
  const RopeTable rope = load.rope();
  const RopeTable sliding_rope =
      p.sliding_window != 0 ? load.plain_rope(p.rope_freq_base) : RopeTable();
  for (uint32_t i = 0; i < p.block_count; ++i) {
    const std::string blk = block_name(i);
    const bool sliding = p.sliding_window != 0 &&
                         is_sliding(i, p.sliding_period != 0 ? p.sliding_period : kSlidingPeriod);
    Attention attention = load.attention(i, sliding ? sliding_rope : rope, Pairing::kHalves);
    load.add_row_norms(i, &attention);
    if (sliding) attention.attributes.window = p.sliding_window;
    decoder.blocks.push_back(PostNormBlock{attention, load.rms_norm(blk + "post_attention_norm"),
                                           load.gated_feed_forward(i),
                                           load.rms_norm(blk + "post_ffw_norm")});
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kOlmo2;
const Architecture kOlmo2 = {"olmo2", false, &build};

}  // namespace jllm::model

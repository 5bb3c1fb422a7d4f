// Architecture `lfm2`: LFM2 and LFM2.5 (dense). Most layers mix neighbouring tokens by a gated
// short convolution instead of attention; those that attend have norms on the heads of q and k, and
// rope rotates the halves of a head. The file says which is which: 0 key/value heads, a
// convolution.
#include "compiler/model/decoder.h"
#include "compiler/support/error.h"

namespace jllm::model {
namespace {

constexpr uint64_t kMaxTaps = 16;

// out((c * convolution of b * x over the last positions)), with b, c and x of one product.
struct ShortConvolution {
  Linear in, out;
  ir::TensorId taps = 0, state = 0;

  ir::TensorId apply(ir::GraphBuilder& b, ir::TensorId x) const {
    const ir::TensorId bcx = in.apply(b, x, "shortconv_in");
    return out.apply(b, b.short_conv(bcx, taps, state), "shortconv_out");
  }
};

// As PreNormBlock, with the convolution in the place of attention.
struct ConvolutionBlock {
  Norm norm;
  ShortConvolution convolution;
  Norm ffn_norm;
  GatedFeedForward feed_forward;

  ir::TensorId operator()(ir::GraphBuilder& b, ir::TensorId x) const {
    x = b.add(convolution.apply(b, norm.apply(b, x, "attn_norm")), x, "shortconv_residual");
    return b.add(feed_forward(b, ffn_norm.apply(b, x, "ffn_norm")), x, "ffn_residual");
  }
};

llvm::Expected<ir::Program> build(const Model& model, const ProgramOptions& options) {
  const HyperParameters& p = model.params;
  llvm::Expected<uint64_t> taps = model.file->get_u64("lfm2.shortconv.l_cache");
  if (!taps) return taps.takeError();
  if (*taps < 1 || *taps > kMaxTaps) {
    return fail(ExitCode::kInvalidFile, "{0}: lfm2.shortconv.l_cache is {1}, expected 1 to {2}",
                model.file->path(), *taps, kMaxTaps);
  }
  const uint64_t width = p.embedding_length;
  DecoderLoader load(model, options);
  const auto convolution = [&](const std::string& name) {
    return ShortConvolution{load.linear(name + "in_proj", 3 * width, width),
                            load.linear(name + "out_proj", width, width),
                            load.table(name + "conv.weight", width, *taps),
                            load.recent_rows(name + "state", width, *taps - 1)};
  };
  Decoder decoder = load.decoder();
  // The first files had this name for it, and the later ones kept it.
  decoder.output_norm =
      load.rms_norm(load.has("output_norm.weight") ? "output_norm" : "token_embd_norm");
  const RopeTable rope = load.rope();
  for (uint32_t i = 0; i < p.block_count; ++i) {
    const std::string blk = block_name(i);
    const Norm norm = load.rms_norm(blk + "attn_norm"), ffn_norm = load.rms_norm(blk + "ffn_norm");
    if (p.has_attention(i)) {
      Attention attention = load.attention(i, rope, Pairing::kHalves);
      load.add_head_norms(i, &attention);
      decoder.blocks.push_back(PreNormBlock{norm, attention, ffn_norm, load.gated_feed_forward(i)});
    } else {
      decoder.blocks.push_back(ConvolutionBlock{norm, convolution(blk + "shortconv."), ffn_norm,
                                                load.gated_feed_forward(i)});
    }
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kLfm2;
const Architecture kLfm2 = {"lfm2", false, &build};

}  // namespace jllm::model

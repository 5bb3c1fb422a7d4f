// Architectures `granite` and, with experts, `granitemoe`: Granite 3. As llama, with four factors:
// on the embedding, on what each part of a block adds, on the scores and, as a divisor, on the
// logits.
//
// The factor r on the parts needs no operation: with x = r y a block is y + part(norm(r y)), and a
// norm of r y is that of y with epsilon / r^2. So the embedding's factor is divided by r.
#include "compiler/model/decoder.h"
#include "compiler/support/error.h"

namespace jllm::model {
namespace {

std::string prefixed(const Model& model, const char* key) {
  return model.params.architecture + "." + key;
}

// Reads a factor, 1 where the file has none.
llvm::Error read_factor(const Model& model, const char* key, float* factor) {
  llvm::Expected<double> value = model.file->get_f64_or(prefixed(model, key), 1.0);
  if (!value) return value.takeError();
  *factor = static_cast<float>(*value);
  if (*factor > 0) return llvm::Error::success();
  return fail(ExitCode::kInvalidFile, "{0}: {1} is {2}, expected a positive number",
              model.file->path(), prefixed(model, key), *value);
}

llvm::Expected<ir::Program> build(const Model& model, const ProgramOptions& options) {
  float embedding = 1, residual = 1, logits = 1;
  if (llvm::Error error = read_factor(model, "embedding_scale", &embedding)) return error;
  if (llvm::Error error = read_factor(model, "residual_scale", &residual)) return error;
  if (llvm::Error error = read_factor(model, "logit_scale", &logits)) return error;
  // Granite files say with this key whether anything is rotated at all.
  llvm::Expected<bool> rotates =
      model.file->get_bool_or(prefixed(model, "rope.scaling.finetuned"), true);
  if (!rotates) return rotates.takeError();

  DecoderLoader load(model, options);
  const auto norm = [&](const std::string& name) {
    Norm scaled = load.rms_norm(name);
    scaled.epsilon /= residual * residual;
    return scaled;
  };
  Decoder decoder = load.decoder();
  decoder.embedding_scale = embedding / residual;
  decoder.output_norm = norm("output_norm");
  decoder.logit_scale = 1 / logits;
  const RopeTable rope = load.rope();
  for (uint32_t i = 0; i < model.params.block_count; ++i) {
    const std::string blk = block_name(i);
    Attention attention = load.attention(i, rope, Pairing::kNeighbours);
    if (!*rotates) attention.attributes.pairs = 0;
    decoder.blocks.push_back(PreNormBlock{norm(blk + "attn_norm"), attention,
                                          norm(blk + "ffn_norm"),
                                          load.feed_forward(i, /*renormalise=*/true)});
  }
  return load.finish(decoder);
}

}  // namespace

extern const Architecture kGranite, kGraniteMoe;
const Architecture kGranite = {"granite", false, &build};
const Architecture kGraniteMoe = {"granitemoe", false, &build, Experts::kAlways};

}  // namespace jllm::model

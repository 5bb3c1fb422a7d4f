// The table of model shapes, from the models' published configurations.
#include "compiler/synth/shapes.h"

namespace jllm::synth {
namespace {

constexpr ModelShape kShapes[] = {
    // name, blocks, embedding, feed-forward, heads, kv heads, head dim, vocabulary, context,
    // rope base, rope factor, tied, tokenizer
    {"llama-3.2-1b", 16, 2048, 8192, 32, 8, 64, 128256, 131072, 500000, 32, true,
     Tokenizer::kLlamaBpe},
    {"llama-3.2-3b", 28, 3072, 8192, 24, 8, 128, 128256, 131072, 500000, 32, true,
     Tokenizer::kLlamaBpe},
    {"llama-3.1-8b", 32, 4096, 14336, 32, 8, 128, 128256, 131072, 500000, 8, false,
     Tokenizer::kLlamaBpe},
    {"tinyllama", 22, 2048, 5632, 32, 4, 64, 32000, 2048, 10000, 0, false, Tokenizer::kSpm},
    {"smollm2-135m", 30, 576, 1536, 9, 3, 64, 49152, 8192, 100000, 0, true, Tokenizer::kSmolBpe},
    {"smollm2-360m", 32, 960, 2560, 15, 5, 64, 49152, 8192, 100000, 0, true, Tokenizer::kSmolBpe},
    {"smollm2-1.7b", 24, 2048, 8192, 32, 32, 64, 49152, 8192, 130000, 0, true, Tokenizer::kSmolBpe},
    // Version 0.3: no sliding window.
    {"mistral-7b", 32, 4096, 14336, 32, 8, 128, 32768, 32768, 1000000, 0, false, Tokenizer::kSpm},
};

}  // namespace

llvm::ArrayRef<ModelShape> model_shapes() { return kShapes; }

const ModelShape* find_shape(llvm::StringRef name) {
  for (const ModelShape& shape : kShapes) {
    if (name == shape.name) return &shape;
  }
  return nullptr;
}

}  // namespace jllm::synth

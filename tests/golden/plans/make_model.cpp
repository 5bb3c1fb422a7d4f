// Writes the model that the golden plans are made of: make_golden_model OUT.gguf
#include <iostream>

#include "compiler/support/error.h"
#include "compiler/synth/synth.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_golden_model OUT.gguf\n";
    return 2;
  }
  jllm::synth::SynthOptions options;
  options.like = "tinyllama";
  options.type = "q8_0";
  options.seed = 1;
  options.layers = 1;
  options.embedding = 32;
  options.ffn = 64;
  options.heads = 2;
  options.kv_heads = 1;
  options.head_dim = 32;
  options.vocab = 512;
  options.context = 64;
  if (llvm::Error error = jllm::synth::synthesise(options, argv[1])) {
    std::cerr << jllm::take_error(std::move(error)).second << "\n";
    return 1;
  }
}

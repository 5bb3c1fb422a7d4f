// A tiny model of every architecture: the ratios of a published one, random weights, no norm or
// bias that could be left out unnoticed; small enough to be made anew by each test.
#pragma once

#include <string>
#include <vector>

#include "compiler/synth/synth.h"

namespace jllm::arch {

struct ArchModel {
  std::string name;
  synth::SynthOptions model;
};

// All have 512 tokens, a context of 256 and F32 weights.
std::vector<ArchModel> arch_models();

// What a model's size is told by; the rest is the published one's.
struct Size {
  uint32_t layers, embedding, ffn, heads, kv_heads, head_dim;
};
// F32 weights, 512 tokens, a context of 256.
synth::SynthOptions tiny(const char* like, const Size& size);

// The same architecture with rows that blocks of 256 weights divide, for models in every type.
synth::SynthOptions widened(synth::SynthOptions model);

// Writes the GGUF, or throws std::runtime_error.
void write_model(const ArchModel& model, const std::string& path);

}  // namespace jllm::arch

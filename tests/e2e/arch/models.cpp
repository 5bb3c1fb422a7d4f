#include "tests/e2e/arch/models.h"

#include <algorithm>
#include <stdexcept>

#include "compiler/support/error.h"

namespace jllm::arch {

synth::SynthOptions tiny(const char* like, const Size& size) {
  synth::SynthOptions options;
  options.like = like;
  options.type = "f32";
  options.seed = 11;
  options.layers = size.layers;
  options.embedding = size.embedding;
  options.ffn = size.ffn;
  options.heads = size.heads;
  options.kv_heads = size.kv_heads;
  options.head_dim = size.head_dim;
  options.vocab = 512;
  options.context = 256;
  return options;
}

namespace {

// A window shorter than the text, softcaps that bend what they cap.
synth::SynthOptions tiny_gemma2() {
  synth::SynthOptions options = tiny("gemma-2-2b", {4, 144, 576, 4, 2, 32});
  options.sliding_window = 8;
  options.attention_softcap = 2;
  options.final_softcap = 5;
  return options;
}

// Seven layers: the sixth sees everything.
synth::SynthOptions tiny_gemma3() {
  synth::SynthOptions options = tiny("gemma-3-4b", {7, 160, 640, 4, 2, 32});
  options.sliding_window = 8;
  return options;
}

// The context of 256 is longer than what this was trained for, or as long: long or short factors.
synth::SynthOptions tiny_phi4_mini(uint32_t original_context) {
  synth::SynthOptions options = tiny("phi-4-mini", {3, 192, 512, 6, 2, 32});
  options.rope_original_context = original_context;
  return options;
}

// Five layers: the fourth sees everything, and is the only one that YaRN stretches.
synth::SynthOptions tiny_olmo3() {
  synth::SynthOptions options = tiny("olmo-3-7b", {5, 128, 344, 4, 4, 32});
  options.sliding_window = 8;
  return options;
}

synth::SynthOptions tiny_stablelm(bool parallel) {
  synth::SynthOptions options = tiny("stablelm-2-1.6b", {3, 128, 352, 4, 4, 32});
  options.without_ffn_norm = parallel;
  return options;
}

synth::SynthOptions tiny_experts(const char* like, const Size& size, uint32_t experts,
                                 uint32_t used, uint32_t expert_ffn = 0) {
  synth::SynthOptions options = tiny(like, size);
  options.experts = experts;
  options.experts_used = used;
  options.expert_ffn = expert_ffn;
  return options;
}

// With an expert that every token has, twice as wide as the others.
synth::SynthOptions tiny_granite_shared() {
  synth::SynthOptions options = tiny_experts("granite-3.1-1b-a400m", {3, 128, 64, 4, 2, 32}, 8, 2);
  options.shared_ffn = 128;
  return options;
}

}  // namespace

std::vector<ArchModel> arch_models() {
  return {{"llama", tiny("llama-3.2-1b", {3, 128, 512, 4, 1, 32})},
          {"qwen2", tiny("qwen2.5-0.5b", {3, 224, 1216, 7, 1, 32})},
          {"qwen2_untied", tiny("qwen2.5-7b", {2, 224, 1184, 7, 1, 32})},
          {"qwen3", tiny("qwen3-0.6b", {3, 128, 384, 4, 2, 64})},
          {"gemma2", tiny_gemma2()},
          {"gemma3", tiny_gemma3()},
          {"phi3", tiny("phi-3-mini", {3, 192, 512, 4, 4, 48})},
          {"phi4_mini_long", tiny_phi4_mini(64)},
          {"phi4_mini_short", tiny_phi4_mini(256)},
          {"phi4", tiny("phi-4", {3, 160, 560, 4, 1, 40})},
          {"stablelm", tiny_stablelm(false)},
          {"stablelm_parallel", tiny_stablelm(true)},
          {"nemotron", tiny("nemotron-mini-4b", {3, 96, 288, 3, 1, 32})},
          {"olmo2", tiny("olmo-2-1b", {3, 128, 512, 4, 4, 32})},
          {"olmo3", tiny_olmo3()},
          {"granite", tiny("granite-3.3-2b", {3, 128, 512, 4, 1, 32})},
          {"smollm3", tiny("smollm3-3b", {5, 128, 688, 4, 1, 32})},
          {"lfm2", tiny("lfm2-1.2b", {6, 128, 512, 4, 1, 32})},
          {"mixtral", tiny_experts("mixtral-8x7b", {3, 128, 448, 4, 1, 32}, 8, 2)},
          {"olmoe", tiny_experts("olmoe-1b-7b", {3, 128, 64, 4, 4, 32}, 16, 4)},
          {"granitemoe", tiny_experts("granite-3.1-1b-a400m", {3, 128, 64, 4, 2, 32}, 8, 3)},
          {"granitemoe_shared", tiny_granite_shared()},
          {"qwen3moe", tiny_experts("qwen3-30b-a3b", {3, 128, 384, 4, 1, 64}, 16, 4, 48)}};
}

synth::SynthOptions widened(synth::SynthOptions model) {
  model.kv_heads = std::max(1u, 8 * model.kv_heads / model.heads);
  model.heads = 8;
  model.head_dim = 32;
  model.embedding = 256;
  model.ffn = 512;
  if (model.experts > 0) model.expert_ffn = 256;
  if (model.shared_ffn > 0) model.shared_ffn = 256;
  return model;
}

void write_model(const ArchModel& model, const std::string& path) {
  if (llvm::Error error = synth::synthesise(model.model, path)) {
    throw std::runtime_error(model.name + ": " + take_error(std::move(error)).second);
  }
}

}  // namespace jllm::arch

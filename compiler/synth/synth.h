// `jllmc synth`: a GGUF with the true shapes of a known model and random weights. It runs through
// everything that a real model runs through, without a download.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace jllm::synth {

struct SynthOptions {
  std::string like;             // a name of model_shapes()
  std::string type = "q4_k_m";  // a name of type_mixes(), in any case
  uint64_t seed = 0;
  // 0: as the model has it. The overrides make small models for tests.
  uint32_t layers = 0;
  uint32_t embedding = 0;
  uint32_t ffn = 0;
  uint32_t heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t vocab = 0;
  uint32_t context = 0;
  uint32_t sliding_window = 0;
  uint32_t rope_original_context = 0;
  float attention_softcap = 0;
  float final_softcap = 0;
  // Of a mixture of experts.
  uint32_t experts = 0;
  uint32_t experts_used = 0;
  uint32_t expert_ffn = 0;
  uint32_t shared_ffn = 0;        // an expert that every token has
  bool without_ffn_norm = false;  // what makes stablelm run both parts of a block side by side
  // The file ends where the weights would begin: enough to ask what fits.
  bool header_only = false;
};

// Bytes of weights written so far, and in all.
using SynthProgress = std::function<void(uint64_t done, uint64_t total)>;

// The same options give the same bytes. Options that name nothing or do not fit together are kUsage
// errors that list the choices.
llvm::Error synthesise(const SynthOptions& options, llvm::StringRef path,
                       const SynthProgress& progress = {});

// Names that SynthOptions::type takes.
std::vector<std::string> type_mixes();

}  // namespace jllm::synth

// LoRA adapters with random values for the tiny models, and the models that carry them.
#pragma once

#include <string>
#include <vector>

#include "compiler/gguf/file.h"
#include "compiler/gguf/writer.h"
#include "tests/e2e/arch/models.h"

namespace jllm::arch {

// Which matrices an adapter changes, and how much.
struct AdapterShape {
  uint64_t rank = 4;
  float alpha = 8;
  float change = 0.2f;  // rms of the change relative to 1 / sqrt(row): of the order of the weights'
  WeightType type = WeightType::kF32;
  std::vector<std::string> only;  // parts of names; empty: every matrix
};

// An adapter for the model, metadata and pairs, as convert_lora_to_gguf.py writes it.
gguf::Writer make_adapter(const gguf::File& model, const AdapterShape& shape, uint64_t seed);

struct AdaptedModel {
  ArchModel base;
  AdapterShape adapter;
};

// The scale that make_llama_logits.py applies adapters with.
constexpr double kOracleScale = 0.75;

// llama.cpp's logits of these stand in tests/golden/lora_logits.
std::vector<AdaptedModel> adapted_models();
// Writes FOLDER/NAME.gguf and FOLDER/NAME.lora, or throws std::runtime_error.
void write_adapted(const AdaptedModel& model, const std::string& folder);

}  // namespace jllm::arch

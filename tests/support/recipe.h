// Plans for `host` of tiny models with random weights, described without the compiler: a build of
// the device side alone reads what a build with the compiler has kept. JLLM_TEST_PLANS names the
// folder for both.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "schema/weight_type.h"

namespace jllm::test {

// The default is tiny_model(), compiled with the compiler's defaults.
struct PlanRecipe {
  const char* like = "tinyllama";
  const char* type = "f32";
  uint32_t layers = 2;
  uint32_t embedding = 64;
  uint32_t ffn = 96;
  uint32_t head_dim = 16;
  uint32_t model_context = 256;
  uint32_t sliding_window = 0;
  uint32_t context = 0;  // 0: the model's
  uint32_t prefill_chunk = 0;
  std::optional<uint32_t> speculate = std::nullopt;
  std::optional<WeightType> kv = std::nullopt;
  uint32_t slots = 1;
  bool embeds = false;
  bool fuse = true;

  // Different for every recipe.
  std::string file_name() const;
};

std::vector<uint8_t> plan_bytes(const PlanRecipe& recipe);

}  // namespace jllm::test

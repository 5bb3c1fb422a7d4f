#include "tests/support/plan_variant.h"

namespace jllm::test {

PlanRecipe PlanVariant::recipe() const {
  PlanRecipe recipe;
  recipe.like = like;
  recipe.type = type;
  recipe.layers = layers;
  recipe.embedding = 256;
  recipe.ffn = ffn;
  recipe.head_dim = 64;
  recipe.sliding_window = std::string(like) == "gemma-2-2b" ? 16 : 0;
  recipe.context = context;
  recipe.prefill_chunk = 32;
  recipe.speculate = speculate;
  recipe.kv = kv;
  recipe.slots = slots;
  recipe.fuse = fuse;
  return recipe;
}

}  // namespace jllm::test

#include "tests/support/recipe.h"

namespace jllm::test {

std::string PlanRecipe::file_name() const {
  std::string name = std::string(like) + "-" + type;
  for (const uint32_t number :
       {layers, embedding, ffn, head_dim, model_context, sliding_window, context, prefill_chunk}) {
    name += "-" + std::to_string(number);
  }
  if (slots > 1) name += "-n" + std::to_string(slots);
  if (speculate) name += "-s" + std::to_string(*speculate);
  if (embeds) name += "-e";
  if (!fuse) name += "-u";
  if (kv) name += "-kv" + std::to_string(static_cast<unsigned>(*kv));
  return name + ".jllm";
}

}  // namespace jllm::test

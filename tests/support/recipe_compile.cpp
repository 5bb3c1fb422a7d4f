// Recipes where there is a compiler.
#include <cstdlib>
#include <filesystem>

#include "tests/support/recipe.h"
#include "tests/support/tiny_plan.h"

namespace jllm::test {
namespace {

// By a name of its own and rename: programs that share the folder never see half a file.
void keep(const std::string& folder, const std::string& name, const std::vector<uint8_t>& bytes) {
  const TempDir made;
  std::filesystem::create_directories(folder);
  const std::string temporary =
      folder + "/" + std::filesystem::path(made.path()).filename().string() + ".new";
  write_file(temporary, bytes.data(), bytes.size());
  std::filesystem::rename(temporary, folder + "/" + name);
}

}  // namespace

std::vector<uint8_t> plan_bytes(const PlanRecipe& recipe, const std::string& target) {
  synth::SynthOptions model = tiny_model();
  model.like = recipe.like;
  model.type = recipe.type;
  model.layers = recipe.layers;
  model.embedding = recipe.embedding;
  model.ffn = recipe.ffn;
  model.head_dim = recipe.head_dim;
  model.context = recipe.model_context;
  model.sliding_window = recipe.sliding_window;
  CompileOptions options;
  options.target = target;
  options.plan.context = recipe.context;
  options.plan.prefill_chunk = recipe.prefill_chunk;
  options.plan.speculate = recipe.speculate;
  options.plan.slots = recipe.slots;
  options.plan.fuse = recipe.fuse;
  if (recipe.embeds) options.plan.embeds = true;
  options.plan.kv_k = options.plan.kv_v = recipe.kv;
  return plan_bytes(model, options);
}

std::vector<uint8_t> plan_bytes(const PlanRecipe& recipe) {
  std::vector<uint8_t> bytes = plan_bytes(recipe, CompileOptions().target);
  if (const char* folder = std::getenv("JLLM_TEST_PLANS")) {
    keep(folder, recipe.file_name(), bytes);
  }
  return bytes;
}

}  // namespace jllm::test

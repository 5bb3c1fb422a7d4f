// What fusion makes of a layer of every architecture: the nodes of a decode step, which are the
// launches of a token on a GPU.
#include <gtest/gtest.h>

#include "compiler/gguf/file.h"
#include "compiler/model/model.h"
#include "compiler/passes/fuse.h"
#include "compiler/support/error.h"
#include "tests/e2e/arch/models.h"
#include "tests/support/files.h"

namespace jllm::arch {
namespace {

template <typename T>
T value_of(llvm::Expected<T> value) {
  if (!value) throw std::runtime_error(take_error(value.takeError()).second);
  return std::move(*value);
}

// Operations of the second layer's nodes, in order.
std::string layer_ops(const ArchModel& model) {
  const test::TempDir folder;
  write_model(model, folder.file("m.gguf"));
  const gguf::File file = value_of(gguf::File::open(folder.file("m.gguf")));
  const model::Model loaded = value_of(model::load(file));
  model::ProgramOptions options;
  options.context = 64;
  ir::Program program = value_of(model::build_program(loaded, options));
  passes::fuse(program);
  std::string ops;
  for (const ir::Node& node : program.graphs[0].nodes) {
    if (node.label.rfind("blk.1.", 0) != 0) continue;
    ops += (ops.empty() ? "" : " ") + std::string(ir::op_name(node.op));
  }
  return ops;
}

const ArchModel& model_of(const std::vector<ArchModel>& models, const std::string& name) {
  for (const ArchModel& model : models) {
    if (model.name == name) return model;
  }
  throw std::runtime_error("no model " + name);
}

TEST(ArchitectureFusion, NodesOfALayer) {
  const char* five = "qkv attention matmul_add gate_up matmul_add";
  const char* layer_norms =
      "layer_norm matmul matmul matmul rope_append attention matmul_add layer_norm ";
  const std::pair<const char*, std::string> cases[] = {
      {"qwen2", five},
      {"phi3", five},
      {"phi4_mini_long", five},
      {"qwen3", five},
      {"granite", five},
      {"smollm3", five},
      {"olmo3",
       "matmul rms_norm matmul rms_norm matmul rope_append attention matmul rms_norm add matmul "
       "matmul glu matmul rms_norm add"},
      {"gemma2", "qkv attention matmul rms_norm add gate_up matmul rms_norm add"},
      {"gemma3", "qkv attention matmul rms_norm add gate_up matmul rms_norm add"},
      {"stablelm",
       "layer_norm matmul add_bias matmul add_bias matmul add_bias rope_append attention "
       "matmul_add layer_norm matmul matmul glu matmul_add"},
      {"lfm2", "head short_conv matmul_add gate_up matmul_add"},
      {"olmoe",
       "rms_norm matmul rms_norm matmul rms_norm matmul rope_append attention matmul_add rms_norm "
       "matmul route expert_glu expert_matmul expert_sum"},
      {"mixtral",
       "qkv attention matmul_add rms_norm matmul route expert_glu expert_matmul expert_sum"},
      {"qwen3moe",
       "qkv attention matmul_add rms_norm matmul route expert_glu expert_matmul expert_sum"},
      {"granitemoe_shared",
       "qkv attention matmul_add rms_norm matmul route expert_glu expert_matmul matmul matmul glu "
       "matmul expert_sum add"},
      {"nemotron", layer_norms + std::string("matmul unary matmul_add")}};
  const std::vector<ArchModel> models = arch_models();
  for (const auto& [name, ops] : cases) EXPECT_EQ(layer_ops(model_of(models, name)), ops) << name;
}

}  // namespace
}  // namespace jllm::arch

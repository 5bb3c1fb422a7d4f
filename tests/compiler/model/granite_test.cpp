// Architecture granite: what its keys make of the program. That the sum of it is right, the logits
// of tests/e2e/arch say; they do not see an epsilon, nor the model that rotates nothing.
#include <gtest/gtest.h>

#include "compiler/model/model.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm::model {
namespace {

using gguf::TempFolder;
using gguf::value_of;
using gguf::Writer;

constexpr float kEpsilon = 1e-3f;

TinyLlama granite(std::function<void(Writer&)> keys) {
  TinyLlama tiny;
  tiny.architecture = "granite";
  tiny.epsilon = kEpsilon;
  tiny.more_keys = std::move(keys);
  return tiny;
}

llvm::Expected<ir::Program> build(const TinyLlama& tiny) {
  const TempFolder folder;
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  const Model model = value_of(load(file));
  ProgramOptions options;
  options.context = 64;
  return build_program(model, options);
}

// Nodes of an operation in the decode graph.
std::vector<ir::Node> nodes(const TinyLlama& tiny, ir::Op op) {
  const ir::Program program = value_of(build(tiny));
  std::vector<ir::Node> found;
  for (const ir::Node& node : program.graphs[0].nodes) {
    if (node.op == op) found.push_back(node);
  }
  return found;
}

TEST(Granite, WithoutFactorsItIsLlama) {
  const TinyLlama tiny = granite({});
  EXPECT_TRUE(nodes(tiny, ir::Op::kUnary).empty());
  EXPECT_EQ(nodes(tiny, ir::Op::kRmsNorm).at(0).attributes.epsilon, kEpsilon);
  for (const ir::Node& rope : nodes(tiny, ir::Op::kRope)) EXPECT_EQ(rope.attributes.pairs, 8u);
}

TEST(Granite, TheFactorOnPartsMovesIntoNormsAndTheEmbedding) {
  const TinyLlama tiny = granite([](Writer& w) {
    w.set_f32("granite.embedding_scale", 12);
    w.set_f32("granite.residual_scale", 0.25f);
    w.set_f32("granite.logit_scale", 8);
  });
  const std::vector<ir::Node> norms = nodes(tiny, ir::Op::kRmsNorm);
  EXPECT_EQ(norms.size(), 5u);  // two of each layer, and the last
  for (const ir::Node& norm : norms) EXPECT_EQ(norm.attributes.epsilon, 16 * kEpsilon);
  const std::vector<ir::Node> scales = nodes(tiny, ir::Op::kUnary);
  ASSERT_EQ(scales.size(), 2u);
  EXPECT_EQ(scales[0].attributes.parameter, 48);
  EXPECT_EQ(scales[1].attributes.parameter, 0.125f);
}

TEST(Granite, MayRotateNothing) {
  const TinyLlama tiny =
      granite([](Writer& w) { w.set_bool("granite.rope.scaling.finetuned", false); });
  const std::vector<ir::Node> ropes = nodes(tiny, ir::Op::kRope);
  EXPECT_EQ(ropes.size(), 4u);
  for (const ir::Node& rope : ropes) EXPECT_EQ(rope.attributes.pairs, 0u);
}

TEST(Granite, FactorsArePositive) {
  for (const char* key : {"embedding_scale", "residual_scale", "logit_scale"}) {
    const std::string name = std::string("granite.") + key;
    llvm::Expected<ir::Program> program = build(granite([&](Writer& w) { w.set_f32(name, 0); }));
    ASSERT_FALSE(static_cast<bool>(program)) << key;
    const auto [code, text] = take_error(program.takeError());
    EXPECT_EQ(code, ExitCode::kInvalidFile) << text;
    EXPECT_NE(text.find(name + " is "), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace jllm::model

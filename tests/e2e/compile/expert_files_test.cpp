// Files keep the gates and ups of experts in tensors of their own or, each gate in front of its up,
// in one: the same plan comes of both.
#include <gtest/gtest.h>

#include <random>

#include "compiler/gguf/quants.h"
#include "tests/compiler/model/tiny_llama.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

constexpr uint64_t kExperts = 3, kEmbedding = 64, kWidth = 96;

std::vector<uint8_t> blocks_of(const std::vector<float>& values, WeightType type) {
  const BlockShape shape = block_shape(type);
  std::vector<uint8_t> blocks(values.size() / shape.elements * shape.bytes);
  gguf::quantise(type, values.data(), blocks.data(), values.size());
  return blocks;
}

std::vector<float> normals(std::mt19937& engine, uint64_t count) {
  std::normal_distribution<float> normal(0, 0.1f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(engine);
  return values;
}

TinyLlama model_of(bool merged, WeightType type) {
  TinyLlama tiny;
  tiny.tokenizer = true;
  tiny.more_keys = [=](gguf::Writer& w) {
    std::mt19937 engine(5);
    w.set_u32("llama.expert_count", kExperts);
    w.set_u32("llama.expert_used_count", 2);
    for (uint32_t layer = 0; layer < 2; ++layer) {
      const std::string blk = "blk." + std::to_string(layer) + ".";
      const auto add = [&](const char* name, const std::vector<uint64_t>& shape,
                           const std::vector<float>& values, WeightType as) {
        w.add_tensor(blk + name, shape, as, blocks_of(values, as));
      };
      constexpr uint64_t kEach = kEmbedding * kWidth;  // elements of an expert's matrix
      add("ffn_gate_inp.weight", {kEmbedding, kExperts}, normals(engine, kEmbedding * kExperts),
          WeightType::kF32);
      const std::vector<float> gates = normals(engine, kEach * kExperts);
      const std::vector<float> ups = normals(engine, kEach * kExperts);
      if (merged) {
        std::vector<float> both;
        for (uint64_t e = 0; e < kExperts; ++e) {
          for (const std::vector<float>* part : {&gates, &ups}) {
            both.insert(both.end(), part->begin() + e * kEach, part->begin() + (e + 1) * kEach);
          }
        }
        add("ffn_gate_up_exps.weight", {kEmbedding, 2 * kWidth, kExperts}, both, type);
      } else {
        add("ffn_gate_exps.weight", {kEmbedding, kWidth, kExperts}, gates, type);
        add("ffn_up_exps.weight", {kEmbedding, kWidth, kExperts}, ups, type);
      }
      add("ffn_down_exps.weight", {kWidth, kEmbedding, kExperts}, normals(engine, kEach * kExperts),
          type);
    }
  };
  return tiny;
}

test::Logits logits_of(bool merged, WeightType type) {
  const test::TempDir dir;
  write_model(model_of(merged, type), dir.file("model.gguf"));
  CompileOptions options;
  options.input = dir.file("model.gguf");
  options.output = dir.file("model.jllm");
  options.target = "host";
  test::make_plan(options);
  const test::PlanInMemory plan(test::read_file(options.output));
  EXPECT_EQ(plan.error, Error::kOk) << plan.message;
  test::RunningPlan run(plan);
  return run.force_all({1, 17, 300, 45, 260, 7}).back();
}

TEST(ExpertFiles, GatesAndUpsApartOrTogether) {
  for (const WeightType type : {WeightType::kF32, WeightType::kQ8_0}) {  // blocks, panels
    const test::Logits apart = logits_of(false, type);
    EXPECT_EQ(logits_of(true, type), apart) << weight_type_name(type);
    EXPECT_NE(apart[0], apart[1]);
  }
}

}  // namespace
}  // namespace jllm

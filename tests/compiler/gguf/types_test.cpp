// Another quantisation of a model: which types its tensors would have, and their sizes.
#include <gtest/gtest.h>

#include "compiler/gguf/type_mix.h"
#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::gguf {
namespace {

TEST(WithTypes, ChangesTypesAndSizes) {
  TempFolder folder;
  RawFile raw_file;
  raw_file.values = {raw_value("general.name", ValueType::kString, raw_string("model"))};
  raw_file.tensors = {{"matrix", {64, 2}, 0, 0}, {"vector", {8}, 0, 512}};
  raw_file.data = std::string(544, 'x');
  std::optional<File> changed;
  {
    const File file = value_of(File::open(folder.write("a.gguf", raw_file.bytes())));
    changed = file.with_types([](const TensorInfo& tensor) {
      return tensor.shape.size() == 2 ? WeightType::kQ8_0 : tensor.type();
    });
    EXPECT_EQ(file.find_tensor("matrix")->byte_size, 512u);
  }
  // The new one lives by itself.
  const TensorInfo& matrix = *changed->find_tensor("matrix");
  EXPECT_EQ(matrix.type(), WeightType::kQ8_0);
  EXPECT_EQ(matrix.byte_size, 2u * 2 * 34);
  EXPECT_FALSE(changed->has_data(matrix));
  const TensorInfo& vector = *changed->find_tensor("vector");
  EXPECT_EQ(vector.type(), WeightType::kF32);
  ASSERT_TRUE(changed->has_data(vector));
  EXPECT_EQ(changed->data(vector).size(), 32u);
  EXPECT_EQ(value_of(changed->get_string("general.name")), "model");
}

TEST(TypeMix, FollowsTheQuantisersRules) {
  const TypeMix& mix = *find_type_mix("Q4_K_M");
  const MixedModel model = {16, false};
  EXPECT_EQ(mixed_type(mix, model, "blk.0.attn_q.weight", 256), WeightType::kQ4_K);
  // More bits for the first and last eighth, and each third layer between: 0, 1, 4, 7, 10,
  // 13, 14...
  EXPECT_EQ(mixed_type(mix, model, "blk.1.attn_v.weight", 256), WeightType::kQ6_K);
  EXPECT_EQ(mixed_type(mix, model, "blk.2.attn_v.weight", 256), WeightType::kQ4_K);
  EXPECT_EQ(mixed_type(mix, model, "blk.4.ffn_down.weight", 256), WeightType::kQ6_K);
  EXPECT_EQ(mixed_type(mix, model, "blk.15.ffn_down.weight", 256), WeightType::kQ6_K);
  EXPECT_EQ(mixed_type(mix, model, "token_embd.weight", 256), WeightType::kQ4_K);
  EXPECT_EQ(mixed_type(mix, {16, true}, "token_embd.weight", 256), WeightType::kQ6_K);
  EXPECT_EQ(mixed_type(mix, model, "output.weight", 256), WeightType::kQ6_K);
  // Rows that blocks of 256, then of 32 do not divide.
  EXPECT_EQ(mixed_type(mix, model, "blk.0.attn_q.weight", 288), WeightType::kQ5_0);
  EXPECT_EQ(mixed_type(mix, model, "output.weight", 288), WeightType::kQ8_0);
  EXPECT_EQ(mixed_type(mix, model, "blk.0.attn_q.weight", 100), WeightType::kF16);
  EXPECT_EQ(find_type_mix("q9"), nullptr);
}

}  // namespace
}  // namespace jllm::gguf

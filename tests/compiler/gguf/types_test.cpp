// Another quantisation of a model: which types its tensors would have, and their sizes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "compiler/gguf/quants.h"
#include "compiler/gguf/requantise.h"
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
  EXPECT_EQ(changed->stored(matrix).type(), WeightType::kF32);
  EXPECT_EQ(changed->data(changed->stored(matrix)).size(), 512u);
  const TensorInfo& vector = *changed->find_tensor("vector");
  EXPECT_EQ(vector.type(), WeightType::kF32);
  ASSERT_TRUE(changed->has_data(vector));
  EXPECT_EQ(changed->data(vector).size(), 32u);
  EXPECT_EQ(value_of(changed->get_string("general.name")), "model");
}

// Rows as they stand in the file, and converted: what quantising them one by one gives.
TEST(RowReader, ConvertsWhatHasAnotherType) {
  constexpr uint64_t kRow = 64, kRows = 37;
  std::vector<float> values(kRow * kRows);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(0.37f * float(i)) * float(i % 11);
  TempFolder folder;
  RawFile raw_file;
  raw_file.tensors = {{"matrix.weight", {kRow, kRows}, 0, 0}};
  raw_file.data.assign(reinterpret_cast<const char*>(values.data()), values.size() * 4);
  const File file = value_of(File::open(folder.write("a.gguf", raw_file.bytes())));
  const TensorInfo& matrix = *file.find_tensor("matrix.weight");
  RowReader plain(file, matrix, 0, kRow);
  EXPECT_EQ(llvm::cantFail(plain.read(3, 2)), file.data(matrix).data() + 3 * kRow * 4);

  for (const WeightType type : {WeightType::kF16, WeightType::kQ8_0, WeightType::kQ4_0}) {
    const File changed = file.with_types([&](const TensorInfo&) { return type; });
    EXPECT_EQ(changed.header_sha256(), file.header_sha256());
    const BlockShape block = block_shape(type);
    const uint64_t row_bytes = kRow / block.elements * block.bytes;
    std::vector<uint8_t> expected(kRows * row_bytes);
    quantise(type, values.data(), expected.data(), values.size());
    // From the fifth row on: whole, in parts, one alone.
    RowReader rows(changed, *changed.find_tensor("matrix.weight"), 5 * kRow, kRow);
    for (const auto& [first, count] : {std::pair(0, 32), {0, 1}, {7, 11}, {31, 1}}) {
      const uint8_t* got = llvm::cantFail(rows.read(uint64_t(first), uint64_t(count)));
      EXPECT_TRUE(std::equal(got, got + uint64_t(count) * row_bytes,
                             expected.begin() + ptrdiff_t(uint64_t(5 + first) * row_bytes)))
          << first;
    }
  }
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
  // Experts as the part that they are; their router stays as it is.
  EXPECT_EQ(mixed_type(mix, model, "blk.2.ffn_gate_exps.weight", 256), WeightType::kQ4_K);
  EXPECT_EQ(mixed_type(mix, model, "blk.4.ffn_down_exps.weight", 256), WeightType::kQ6_K);
  EXPECT_EQ(mixed_type(mix, model, "blk.4.ffn_down_shexp.weight", 256), WeightType::kQ6_K);
  EXPECT_EQ(mixed_type(mix, model, "blk.4.ffn_gate_inp.weight", 256), WeightType::kF32);
  // Rows that blocks of 256, then of 32 do not divide.
  EXPECT_EQ(mixed_type(mix, model, "blk.0.attn_q.weight", 288), WeightType::kQ5_0);
  EXPECT_EQ(mixed_type(mix, model, "output.weight", 288), WeightType::kQ8_0);
  EXPECT_EQ(mixed_type(mix, model, "blk.0.attn_q.weight", 100), WeightType::kF16);
  EXPECT_EQ(find_type_mix("q9"), nullptr);
}

}  // namespace
}  // namespace jllm::gguf

// Real files, from the folder that JLLM_TEST_DATA names.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::gguf {
namespace {

class TestData : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("JLLM_TEST_DATA");
    if (folder == nullptr) GTEST_SKIP() << "JLLM_TEST_DATA is not set";
    folder_ = folder;
  }
  std::string path(const std::string& name) const { return folder_ / name; }

  std::filesystem::path folder_;
};

TEST_F(TestData, OpensASmallModel) {
  const File file = value_of(File::open(path("models/stories260K.gguf")));
  EXPECT_EQ(value_of(file.get_string("general.architecture")), "llama");
  EXPECT_EQ(value_of(file.get_u64("llama.block_count")), 5u);
  const TensorInfo* embedding = file.find_tensor("token_embd.weight");
  ASSERT_NE(embedding, nullptr);
  EXPECT_EQ(embedding->shape, (std::vector<uint64_t>{64, 512}));
  EXPECT_EQ(file.data(*embedding).size(), embedding->byte_size);
}

TEST_F(TestData, RefusesVersionOne) {
  const auto [code, text] = open_error(path("models/stories260K.gguf-v1.gguf"));
  EXPECT_EQ(code, ExitCode::kInvalidFile);
  EXPECT_EQ(text,
            "has GGUF version 1, which has not been written since 2023; jllm reads versions 2 and "
            "3: convert the model again");
}

TEST_F(TestData, OpensEveryVocabulary) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path("vocab"))) {
    if (entry.path().extension() != ".gguf") continue;
    SCOPED_TRACE(entry.path().string());
    ++files;
    const File file = value_of(File::open(entry.path().string()));
    const auto tokens = value_of(file.get_string_array("tokenizer.ggml.tokens"));
    EXPECT_GT(tokens.size(), 1000u);
    EXPECT_EQ(file.array_shape("tokenizer.ggml.token_type")->second, tokens.size());
  }
  EXPECT_GT(files, 0);
}

}  // namespace
}  // namespace jllm::gguf

// Token ids of public vocabularies, from the folder JLLM_TEST_DATA.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "tests/text/public_vocabularies.h"
#include "tests/text/vocabulary_maker.h"

namespace jllm::text {
namespace {

std::string read_file(const std::string& name) {
  std::ifstream stream(data_folder() + "/" + name, std::ios::binary);
  EXPECT_TRUE(stream) << name;
  return {std::istreambuf_iterator<char>(stream), {}};
}

// The texts are separated by lines of their own; the line breaks around a separator belong to it.
std::vector<std::string> read_texts(const std::string& name) {
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  const std::string all = read_file(name);
  std::vector<std::string> texts;
  for (size_t at = 0, end; (end = all.find(kSeparator, at)) != std::string::npos;
       at = end + kSeparator.size()) {
    texts.push_back(all.substr(at, end - at));
  }
  return texts;
}

std::vector<std::vector<uint32_t>> read_ids(const std::string& name) {
  std::vector<std::vector<uint32_t>> lines;
  std::istringstream stream(read_file(name));
  for (std::string line; std::getline(stream, line);) {
    std::istringstream words(line);
    lines.emplace_back(std::istream_iterator<uint32_t>(words), std::istream_iterator<uint32_t>());
  }
  return lines;
}

void expect_vectors(const OpenTokenizer& open, const std::string& name) {
  ASSERT_TRUE(open.tokenizer) << open.error;
  const auto texts = read_texts("vocab/ggml-vocab-" + name + ".gguf.inp");
  const auto ids = read_ids("vocab/ggml-vocab-" + name + ".gguf.out");
  ASSERT_EQ(texts.size(), 46u);
  ASSERT_EQ(ids.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(open->encode(texts[i], {false, false}), ids[i]) << name << " #" << i << texts[i];
    EXPECT_EQ(open->decode(ids[i], false), texts[i]) << name << " #" << i;
  }
  // Falcon and StarCoder have no tokens for some bytes, which are lost then.
  if (name == "falcon" || name == "starcoder") return;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const std::string text = random_text(seed, 300);
    EXPECT_EQ(open->decode(open->encode(text, {false, false}), false), text) << name;
  }
}

class VocabularyFile : public testing::TestWithParam<const char*> {};

TEST_P(VocabularyFile, ReproducesItsVectors) {
  REQUIRE_TEST_DATA();
  const std::string name = GetParam();
  expect_vectors(open_gguf(vocabulary_path(name)), name);
}

INSTANTIATE_TEST_SUITE_P(All, VocabularyFile, testing::ValuesIn(kVocabularyFiles));

TEST(Vocabulary, Llama3) {
  REQUIRE_TEST_DATA();
  const OpenTokenizer open = make(llama3());
  expect_vectors(open, "llama-bpe");
  EXPECT_EQ(open->encode("<|eot_id|>", {}), std::vector<uint32_t>({128000, 128002}));
  EXPECT_EQ(open->end_of_generation(), std::vector<uint32_t>({128001, 128002}));
}

TEST(Vocabulary, Qwen2) {
  REQUIRE_TEST_DATA();
  const OpenTokenizer open = make(qwen2());
  expect_vectors(open, "qwen2");
  EXPECT_EQ(open->encode("<|im_start|>user\n", {}), std::vector<uint32_t>({151644, 872, 198}));
  // <|endoftext|>, <|im_end|>, <|fim_pad|>, <|repo_name|>, <|file_sep|>
  EXPECT_EQ(open->end_of_generation(),
            std::vector<uint32_t>({151643, 151645, 151662, 151663, 151664}));
}

}  // namespace
}  // namespace jllm::text

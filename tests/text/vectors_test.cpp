// Token ids of public vocabularies, from the folder JLLM_TEST_DATA.
#include <gtest/gtest.h>
#include <llvm/Support/JSON.h>
#include <zlib.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "tests/text/vocabulary_maker.h"

namespace jllm::text {
namespace {

std::string data_folder() {
  const char* folder = std::getenv("JLLM_TEST_DATA");
  return folder == nullptr ? "" : folder;
}

#define REQUIRE_TEST_DATA() \
  if (data_folder().empty()) GTEST_SKIP() << "JLLM_TEST_DATA is not set"

std::string read_file(const std::string& name) {
  std::ifstream stream(data_folder() + "/" + name, std::ios::binary);
  EXPECT_TRUE(stream) << name;
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string read_gzip(const std::string& name) {
  std::string text;
  gzFile file = gzopen((data_folder() + "/" + name).c_str(), "rb");
  if (file == nullptr) {
    ADD_FAILURE() << name;
    return text;
  }
  char buffer[65536];
  for (int size; (size = gzread(file, buffer, sizeof(buffer))) > 0;) text.append(buffer, size);
  gzclose(file);
  return text;
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

// Tokens in the order of their ids, from {"token": id, ...}.
void add_tokens(const std::string& json, VocabularyMaker* maker) {
  auto parsed = llvm::json::parse(json);
  ASSERT_TRUE(static_cast<bool>(parsed)) << llvm::toString(parsed.takeError());
  const llvm::json::Object& object = *parsed->getAsObject();
  maker->tokens.resize(object.size());
  for (const auto& entry : object) {
    const auto id = entry.second.getAsInteger();
    ASSERT_TRUE(id && *id < static_cast<int64_t>(object.size()));
    maker->tokens[*id] = llvm::StringRef(entry.first).str();
  }
  maker->types.resize(object.size(), kNormal);
}

void add_merges(const std::string& lines, VocabularyMaker* maker) {
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty() && line.rfind("#version", 0) != 0) maker->merges.push_back(line);
  }
}

class VocabularyFile : public testing::TestWithParam<const char*> {};

TEST_P(VocabularyFile, ReproducesItsVectors) {
  REQUIRE_TEST_DATA();
  const std::string name = GetParam();
  expect_vectors(open_gguf(data_folder() + "/vocab/ggml-vocab-" + name + ".gguf"), name);
}

INSTANTIATE_TEST_SUITE_P(All, VocabularyFile,
                         testing::Values("llama-spm", "phi-3", "gpt-2", "falcon", "starcoder"));

VocabularyMaker llama3() {
  VocabularyMaker maker;
  maker.model = "gpt2";
  maker.pre = "llama-bpe";
  add_tokens(read_gzip("tokenizers/llama3.2/encoder.json.gz"), &maker);
  add_merges(read_gzip("tokenizers/llama3.2/vocab.bpe.gz"), &maker);
  const uint32_t begin = maker.add("<|begin_of_text|>", kControl);
  const uint32_t end = maker.add("<|end_of_text|>", kControl);
  maker.add("<|eot_id|>", kControl);
  maker.scores.clear();
  maker.more_keys = [=](gguf::Writer& writer) {
    writer.set_u32("tokenizer.ggml.bos_token_id", begin);
    writer.set_u32("tokenizer.ggml.eos_token_id", end);
  };
  return maker;
}

VocabularyMaker qwen2() {
  VocabularyMaker maker;
  maker.model = "gpt2";
  maker.pre = "qwen2";
  add_tokens(read_gzip("tokenizers/qwen2.5/vocab.json.gz"), &maker);
  add_merges(read_gzip("tokenizers/qwen2.5/merges.txt.gz"), &maker);
  auto config = llvm::json::parse(read_gzip("tokenizers/qwen2.5/tokenizer_config.json.gz"));
  if (!config) {
    ADD_FAILURE() << llvm::toString(config.takeError());
    return maker;
  }
  for (const auto& entry : *config->getAsObject()->getObject("added_tokens_decoder")) {
    const size_t id = std::stoul(llvm::StringRef(entry.first).str());
    const llvm::json::Object& token = *entry.second.getAsObject();
    if (id >= maker.tokens.size()) {
      maker.tokens.resize(id + 1);
      maker.types.resize(id + 1, kUnused);
    }
    maker.tokens[id] = token.getString("content")->str();
    maker.types[id] = *token.getBoolean("special") ? kControl : kUserDefined;
  }
  return maker;
}

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

// Token lists and merges as their makers publish them, turned into the keys of GGUF.
#include "tests/text/public_vocabularies.h"

#include <gtest/gtest.h>
#include <llvm/Support/JSON.h>
#include <zlib.h>

#include <cstdlib>
#include <sstream>

namespace jllm::text {
namespace {

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

}  // namespace

std::string data_folder() {
  const char* folder = std::getenv("JLLM_TEST_DATA");
  return folder == nullptr ? "" : folder;
}

std::string vocabulary_path(const std::string& name) {
  return data_folder() + "/vocab/ggml-vocab-" + name + ".gguf";
}

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

}  // namespace jllm::text

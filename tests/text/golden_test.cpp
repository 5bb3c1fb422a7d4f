// Ids from the `tokenizers` package, an independent implementation: tests/golden/make_tokenizer.py.
#include <gtest/gtest.h>
#include <llvm/Support/JSON.h>

#include <fstream>
#include <iterator>

#include "tests/text/vocabulary_maker.h"

namespace jllm::text {
namespace {

llvm::json::Object read_golden() {
  std::ifstream stream(std::string(JLLM_GOLDEN_DIR) + "/tokenizer.json", std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  auto parsed = llvm::json::parse(text);
  if (!parsed) {
    ADD_FAILURE() << llvm::toString(parsed.takeError());
    return {};
  }
  return std::move(*parsed->getAsObject());
}

std::vector<std::string> strings(const llvm::json::Array& array) {
  std::vector<std::string> out;
  for (const llvm::json::Value& value : array) out.push_back(value.getAsString()->str());
  return out;
}

std::vector<uint32_t> ids(const llvm::json::Array& array) {
  std::vector<uint32_t> out;
  for (const llvm::json::Value& value : array) {
    out.push_back(static_cast<uint32_t>(*value.getAsInteger()));
  };
  return out;
}

TEST(TokenizerGolden, EqualsTheTokenizersPackage) {
  const llvm::json::Object golden = read_golden();
  ASSERT_NE(golden.getObject("ids"), nullptr);
  const std::vector<std::string> texts = strings(*golden.getArray("texts"));
  ASSERT_FALSE(texts.empty());
  for (const auto& family : *golden.getObject("ids")) {
    VocabularyMaker maker;
    maker.model = "gpt2";
    maker.pre = llvm::StringRef(family.first).str();
    for (const std::string& token : strings(*golden.getArray("tokens"))) maker.add(token, kNormal);
    maker.merges = strings(*golden.getArray("merges"));
    for (const std::string& token : strings(*golden.getArray("special"))) {
      maker.add(token, kControl);
    }
    const OpenTokenizer open = make(maker);
    ASSERT_TRUE(open.tokenizer) << open.error;
    const llvm::json::Array& expected = *family.second.getAsArray();
    ASSERT_EQ(expected.size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(open->encode(texts[i], {false, true}), ids(*expected[i].getAsArray()))
          << maker.pre << ": " << texts[i];
      EXPECT_EQ(open->decode(ids(*expected[i].getAsArray()), true), texts[i]);
    }
  }
}

}  // namespace
}  // namespace jllm::text

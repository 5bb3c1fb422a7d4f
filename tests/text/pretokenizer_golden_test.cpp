// Words from the published expressions of each family, by another engine:
// tests/golden/make_pretokenizer.py.
#include <gtest/gtest.h>
#include <llvm/Support/JSON.h>

#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "executor/text/pretokenizer.h"
#include "executor/text/utf8.h"
#include "tests/text/vocabulary_maker.h"

namespace jllm::text {
namespace {

llvm::json::Object read_golden() {
  std::ifstream stream(std::string(JLLM_GOLDEN_DIR) + "/pretokenizer.json", std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  auto parsed = llvm::json::parse(text);
  if (!parsed) {
    ADD_FAILURE() << llvm::toString(parsed.takeError());
    return {};
  }
  return std::move(*parsed->getAsObject());
}

// The number of characters of each word, in base 36, as the golden file has it.
std::string lengths_of(const std::vector<std::string_view>& words) {
  std::string lengths;
  for (std::string_view word : words) {
    size_t count = 0;
    for (; !word.empty(); ++count) word.remove_prefix(first_character(word).size);
    lengths += "0123456789abcdefghijklmnopqrstuvwxyz"[count % 36];
  }
  return lengths;
}

std::string escaped(std::string_view text) {
  std::ostringstream out;
  for (; !text.empty(); text.remove_prefix(first_character(text).size)) {
    out << " " << std::hex << first_character(text).code_point;
  }
  return out.str();
}

std::string joined(const std::vector<std::string_view>& words) {
  std::string text;
  for (const std::string_view word : words) text += word;
  return text;
}

TEST(PreTokenizer, CutsAsTheExpressionsOfEachFamily) {
  const llvm::json::Object golden = read_golden();
  const llvm::json::Array* texts = golden.getArray("texts");
  const llvm::json::Object* splits = golden.getObject("splits");
  ASSERT_TRUE(texts != nullptr && splits != nullptr);
  ASSERT_GT(texts->size(), 2000u);
  std::set<fb::PreTokenizer> kinds = {fb::PreTokenizer::None,
                                      fb::PreTokenizer::Lines};  // not BPE's
  for (const auto& family : *splits) {
    const std::string name = llvm::StringRef(family.first).str();
    const OpenTokenizer open = make(bytes_vocabulary(name));
    ASSERT_TRUE(open.tokenizer) << open.error;
    const fb::PreTokenizer kind = fb::GetVocabulary(open.segment.data())->pre_tokenizer();
    kinds.insert(kind);
    std::string error;
    const auto pre_tokenizer = PreTokenizer::create(kind, &error);
    ASSERT_NE(pre_tokenizer, nullptr) << error;
    std::istringstream stream(family.second.getAsString()->str());
    std::vector<std::string_view> words;
    for (const llvm::json::Value& value : *texts) {
      const std::string text = value.getAsString()->str();
      std::string expected;
      ASSERT_TRUE(stream >> expected);
      pre_tokenizer->split(text, &words);
      ASSERT_EQ(joined(words), text);
      ASSERT_EQ(lengths_of(words), expected) << name << ": " << escaped(text);
    }
  }
  EXPECT_EQ(kinds.size(), static_cast<size_t>(fb::PreTokenizer::MAX) + 1)
      << "a family has no golden";
}

}  // namespace
}  // namespace jllm::text

// The segment holds tokens as the bytes that they stand for, so GPT-2's byte-to-letter alphabet
// never appears here.
#include "executor/text/bpe.h"

#include <utility>

#include "executor/text/merger.h"

namespace jllm::text {

BpeTokenizer::BpeTokenizer(std::unique_ptr<const Vocabulary> vocabulary,
                           std::unique_ptr<const PreTokenizer> pre_tokenizer)
    : Tokenizer(std::move(vocabulary)), pre_tokenizer_(std::move(pre_tokenizer)) {}

void BpeTokenizer::encode_fragments(const std::vector<Fragment>& fragments,
                                    std::vector<uint32_t>* ids) const {
  Merger merger(vocabulary());
  std::vector<std::string_view> words;
  for (const Fragment& fragment : fragments) {
    if (fragment.token != kNone) {
      ids->push_back(fragment.token);
      continue;
    }
    pre_tokenizer_->split(fragment.text, &words);
    for (const std::string_view word : words) {
      const uint32_t whole = vocabulary().find_word(word);
      if (whole != kNone) {
        ids->push_back(whole);
        continue;
      }
      merger.clear();
      for (const char byte : word) {
        merger.add(vocabulary().byte_symbol(static_cast<uint8_t>(byte)), 1);
      }
      merger.run(word, ids);
    }
  }
}

}  // namespace jllm::text

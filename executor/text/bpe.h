// Byte-level BPE ("gpt2" in GGUF): a regex cuts the text into words, ranks merge the bytes of each
// word.
#pragma once

#include <memory>
#include <vector>

#include "executor/text/pretokenizer.h"
#include "executor/text/tokenizer.h"
#include "executor/text/vocabulary.h"

namespace jllm::text {

class BpeTokenizer final : public Tokenizer {
 public:
  BpeTokenizer(std::unique_ptr<const Vocabulary> vocabulary,
               std::unique_ptr<const PreTokenizer> pre_tokenizer);

 private:
  void encode_fragments(const std::vector<Fragment>& fragments,
                        std::vector<uint32_t>* ids) const override;

  std::unique_ptr<const PreTokenizer> pre_tokenizer_;
};

}  // namespace jllm::text

// SentencePiece-style BPE ("llama" in GGUF): merges of whole texts by score, bytes for what is
// unknown.
#pragma once

#include <memory>
#include <vector>

#include "executor/text/tokenizer.h"
#include "executor/text/vocabulary.h"

namespace jllm::text {

class SpmTokenizer final : public Tokenizer {
 public:
  explicit SpmTokenizer(std::unique_ptr<const Vocabulary> vocabulary);

 private:
  void encode_fragments(const std::vector<Fragment>& fragments,
                        std::vector<uint32_t>* ids) const override;
};

}  // namespace jllm::text

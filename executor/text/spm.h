// SentencePiece-style BPE ("llama" in GGUF): merges of whole texts by score, bytes for what is
// unknown. "gemma4" is the same by rank and line by line.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "executor/text/merger.h"
#include "executor/text/tokenizer.h"
#include "executor/text/vocabulary.h"

namespace jllm::text {

class SpmTokenizer final : public Tokenizer {
 public:
  explicit SpmTokenizer(std::unique_ptr<const Vocabulary> vocabulary);

 private:
  void encode_fragments(const std::vector<Fragment>& fragments,
                        std::vector<uint32_t>* ids) const override;
  void encode_stretch(std::string_view text, bool with_prefix, Merger* merger,
                      std::vector<uint32_t>* ids) const;
  void encode_lines(std::string_view text, Merger* merger, std::vector<uint32_t>* ids) const;
};

}  // namespace jllm::text

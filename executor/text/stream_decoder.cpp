// Byte tokens and byte-level BPE cut characters anywhere; this puts them together again.
#include "executor/text/tokenizer.h"
#include "executor/text/utf8.h"

namespace jllm::text {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool with_special)
    : tokenizer_(tokenizer), with_special_(with_special) {}

std::string StreamDecoder::push(uint32_t id) {
  held_ += tokenizer_.piece(id, with_special_);
  std::string_view rest = held_;
  std::string complete;
  while (!rest.empty()) {
    const Utf8Character character = first_character(rest);
    if (character.status == Utf8Status::kIncomplete) break;
    complete += character.status == Utf8Status::kValid ? rest.substr(0, character.size)
                                                       : kReplacementCharacter;
    rest.remove_prefix(character.size);
  }
  held_.erase(0, held_.size() - rest.size());
  return complete;
}

std::string StreamDecoder::finish() {
  std::string rest;
  append_valid_utf8(held_, &rest);
  held_.clear();
  return rest;
}

}  // namespace jllm::text

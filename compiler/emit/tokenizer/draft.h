// A tokenizer segment while it is being put together.
#pragma once

#include <llvm/ADT/StringMap.h>
#include <llvm/ADT/StringRef.h>

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "compiler/emit/tokenizer/pre_tokenizers.h"
#include "schema/tokenizer_generated.h"

namespace jllm::emit {

inline constexpr uint32_t kNone = 0xffffffff;  // no such id

// fb::Vocabulary while it is being put together; the fields mean the same.
struct Draft {
  fb::TokenizerModel model = fb::TokenizerModel::Spm;
  PreTokenizerTraits pre;
  std::vector<llvm::StringRef> texts;  // as GGUF has them
  std::vector<std::string> bytes;      // as the segment has them
  std::vector<fb::TokenType> types;
  std::vector<bool> spelled;  // reachable by merging, thus part of ordinary text
  uint32_t bos = kNone;
  uint32_t eos = kNone;
  uint32_t eot = kNone;
  uint32_t eom = kNone;
  uint32_t unknown = kNone;
  // What ends the filling of a gap in code: padding, another repository, another file.
  uint32_t fill_pad = kNone;
  uint32_t fill_repository = kNone;
  uint32_t fill_file = kNone;
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = false;

  struct Merge {
    uint32_t left;
    uint32_t right;
    uint32_t rank;
    uint32_t result;
  };
  std::vector<Merge> merges;
  uint32_t symbol_count = 0;
  std::vector<uint32_t> byte_symbols;
  std::map<uint32_t, uint32_t> code_points;
  std::array<uint32_t, 256> byte_tokens = {};
  std::vector<uint32_t> words;
  std::vector<uint32_t> end_of_generation;
  std::vector<uint32_t> strips_right;

  uint32_t vocab_size() const { return static_cast<uint32_t>(texts.size()); }
};

// Symbols by their bytes. The first id wins where a string occurs twice.
class SymbolTable {
 public:
  explicit SymbolTable(uint32_t vocab_size) : count_(vocab_size) {}

  void add_token(llvm::StringRef bytes, uint32_t id) { ids_.try_emplace(bytes, id); }
  uint32_t find(llvm::StringRef bytes) const {
    const auto found = ids_.find(bytes);
    return found == ids_.end() ? kNone : found->second;
  }
  uint32_t find_or_add(llvm::StringRef bytes) {
    const auto inserted = ids_.try_emplace(bytes, count_);
    if (inserted.second) ++count_;
    return inserted.first->second;
  }
  uint32_t count() const { return count_; }

 private:
  llvm::StringMap<uint32_t> ids_;
  uint32_t count_;
};

}  // namespace jllm::emit

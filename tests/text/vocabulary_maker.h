// Makes vocabularies for tests: a GGUF file with tokenizer keys, its segment, and the open
// tokenizer.
#pragma once

#include <llvm/ADT/SmallString.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compiler/gguf/writer.h"
#include "compiler/support/error.h"
#include "executor/text/tokenizer.h"
#include "tests/text/random_text.h"

namespace jllm::text {

// The values of tokenizer.ggml.token_type.
enum TokenKind : int32_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

struct VocabularyMaker {
  std::string model;
  std::string pre;  // empty: no key
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<float> scores;
  std::vector<std::string> merges;
  std::function<void(gguf::Writer&)> more_keys;

  uint32_t add(std::string text, int32_t type, float score = 0);
  // A BPE merge of two byte strings and its token, unless that exists.
  void add_merge(std::string_view left, std::string_view right);
};

// A BPE vocabulary of the 256 single bytes, ids 0 to 255.
VocabularyMaker bytes_vocabulary(std::string pre);
// An SPM vocabulary of <unk>, <s>, </s> and the 256 byte tokens, ids 0 to 258.
VocabularyMaker spm_vocabulary();
// The id of the first token with this text (BPE: in letters).
uint32_t id_of(const VocabularyMaker& maker, std::string_view text);

// GPT-2's spelling of bytes as letters.
std::string letters_of(std::string_view bytes);

struct OpenTokenizer {
  std::vector<uint8_t> segment;
  std::unique_ptr<Tokenizer> tokenizer;
  ExitCode code = ExitCode::kDone;
  std::string error;  // of the compiler or of Tokenizer::open

  const Tokenizer* operator->() const { return tokenizer.get(); }
};

// A file that is gone when the test is.
struct TemporaryFile {
  llvm::SmallString<128> path;
  TemporaryFile();
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
};

llvm::Error write_gguf(const VocabularyMaker& maker, llvm::StringRef path);
// Writes the GGUF, builds its segment and opens it.
OpenTokenizer make(const VocabularyMaker& maker);
OpenTokenizer open_gguf(const std::string& path);
// Opens a copy of `segment` with the alignment that it needs.
OpenTokenizer open_segment(const std::vector<uint8_t>& segment);

}  // namespace jllm::text

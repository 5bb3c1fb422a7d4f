#include "tests/text/vocabulary_maker.h"

#include <llvm/Support/FileSystem.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "compiler/emit/tokenizer_segment.h"
#include "compiler/gguf/file.h"

namespace jllm::text {
TemporaryFile::TemporaryFile() {
  llvm::sys::fs::createTemporaryFile("jllm_vocabulary", "gguf", path);
}
TemporaryFile::~TemporaryFile() { llvm::sys::fs::remove(path); }

uint32_t VocabularyMaker::add(std::string text, int32_t type, float score) {
  tokens.push_back(std::move(text));
  types.push_back(type);
  scores.push_back(score);
  return static_cast<uint32_t>(tokens.size() - 1);
}

void VocabularyMaker::add_merge(std::string_view left, std::string_view right) {
  merges.push_back(letters_of(left) + " " + letters_of(right));
  const std::string result = letters_of(left) + letters_of(right);
  if (std::find(tokens.begin(), tokens.end(), result) == tokens.end()) add(result, kNormal);
}

VocabularyMaker bytes_vocabulary(std::string pre) {
  VocabularyMaker maker;
  maker.model = "gpt2";
  maker.pre = std::move(pre);
  for (int byte = 0; byte < 256; ++byte) {
    maker.add(letters_of(std::string(1, static_cast<char>(byte))), kNormal);
  }
  return maker;
}

VocabularyMaker spm_vocabulary() {
  VocabularyMaker maker;
  maker.model = "llama";
  maker.add("<unk>", kUnknown);
  maker.add("<s>", kControl);
  maker.add("</s>", kControl);
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    snprintf(name, sizeof(name), "<0x%02X>", byte);
    maker.add(name, kByte);
  }
  return maker;
}

uint32_t id_of(const VocabularyMaker& maker, std::string_view text) {
  const auto found = std::find(maker.tokens.begin(), maker.tokens.end(), text);
  if (found == maker.tokens.end()) std::abort();
  return static_cast<uint32_t>(found - maker.tokens.begin());
}

std::string letters_of(std::string_view bytes) {
  std::string letters;
  for (const char c : bytes) {
    const uint32_t byte = static_cast<uint8_t>(c);
    // The alphabet, written down differently from the compiler's.
    uint32_t letter = byte;
    if (byte <= 0x20) letter = 0x100 + byte;
    if (byte >= 0x7f && byte <= 0xa0) letter = 0x121 + byte - 0x7f;
    if (byte == 0xad) letter = 0x143;
    append_character(letter, &letters);
  }
  return letters;
}

llvm::Error write_gguf(const VocabularyMaker& maker, llvm::StringRef path) {
  gguf::Writer writer;
  writer.set_string("general.architecture", "llama");
  writer.set_string("tokenizer.ggml.model", maker.model);
  if (!maker.pre.empty()) writer.set_string("tokenizer.ggml.pre", maker.pre);
  writer.set_string_array("tokenizer.ggml.tokens", maker.tokens);
  writer.set_i32_array("tokenizer.ggml.token_type", maker.types);
  if (!maker.scores.empty()) writer.set_f32_array("tokenizer.ggml.scores", maker.scores);
  if (!maker.merges.empty() || maker.model == "gpt2")
    writer.set_string_array("tokenizer.ggml.merges", maker.merges);
  if (maker.more_keys) maker.more_keys(writer);
  return writer.write(path);
}

OpenTokenizer make(const VocabularyMaker& maker) {
  const TemporaryFile file;
  if (llvm::Error error = write_gguf(maker, file.path)) {
    OpenTokenizer result;
    std::tie(result.code, result.error) = take_error(std::move(error));
    return result;
  }
  return open_gguf(file.path.str().str());
}

OpenTokenizer open_gguf(const std::string& path) {
  OpenTokenizer result;
  auto file = gguf::File::open(path);
  if (!file) {
    std::tie(result.code, result.error) = take_error(file.takeError());
    return result;
  }
  auto segment = emit::build_tokenizer_segment(*file);
  if (!segment) {
    std::tie(result.code, result.error) = take_error(segment.takeError());
    return result;
  }
  return open_segment(*segment);
}

OpenTokenizer open_segment(const std::vector<uint8_t>& segment) {
  OpenTokenizer result;
  result.segment = segment;
  result.tokenizer = Tokenizer::open(result.segment.data(), result.segment.size(), &result.error);
  return result;
}

}  // namespace jllm::text

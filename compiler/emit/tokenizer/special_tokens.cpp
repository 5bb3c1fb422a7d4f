// What GGUF's keys say about special tokens, completed by the texts of well-known ones: converters
// leave out keys and mistake types.
#include "compiler/emit/tokenizer/special_tokens.h"

#include <llvm/ADT/STLExtras.h>
#include <llvm/ADT/StringSwitch.h>

#include <algorithm>
#include <utility>

#include "compiler/support/error.h"

namespace jllm::emit {
namespace {

// The id under `key`. Converters write 2^32 - 1 for "none".
llvm::Error read_id(const gguf::File& file, llvm::StringRef key, uint32_t vocab_size,
                    uint32_t* id) {
  if (!file.has(key)) {
    if (*id >= vocab_size) *id = kNone;  // the fallback does not exist in a tiny vocabulary
    return llvm::Error::success();
  }
  auto value = file.get_u64(key);
  if (!value) return value.takeError();
  if (*value != kNone && *value >= vocab_size) {
    return fail(ExitCode::kInvalidFile,
                "{0}: {1} is {2}, but the vocabulary has {3} tokens; convert the model again",
                file.path(), key, *value, vocab_size);
  }
  *id = static_cast<uint32_t>(*value);
  return llvm::Error::success();
}

llvm::Error read_flag(const gguf::File& file, llvm::StringRef key, bool* flag) {
  auto value = file.get_bool_or(key, *flag);
  if (!value) return value.takeError();
  *flag = *value;
  return llvm::Error::success();
}

// Tokens that end a reply whatever the metadata says about them.
bool ends_generation(llvm::StringRef text) {
  return llvm::StringSwitch<bool>(text)
      .Cases("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", true)
      .Cases("<|end_of_text|>", "</s>", "<|eom_id|>", "<|return|>", "<|call|>", true)
      .Cases("<turn|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<end_of_utterance>", true)
      .Cases("<eos>", "<|tool_response>", "<|flush|>", "<|calls|>", "[e~[", true)
      // DeepSeek's, with U+FF5C and U+2581.
      .Case(
          "<\xef\xbd\x9c"
          "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
          true)
      .Default(false);
}

// The names of the tokens that Draft::fill_* stand for, where no key names them.
bool names_fill_pad(llvm::StringRef text) {
  return llvm::StringSwitch<bool>(text)
      .Cases("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]", true)
      .Default(false);
}
bool names_fill_repository(llvm::StringRef text) {
  return llvm::StringSwitch<bool>(text)
      .Cases("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", true)
      .Default(false);
}
bool names_fill_file(llvm::StringRef text) { return text == "<|file_sep|>"; }

}  // namespace

llvm::Error read_special_ids(const gguf::File& file, Draft* draft) {
  const std::pair<const char*, uint32_t*> ids[] = {
      {"tokenizer.ggml.bos_token_id", &draft->bos},
      {"tokenizer.ggml.eos_token_id", &draft->eos},
      {"tokenizer.ggml.eot_token_id", &draft->eot},
      {"tokenizer.ggml.eom_token_id", &draft->eom},
      {"tokenizer.ggml.unknown_token_id", &draft->unknown},
      {"tokenizer.ggml.fim_pad_token_id", &draft->fill_pad},
      {"tokenizer.ggml.fim_rep_token_id", &draft->fill_repository},
      {"tokenizer.ggml.fim_sep_token_id", &draft->fill_file},
  };
  for (const auto& [key, id] : ids) {
    if (llvm::Error error = read_id(file, key, draft->vocab_size(), id)) return error;
  }
  if (llvm::Error error = read_flag(file, "tokenizer.ggml.add_bos_token", &draft->add_bos)) {
    return error;
  }
  if (llvm::Error error = read_flag(file, "tokenizer.ggml.add_eos_token", &draft->add_eos)) {
    return error;
  }
  draft->add_bos = draft->add_bos && draft->bos != kNone;
  draft->add_eos = draft->add_eos && draft->eos != kNone;
  if (draft->model == fb::TokenizerModel::Bpe) {
    // Bytes have no unknown characters; some files name their padding here.
    draft->unknown = kNone;
    return llvm::Error::success();
  }
  return read_flag(file, "tokenizer.ggml.add_space_prefix", &draft->add_space_prefix);
}

void find_end_of_generation(Draft* draft) {
  std::vector<uint32_t>& ids = draft->end_of_generation;
  const bool finds_pad = draft->fill_pad == kNone;
  const bool finds_repository = draft->fill_repository == kNone;
  const bool finds_file = draft->fill_file == kNone;
  for (const uint32_t id : {draft->eos, draft->eot, draft->eom, draft->fill_pad,
                            draft->fill_repository, draft->fill_file}) {
    if (id != kNone) ids.push_back(id);
  }
  llvm::StringMap<uint32_t> ends;
  for (uint32_t id = 0; id < draft->vocab_size(); ++id) {
    const llvm::StringRef text = draft->texts[id];
    const bool ends_reply = ends_generation(text) || (finds_pad && names_fill_pad(text)) ||
                            (finds_repository && names_fill_repository(text)) ||
                            (finds_file && names_fill_file(text));
    if (!ends_reply || draft->spelled[id]) continue;
    ids.push_back(id);
    ends[text] = id;
    draft->types[id] = fb::TokenType::Control;  // converters have got this wrong
  }
  const auto has = [&](llvm::StringRef text) { return ends.count(text) != 0; };
  const auto remove = [&](llvm::StringRef text) { llvm::erase_value(ids, ends[text]); };
  // Replies of several parts: <|end|> ends one part, and others end the reply.
  const bool has_call = has("<|call|>") || has("<|calls|>");
  if (has("<|end|>") && has_call && (has("<|return|>") || has("<|flush|>"))) remove("<|end|>");
  // HTML in the vocabulary of Gemma 4.
  if (has("</s>") && has("<|tool_response>")) remove("</s>");
  llvm::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

// Phi-3's special tokens swallow the white space behind them. GGUF has no key for this: the model's
// name is the only sign.
llvm::Error find_strips_right(const gguf::File& file, Draft* draft) {
  auto name = file.get_string_or("general.name", "");
  if (!name) return name.takeError();
  if (!name->contains_insensitive("phi-3") && !name->contains_insensitive("phi3")) {
    return llvm::Error::success();
  }
  for (uint32_t id = 0; id < draft->vocab_size(); ++id) {
    const llvm::StringRef text = draft->texts[id];
    const fb::TokenType type = draft->types[id];
    if ((type == fb::TokenType::Control || type == fb::TokenType::Unknown ||
         type == fb::TokenType::UserDefined) &&
        text != "<unk>" && text != "<s>" && text != "<|endoftext|>") {
      draft->strips_right.push_back(id);
    }
  }
  return llvm::Error::success();
}

}  // namespace jllm::emit

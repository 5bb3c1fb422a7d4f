// From GGUF's token list, scores or merges to one table of symbol pairs with ranks, which is all
// that the device needs for both SPM and BPE. Symbols are the tokens, by their ids, and behind them
// the strings that occur only on the way to a token.
#include "compiler/emit/tokenizer_segment.h"

#include <llvm/ADT/STLExtras.h>
#include <llvm/ADT/StringSwitch.h>
#include <llvm/Support/FormatVariadic.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "compiler/emit/tokenizer/characters.h"
#include "compiler/emit/tokenizer/draft.h"
#include "compiler/emit/tokenizer/pre_tokenizers.h"
#include "compiler/emit/tokenizer/segment_writer.h"
#include "compiler/emit/tokenizer/special_tokens.h"
#include "compiler/support/error.h"
#include "schema/tokenizer_generated.h"

namespace jllm::emit {
namespace {

using fb::TokenType;

// Far above every real vocabulary, far below what a FlatBuffer can hold.
constexpr uint64_t kMaxTokenBytes = uint64_t{1} << 28;
constexpr uint64_t kMaxMerges = uint64_t{1} << 26;
// Splitting a token at every character is quadratic in its length; real SPM pieces have 16
// characters.
constexpr size_t kMaxSpmPiece = 256;

// For the message about a model that is none of ours.
llvm::StringRef algorithm_of(llvm::StringRef model) {
  return llvm::StringSwitch<llvm::StringRef>(model)
      .Case("bert", " (WordPiece)")
      .Case("t5", " (Unigram)")
      .Case("rwkv", " (greedy longest match)")
      .Default("");
}

// --- reading ---

llvm::Error read_model(const gguf::File& file, Draft* draft) {
  auto model = file.get_string("tokenizer.ggml.model");
  if (!model) return model.takeError();
  if (*model == "llama") {
    draft->model = fb::TokenizerModel::Spm;
    draft->add_bos = draft->add_space_prefix = true;
    draft->bos = 1;
    draft->eos = 2;
    draft->unknown = 0;
    return llvm::Error::success();
  }
  if (*model == "gemma4") {
    draft->model = fb::TokenizerModel::Spm;
    draft->pre.kind = fb::PreTokenizer::Lines;
    return llvm::Error::success();
  }
  if (*model != "gpt2") {
    return fail(ExitCode::kUnsupported,
                "{0}: tokenizer model '{1}'{2} is not supported; jllm knows 'llama' (SPM), 'gpt2' "
                "(byte-level BPE) and 'gemma4'. Take a model that was converted with one of these",
                file.path(), *model, algorithm_of(*model));
  }
  draft->model = fb::TokenizerModel::Bpe;
  auto pre = file.get_string_or("tokenizer.ggml.pre", "default");
  if (!pre) return pre.takeError();
  const std::optional<PreTokenizerTraits> traits = pre_tokenizer_traits(*pre);
  if (!traits) {
    return fail(ExitCode::kUnsupported,
                "{0}: pre-tokenizer '{1}' (tokenizer.ggml.pre) is not supported; its text would be "
                "cut into the wrong tokens. If the model's tokenizer.json has the expressions of a "
                "family that jllm knows (README.md), convert the model again with that family's "
                "name as tokenizer.ggml.pre",
                file.path(), *pre);
  }
  draft->pre = *traits;
  draft->add_bos = traits->adds_bos;
  return llvm::Error::success();
}

llvm::Error read_tokens(const gguf::File& file, Draft* draft) {
  auto texts = file.get_string_array("tokenizer.ggml.tokens");
  if (!texts) return texts.takeError();
  draft->texts = std::move(*texts);
  uint64_t total = 0;
  for (const llvm::StringRef text : draft->texts) total += text.size();
  if (draft->texts.empty() || draft->texts.size() > kMaxTokenBytes || total > kMaxTokenBytes) {
    return fail(ExitCode::kInvalidFile, "{0}: tokenizer.ggml.tokens has {1} tokens of {2} bytes",
                file.path(), draft->texts.size(), total);
  }
  const uint32_t size = draft->vocab_size();
  draft->bytes.resize(size);
  draft->spelled.resize(size, false);
  draft->types.assign(size, TokenType::Normal);
  constexpr const char* kTypes = "tokenizer.ggml.token_type";
  if (!file.has(kTypes)) return llvm::Error::success();
  auto types = file.get_u64_array(kTypes);
  if (!types) return types.takeError();
  if (types->size() != size) {
    return fail(ExitCode::kInvalidFile, "{0}: {1} has {2} entries for {3} tokens", file.path(),
                kTypes, types->size(), size);
  }
  for (uint32_t id = 0; id < size; ++id) {
    const uint64_t type = (*types)[id];
    if (type > static_cast<uint64_t>(TokenType::MAX)) {
      return fail(ExitCode::kInvalidFile, "{0}: {1} of token {2} is {3}", file.path(), kTypes, id,
                  type);
    }
    if (type != 0) draft->types[id] = static_cast<TokenType>(type);
  }
  return llvm::Error::success();
}

// --- SPM ---

// The tokens of a model that merges characters.
void add_character_tokens(SymbolTable* symbols, Draft* draft) {
  draft->byte_tokens.fill(kNone);
  for (uint32_t id = 0; id < draft->vocab_size(); ++id) {
    const llvm::StringRef text = draft->texts[id];
    const std::optional<uint8_t> byte = named_byte(text);
    if (byte && draft->byte_tokens[*byte] == kNone) draft->byte_tokens[*byte] = id;
    const TokenType type = draft->types[id];
    if (type == TokenType::Byte && byte) {
      draft->bytes[id].assign(1, static_cast<char>(*byte));
      continue;
    }
    draft->bytes[id] = text.str();
    if (type == TokenType::Control || type == TokenType::Unknown || type == TokenType::Byte ||
        text.size() > kMaxSpmPiece || character_bounds(text).size() < 2) {
      continue;
    }
    symbols->add_token(text, id);
    if (const auto code_point = only_character(text))
      draft->code_points.try_emplace(*code_point, id);
  }
}

// Every way in which two symbols make `id`. A single character is always a symbol.
void add_spm_merges(uint32_t id, uint32_t rank, SymbolTable* symbols, Draft* draft) {
  const llvm::StringRef text = draft->texts[id];
  const std::vector<size_t> bounds = character_bounds(text);
  const size_t count = bounds.size() - 1;
  for (size_t i = 1; i < count; ++i) {
    const llvm::StringRef left = text.take_front(bounds[i]);
    const llvm::StringRef right = text.drop_front(bounds[i]);
    const bool left_is_symbol = i == 1 || symbols->find(left) != kNone;
    const bool right_is_symbol = i == count - 1 || symbols->find(right) != kNone;
    if (!left_is_symbol || !right_is_symbol) continue;
    for (const llvm::StringRef half : {left, right}) {
      const std::optional<uint32_t> code_point = only_character(half);
      if (code_point) draft->code_points.try_emplace(*code_point, symbols->find_or_add(half));
    }
    draft->merges.push_back({symbols->find(left), symbols->find(right), rank, id});
  }
}

llvm::Error build_spm(const gguf::File& file, Draft* draft) {
  auto scores = file.get_f64_array("tokenizer.ggml.scores");
  if (!scores) return scores.takeError();
  if (scores->size() != draft->vocab_size() ||
      llvm::any_of(*scores, [](double score) { return std::isnan(score); })) {
    return fail(ExitCode::kInvalidFile,
                "{0}: tokenizer.ggml.scores has {1} entries for {2} tokens, or one is not a number",
                file.path(), scores->size(), draft->vocab_size());
  }
  std::vector<double> descending = *scores;
  std::sort(descending.begin(), descending.end(), std::greater<double>());
  descending.erase(std::unique(descending.begin(), descending.end()), descending.end());

  SymbolTable symbols(draft->vocab_size());
  add_character_tokens(&symbols, draft);
  for (uint32_t id = 0; id < draft->vocab_size(); ++id) {
    if (symbols.find(draft->texts[id]) != id) continue;
    const auto rank = std::lower_bound(descending.begin(), descending.end(), (*scores)[id],
                                       std::greater<double>());
    add_spm_merges(id, static_cast<uint32_t>(rank - descending.begin()), &symbols, draft);
  }
  for (uint32_t byte = 0; byte < 0x80; ++byte) {
    const char text = static_cast<char>(byte);
    uint32_t& token = draft->byte_tokens[byte];
    if (token == kNone) token = symbols.find(llvm::StringRef(&text, 1));
    if (token != kNone && token >= draft->vocab_size()) token = kNone;
  }
  draft->symbol_count = symbols.count();
  return llvm::Error::success();
}

// --- BPE ---

void add_bpe_token(uint32_t id, SymbolTable* symbols, Draft* draft) {
  const llvm::StringRef text = draft->texts[id];
  std::string& bytes = draft->bytes[id];
  bytes = text.str();
  std::string decoded;
  switch (draft->types[id]) {
    case TokenType::Undefined:
    case TokenType::Unknown:
    case TokenType::Control:
      return;
    case TokenType::Byte:
      if (const auto byte = named_byte(text)) {
        bytes.assign(1, static_cast<char>(*byte));
        symbols->add_token(bytes, id);
      }
      return;
    case TokenType::UserDefined:
      // Written in plain text; merging may still make it if the byte alphabet reads it the same.
      if (!bytes_of_letters(text, &decoded) || decoded != bytes) return;
      break;
    case TokenType::Normal:
    case TokenType::Unused:
      // A token outside the byte alphabet stands for its own text and no merging can make it.
      if (!bytes_of_letters(text, &decoded)) return;
      bytes = decoded;
      break;
  }
  if (!bytes.empty()) symbols->add_token(bytes, id);
}

// One half of a merge as its symbol: bytes spelled in letters, or characters as they are. False
// when no text contains it.
bool read_half(llvm::StringRef text, const Draft& draft, std::string* half) {
  if (draft.model == fb::TokenizerModel::Bpe) return bytes_of_letters(text, half);
  *half = text.str();
  return character_bounds(text).size() > 1;
}

llvm::Error add_merges(const gguf::File& file, SymbolTable* symbols, Draft* draft) {
  auto merges = file.get_string_array("tokenizer.ggml.merges");
  if (!merges) return merges.takeError();
  std::string left;
  std::string right;
  for (uint32_t rank = 0; rank < merges->size(); ++rank) {
    const llvm::StringRef merge = (*merges)[rank];
    const size_t space = merge.find(' ', 1);
    if (space == llvm::StringRef::npos || space + 1 == merge.size()) {
      return fail(ExitCode::kInvalidFile, "{0}: tokenizer.ggml.merges[{1}] is not a pair: '{2}'",
                  file.path(), rank, merge);
    }
    if (!read_half(merge.take_front(space), *draft, &left) ||
        !read_half(merge.drop_front(space + 1), *draft, &right)) {
      continue;
    }
    const uint32_t left_symbol = symbols->find_or_add(left);
    const uint32_t right_symbol = symbols->find_or_add(right);
    const uint32_t result = symbols->find_or_add(left + right);
    if (draft->model == fb::TokenizerModel::Spm) {
      if (const auto character = only_character(left)) {
        draft->code_points.try_emplace(*character, left_symbol);
      }
      if (const auto character = only_character(right)) {
        draft->code_points.try_emplace(*character, right_symbol);
      }
    }
    draft->merges.push_back({left_symbol, right_symbol, rank, result});
    if (result < draft->vocab_size()) draft->spelled[result] = true;
  }
  return llvm::Error::success();
}

llvm::Error build_bpe(const gguf::File& file, Draft* draft) {
  SymbolTable symbols(draft->vocab_size());
  for (uint32_t id = 0; id < draft->vocab_size(); ++id) add_bpe_token(id, &symbols, draft);
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    draft->byte_tokens[byte] = symbols.find(llvm::StringRef(&text, 1));
    draft->byte_symbols.push_back(symbols.find_or_add(llvm::StringRef(&text, 1)));
  }
  if (draft->pre.whole_words) {
    for (uint32_t id = 0; id < draft->vocab_size(); ++id) {
      if (symbols.find(draft->bytes[id]) == id) draft->words.push_back(id);
    }
    llvm::sort(draft->words,
               [&](uint32_t a, uint32_t b) { return draft->bytes[a] < draft->bytes[b]; });
  }
  if (llvm::Error error = add_merges(file, &symbols, draft)) return error;
  draft->symbol_count = symbols.count();
  return llvm::Error::success();
}

// --- gemma4 ---

// Characters as in SPM, but merges by rank, and byte-level BPE's whole words for runs of line
// breaks.
llvm::Error build_gemma4(const gguf::File& file, Draft* draft) {
  if (draft->bos == kNone) {
    return fail(ExitCode::kInvalidFile,
                "{0}: the tokenizer 'gemma4' begins every text with BOS, but there is no "
                "tokenizer.ggml.bos_token_id; convert the model again",
                file.path());
  }
  draft->add_bos = true;  // whatever add_bos_token says: the model is of no use without
  SymbolTable symbols(draft->vocab_size());
  add_character_tokens(&symbols, draft);
  if (llvm::Error error = add_merges(file, &symbols, draft)) return error;
  for (uint32_t id = 0; id < draft->vocab_size(); ++id) {
    const llvm::StringRef text = draft->texts[id];
    if (symbols.find(text) == id && text.find_first_not_of('\n') == llvm::StringRef::npos) {
      draft->words.push_back(id);
    }
  }
  llvm::sort(draft->words,
             [&](uint32_t a, uint32_t b) { return draft->bytes[a] < draft->bytes[b]; });
  draft->symbol_count = symbols.count();
  return llvm::Error::success();
}

llvm::Error build_symbols(const gguf::File& file, Draft* draft) {
  if (draft->model == fb::TokenizerModel::Bpe) return build_bpe(file, draft);
  return draft->pre.kind == fb::PreTokenizer::Lines ? build_gemma4(file, draft)
                                                    : build_spm(file, draft);
}

}  // namespace

llvm::Expected<std::vector<uint8_t>> build_tokenizer_segment(const gguf::File& file) {
  Draft draft;
  if (llvm::Error error = read_model(file, &draft)) return error;
  if (llvm::Error error = read_tokens(file, &draft)) return error;
  if (llvm::Error error = read_special_ids(file, &draft)) return error;
  if (llvm::Error error = build_symbols(file, &draft)) return error;
  if (draft.merges.size() > kMaxMerges) {
    return fail(ExitCode::kInvalidFile, "{0}: the tokenizer has {1} merges", file.path(),
                draft.merges.size());
  }
  find_end_of_generation(&draft);
  if (llvm::Error error = find_strips_right(file, &draft)) return error;
  return write_segment(&draft);
}

std::string tokenizer_warning(const gguf::File& file) {
  auto model = file.get_string_or("tokenizer.ggml.model", "");
  const bool is_bpe = model && *model == "gpt2";
  if (!model) llvm::consumeError(model.takeError());
  if (!is_bpe || file.has("tokenizer.ggml.pre")) return "";
  return llvm::formatv(
      "{0}: no tokenizer.ggml.pre says how text is cut into words; 'default' is taken, which few "
      "models use, and replies may be worse.\n  Convert the model again with a current converter",
      file.path());
}

}  // namespace jllm::emit

// From GGUF's token list, scores or merges to one table of symbol pairs with ranks, which is all
// that the device needs for both SPM and BPE. Symbols are the tokens, by their ids, and behind them
// the strings that occur only on the way to a token.
#include "compiler/emit/tokenizer_segment.h"

#include <llvm/ADT/StringExtras.h>
#include <llvm/ADT/StringMap.h>
#include <llvm/ADT/StringSwitch.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "compiler/emit/tokenizer/characters.h"
#include "compiler/emit/tokenizer/pre_tokenizers.h"
#include "compiler/support/error.h"
#include "schema/tokenizer_generated.h"

namespace jllm::emit {
namespace {

using fb::TokenType;

constexpr uint32_t kNone = 0xffffffff;
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
      .Case("gemma4", " (BPE on characters)")
      .Case("rwkv", " (greedy longest match)")
      .Default("");
}

// Tokens that end a reply whatever the metadata says about them.
bool ends_generation(llvm::StringRef text) {
  return llvm::StringSwitch<bool>(text)
      .Cases("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", true)
      .Cases("<|end_of_text|>", "</s>", "<|eom_id|>", "<|return|>", "<|call|>", true)
      .Cases("<turn|>", "<EOT>", "_<EOT>", "<end_of_utterance>", true)
      .Default(false);
}

// fb::Vocabulary while it is being put together; the fields mean the same.
struct Draft {
  fb::TokenizerModel model = fb::TokenizerModel::Spm;
  PreTokenizerTraits pre;
  std::vector<llvm::StringRef> texts;  // as GGUF has them
  std::vector<std::string> bytes;      // as the segment has them
  std::vector<TokenType> types;
  std::vector<bool> spelled;  // reachable by merging, thus part of ordinary text
  uint32_t bos = kNone;
  uint32_t eos = kNone;
  uint32_t eot = kNone;
  uint32_t eom = kNone;
  uint32_t unknown = kNone;
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

// --- reading
// ---------------------------------------------------------------------------------------

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
  if (*model != "gpt2") {
    return fail(ExitCode::kUnsupported,
                "{0}: tokenizer model '{1}'{2} is not supported; jllm knows 'llama' (SPM) and "
                "'gpt2' (byte-level BPE). Take a model that was converted with one of these",
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

llvm::Error read_special_ids(const gguf::File& file, Draft* draft) {
  const std::pair<const char*, uint32_t*> ids[] = {
      {"tokenizer.ggml.bos_token_id", &draft->bos},
      {"tokenizer.ggml.eos_token_id", &draft->eos},
      {"tokenizer.ggml.eot_token_id", &draft->eot},
      {"tokenizer.ggml.eom_token_id", &draft->eom},
      {"tokenizer.ggml.unknown_token_id", &draft->unknown},
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

// --- SPM
// -------------------------------------------------------------------------------------------

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
    symbols.add_token(text, id);
    if (const auto code_point = only_character(text))
      draft->code_points.try_emplace(*code_point, id);
  }
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

// --- BPE
// -------------------------------------------------------------------------------------------

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

llvm::Error add_bpe_merges(const gguf::File& file, SymbolTable* symbols, Draft* draft) {
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
    if (!bytes_of_letters(merge.take_front(space), &left) ||
        !bytes_of_letters(merge.drop_front(space + 1), &right)) {
      continue;  // no text contains such letters
    }
    const uint32_t left_symbol = symbols->find_or_add(left);
    const uint32_t right_symbol = symbols->find_or_add(right);
    const uint32_t result = symbols->find_or_add(left + right);
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
  if (llvm::Error error = add_bpe_merges(file, &symbols, draft)) return error;
  draft->symbol_count = symbols.count();
  return llvm::Error::success();
}

// --- special tokens
// --------------------------------------------------------------------------------

void find_end_of_generation(Draft* draft) {
  std::vector<uint32_t>& ids = draft->end_of_generation;
  for (const uint32_t id : {draft->eos, draft->eot, draft->eom}) {
    if (id != kNone) ids.push_back(id);
  }
  for (uint32_t id = 0; id < draft->vocab_size(); ++id) {
    if (!ends_generation(draft->texts[id]) || draft->spelled[id]) continue;
    ids.push_back(id);
    draft->types[id] = TokenType::Control;  // converters have got this wrong
  }
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
    const TokenType type = draft->types[id];
    if ((type == TokenType::Control || type == TokenType::Unknown ||
         type == TokenType::UserDefined) &&
        text != "<unk>" && text != "<s>" && text != "<|endoftext|>") {
      draft->strips_right.push_back(id);
    }
  }
  return llvm::Error::success();
}

// --- writing
// ---------------------------------------------------------------------------------------

// Sorts by (left, right) and keeps the best rank of each pair.
void sort_merges(std::vector<Draft::Merge>* merges) {
  using Merge = Draft::Merge;
  llvm::sort(*merges, [](const Merge& a, const Merge& b) {
    return std::tie(a.left, a.right, a.rank) < std::tie(b.left, b.right, b.rank);
  });
  merges->erase(std::unique(merges->begin(), merges->end(),
                            [](const Merge& a, const Merge& b) {
                              return a.left == b.left && a.right == b.right;
                            }),
                merges->end());
}

std::vector<uint8_t> write(const Draft& draft) {
  flatbuffers::FlatBufferBuilder builder(size_t{1} << 20);
  std::string token_bytes;
  std::vector<uint32_t> token_offsets = {0};
  std::vector<uint8_t> token_types;
  for (uint32_t id = 0; id < draft.vocab_size(); ++id) {
    token_bytes += draft.bytes[id];
    token_offsets.push_back(static_cast<uint32_t>(token_bytes.size()));
    token_types.push_back(static_cast<uint8_t>(draft.types[id]));
  }
  std::vector<uint32_t> rows(draft.symbol_count + 1, 0);
  std::vector<uint32_t> rights, ranks, results;
  for (const Draft::Merge& merge : draft.merges) {
    ++rows[merge.left + 1];
    rights.push_back(merge.right);
    ranks.push_back(merge.rank);
    results.push_back(merge.result);
  }
  for (uint32_t i = 0; i < draft.symbol_count; ++i) rows[i + 1] += rows[i];
  std::vector<uint32_t> code_points, code_point_symbols;
  for (const auto& [code_point, symbol] : draft.code_points) {
    code_points.push_back(code_point);
    code_point_symbols.push_back(symbol);
  }

  const auto bytes_vector = builder.CreateVector(
      reinterpret_cast<const uint8_t*>(token_bytes.data()), token_bytes.size());
  const auto offsets_vector = builder.CreateVector(token_offsets);
  const auto types_vector = builder.CreateVector(token_types);
  const auto rows_vector = builder.CreateVector(rows);
  const auto rights_vector = builder.CreateVector(rights);
  const auto ranks_vector = builder.CreateVector(ranks);
  const auto results_vector = builder.CreateVector(results);
  const auto byte_symbols_vector = builder.CreateVector(draft.byte_symbols);
  const auto code_points_vector = builder.CreateVector(code_points);
  const auto code_point_symbols_vector = builder.CreateVector(code_point_symbols);
  const auto byte_tokens_vector =
      builder.CreateVector(draft.byte_tokens.data(), draft.byte_tokens.size());
  const auto words_vector = builder.CreateVector(draft.words);
  const auto end_vector = builder.CreateVector(draft.end_of_generation);
  const auto strips_vector = builder.CreateVector(draft.strips_right);

  fb::VocabularyBuilder vocabulary(builder);
  vocabulary.add_model(draft.model);
  vocabulary.add_pre_tokenizer(draft.pre.kind);
  vocabulary.add_token_bytes(bytes_vector);
  vocabulary.add_token_offsets(offsets_vector);
  vocabulary.add_token_types(types_vector);
  vocabulary.add_merge_rows(rows_vector);
  vocabulary.add_merge_right(rights_vector);
  vocabulary.add_merge_rank(ranks_vector);
  vocabulary.add_merge_result(results_vector);
  vocabulary.add_byte_symbols(byte_symbols_vector);
  vocabulary.add_code_points(code_points_vector);
  vocabulary.add_code_point_symbols(code_point_symbols_vector);
  vocabulary.add_byte_tokens(byte_tokens_vector);
  vocabulary.add_words(words_vector);
  vocabulary.add_add_bos(draft.add_bos);
  vocabulary.add_add_eos(draft.add_eos);
  vocabulary.add_add_space_prefix(draft.add_space_prefix);
  vocabulary.add_bos(draft.bos);
  vocabulary.add_eos(draft.eos);
  vocabulary.add_eot(draft.eot);
  vocabulary.add_unknown(draft.unknown);
  vocabulary.add_end_of_generation(end_vector);
  vocabulary.add_strips_right(strips_vector);
  fb::FinishVocabularyBuffer(builder, vocabulary.Finish());
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

}  // namespace

llvm::Expected<std::vector<uint8_t>> build_tokenizer_segment(const gguf::File& file) {
  Draft draft;
  if (llvm::Error error = read_model(file, &draft)) return error;
  if (llvm::Error error = read_tokens(file, &draft)) return error;
  if (llvm::Error error = read_special_ids(file, &draft)) return error;
  const bool is_spm = draft.model == fb::TokenizerModel::Spm;
  if (llvm::Error error = is_spm ? build_spm(file, &draft) : build_bpe(file, &draft)) {
    return error;
  }
  if (draft.merges.size() > kMaxMerges) {
    return fail(ExitCode::kInvalidFile, "{0}: the tokenizer has {1} merges", file.path(),
                draft.merges.size());
  }
  sort_merges(&draft.merges);
  find_end_of_generation(&draft);
  if (llvm::Error error = find_strips_right(file, &draft)) return error;
  return write(draft);
}

}  // namespace jllm::emit

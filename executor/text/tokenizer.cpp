// What SPM and BPE have in common: opening, special tokens, BOS and EOS, and the way back to text.
#include "executor/text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "executor/text/bpe.h"
#include "executor/text/pretokenizer.h"
#include "executor/text/special_matcher.h"
#include "executor/text/spm.h"
#include "executor/text/utf8.h"
#include "executor/text/vocabulary.h"

namespace jllm::text {
namespace {

bool is_ascii_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string with_spaces(std::string_view text) {
  constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581
  std::string out;
  while (true) {
    const size_t mark = text.find(kSpaceMark);
    out += text.substr(0, mark);
    if (mark == std::string_view::npos) return out;
    out += ' ';
    text.remove_prefix(mark + kSpaceMark.size());
  }
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::open(const uint8_t* segment, size_t size,
                                           std::string* error) {
  auto vocabulary = std::make_unique<Vocabulary>();
  if (!Vocabulary::open(segment, size, vocabulary.get(), error)) return nullptr;
  if (vocabulary->data().model() == fb::TokenizerModel::Spm) {
    return std::make_unique<SpmTokenizer>(std::move(vocabulary));
  }
  auto pre_tokenizer = PreTokenizer::create(vocabulary->data().pre_tokenizer(), error);
  if (pre_tokenizer == nullptr) return nullptr;
  return std::make_unique<BpeTokenizer>(std::move(vocabulary), std::move(pre_tokenizer));
}

Tokenizer::Tokenizer(std::unique_ptr<const Vocabulary> vocabulary)
    : vocabulary_(std::move(vocabulary)),
      all_specials_(std::make_unique<SpecialMatcher>(*vocabulary_, false)),
      user_defined_(std::make_unique<SpecialMatcher>(*vocabulary_, true)) {
  if (const auto* ids = vocabulary_->data().end_of_generation()) {
    end_of_generation_.assign(ids->begin(), ids->end());
    std::sort(end_of_generation_.begin(), end_of_generation_.end());
  }
}

Tokenizer::~Tokenizer() = default;

std::vector<uint32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    append_valid_utf8(text, &repaired);
    text = repaired;
  }
  const fb::Vocabulary& data = vocabulary_->data();
  std::vector<uint32_t> ids;
  if (options.add_special && data.add_bos()) ids.push_back(data.bos());
  std::vector<TextRange> trusted;
  if (options.parse_special) trusted.push_back({0, text.size()});
  encode_fragments(split(text, trusted), &ids);
  if (options.add_special && data.add_eos()) ids.push_back(data.eos());
  return ids;
}

std::vector<uint32_t> Tokenizer::encode_chat(std::string_view text,
                                             const std::vector<TextRange>& trusted) const {
  std::vector<TextRange> ranges = trusted;
  std::string repaired;
  if (!is_valid_utf8(text)) {
    size_t from = 0;
    for (TextRange& range : ranges) {
      append_valid_utf8(text.substr(from, range.begin - from), &repaired);
      const size_t begin = repaired.size();
      append_valid_utf8(text.substr(range.begin, range.end - range.begin), &repaired);
      from = range.end;
      range = {begin, repaired.size()};
    }
    append_valid_utf8(text.substr(from), &repaired);
    text = repaired;
  }
  std::vector<uint32_t> ids;
  encode_fragments(split(text, ranges), &ids);
  const fb::Vocabulary& data = vocabulary_->data();
  if (data.add_bos() && (ids.empty() || ids[0] != data.bos())) ids.insert(ids.begin(), data.bos());
  return ids;
}

// The first special token at or behind `from`: user-defined ones anywhere, all others in a trusted
// stretch only. What would reach from such a stretch into the text beside it is no control token.
bool Tokenizer::find_special(std::string_view text, size_t from,
                             const std::vector<TextRange>& trusted, SpecialMatch* match) const {
  for (const TextRange& range : trusted) {
    if (range.end <= from) continue;
    if (from < range.begin && user_defined_->find(text, from, range.begin, match)) return true;
    from = std::max(from, range.begin);
    SpecialMatch user = {};
    const bool found = all_specials_->find(text.substr(0, range.end), from, range.end, match);
    const size_t end = found ? match->begin + 1 : range.end;
    if (user_defined_->find(text, from, end, &user) &&
        (!found || user.begin < match->begin || user.size > match->size)) {
      *match = user;
      return true;
    }
    if (found) return true;
    from = range.end;
  }
  return user_defined_->find(text, from, text.size(), match);
}

std::vector<Tokenizer::Fragment> Tokenizer::split(std::string_view text,
                                                  const std::vector<TextRange>& trusted) const {
  const auto* strips_right = vocabulary_->data().strips_right();
  const auto strips = [&](uint32_t id) {
    return strips_right != nullptr &&
           std::binary_search(strips_right->data(), strips_right->data() + strips_right->size(),
                              id);
  };
  std::vector<Fragment> fragments;
  bool behind_special = true;
  size_t at = 0;
  SpecialMatch match;
  while (find_special(text, at, trusted, &match)) {
    if (match.begin > at) {
      fragments.push_back({text.substr(at, match.begin - at), kNone, behind_special});
    }
    fragments.push_back({text.substr(match.begin, match.size), match.id, true});
    behind_special = true;
    at = match.begin + match.size;
    if (strips(match.id)) {
      while (at < text.size() && is_ascii_space(text[at])) ++at;
    }
  }
  if (at < text.size()) fragments.push_back({text.substr(at), kNone, behind_special});
  return fragments;
}

std::string Tokenizer::piece(uint32_t id, bool with_special) const {
  if (id >= vocab_size()) return {};
  const std::string_view bytes = vocabulary_->bytes(id);
  switch (vocabulary_->type(id)) {
    case fb::TokenType::Byte:
      return std::string(bytes);
    case fb::TokenType::Normal:
    case fb::TokenType::UserDefined:
      return vocabulary_->data().model() == fb::TokenizerModel::Spm ? with_spaces(bytes)
                                                                    : std::string(bytes);
    case fb::TokenType::Undefined:
    case fb::TokenType::Unknown:
    case fb::TokenType::Control:
    case fb::TokenType::Unused:
      break;
  }
  return with_special ? std::string(bytes) : std::string();
}

std::string Tokenizer::decode(const std::vector<uint32_t>& ids, bool with_special) const {
  std::string text;
  for (const uint32_t id : ids) text += piece(id, with_special);
  if (strips_leading_space() && !text.empty() && text[0] == ' ') text.erase(0, 1);
  return text;
}

uint32_t Tokenizer::vocab_size() const { return vocabulary_->size(); }

bool Tokenizer::is_control(uint32_t id) const {
  return id < vocab_size() && vocabulary_->type(id) == fb::TokenType::Control;
}

bool Tokenizer::is_end_of_generation(uint32_t id) const {
  return std::binary_search(end_of_generation_.begin(), end_of_generation_.end(), id);
}

const std::vector<uint32_t>& Tokenizer::end_of_generation() const { return end_of_generation_; }

int64_t Tokenizer::bos() const {
  const uint32_t id = vocabulary_->data().bos();
  return id == kNone ? -1 : static_cast<int64_t>(id);
}

bool Tokenizer::adds_bos() const { return vocabulary_->data().add_bos(); }

bool Tokenizer::strips_leading_space() const {
  return vocabulary_->data().model() == fb::TokenizerModel::Spm &&
         vocabulary_->data().add_space_prefix();
}

}  // namespace jllm::text

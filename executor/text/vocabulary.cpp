// Verification of a tokenizer segment and the look-ups in its sorted arrays.
#include "executor/text/vocabulary.h"

#include <algorithm>

namespace jllm::text {
namespace {

// The arrays of the segment are read in place.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the plan is little-endian");

using Ids = flatbuffers::Vector<uint32_t>;

size_t length(const Ids* ids) { return ids == nullptr ? 0 : ids->size(); }

bool all_below(const Ids* ids, uint32_t limit) {
  return ids == nullptr || std::all_of(ids->data(), ids->data() + ids->size(),
                                       [=](uint32_t id) { return id < limit; });
}

// Offsets into an array of `total` entries: ascending and ending exactly there.
bool are_offsets(const Ids& offsets, size_t total) {
  return offsets.size() > 0 && offsets.Get(0) == 0 && offsets.Get(offsets.size() - 1) == total &&
         std::is_sorted(offsets.data(), offsets.data() + offsets.size());
}

bool fail(std::string* error, const char* what) {
  *error = std::string("damaged tokenizer segment: ") + what;
  return false;
}

}  // namespace

bool Vocabulary::open(const uint8_t* segment, size_t size, Vocabulary* out, std::string* error) {
  // The verifier asserts the upper bound, and reading an identifier needs the lower one.
  if (size < 16 || size >= FLATBUFFERS_MAX_BUFFER_SIZE) return fail(error, "impossible size");
  if (reinterpret_cast<uintptr_t>(segment) % alignof(uint64_t) != 0) {
    return fail(error, "not aligned in memory");
  }
  flatbuffers::Verifier verifier(segment, size);
  if (!fb::VerifyVocabularyBuffer(verifier)) return fail(error, "not a tokenizer FlatBuffer");
  out->data_ = fb::GetVocabulary(segment);
  return out->verify(error);
}

bool Vocabulary::verify(std::string* error) {
  const fb::Vocabulary& data = *data_;
  if (data.model() > fb::TokenizerModel::MAX) return fail(error, "unknown tokenizer model");
  if (data.pre_tokenizer() > fb::PreTokenizer::MAX) return fail(error, "unknown pre-tokenizer");
  size_ = data.token_types()->size();
  if (size_ == 0) return fail(error, "no tokens");
  if (data.token_offsets()->size() != size_t{size_} + 1 ||
      !are_offsets(*data.token_offsets(), data.token_bytes()->size())) {
    return fail(error, "token offsets");
  }
  const auto last_type = static_cast<uint8_t>(fb::TokenType::MAX);
  if (std::any_of(data.token_types()->begin(), data.token_types()->end(),
                  [=](uint8_t type) { return type > last_type; })) {
    return fail(error, "token types");
  }
  if (!all_below(data.words(), size_)) return fail(error, "word ids");
  if (!all_below(data.strips_right(), size_)) return fail(error, "special token ids");
  if (!all_below(data.end_of_generation(), size_)) return fail(error, "end-of-generation ids");
  for (const uint32_t id : {data.bos(), data.eos(), data.eot(), data.unknown()}) {
    if (id != kNone && id >= size_) return fail(error, "special token ids");
  }
  if (data.add_bos() && data.bos() == kNone)
    return fail(error, "a missing BOS token is to be added");
  if (data.add_eos() && data.eos() == kNone)
    return fail(error, "a missing EOS token is to be added");
  token_bytes_ = reinterpret_cast<const char*>(data.token_bytes()->data());
  token_offsets_ = data.token_offsets()->data();
  token_types_ = data.token_types()->data();
  return verify_merges(error) && verify_start_symbols(error);
}

bool Vocabulary::verify_merges(std::string* error) {
  const fb::Vocabulary& data = *data_;
  const size_t merges = data.merge_right()->size();
  if (data.merge_rank()->size() != merges || data.merge_result()->size() != merges ||
      data.merge_rows()->size() <= size_ || !are_offsets(*data.merge_rows(), merges)) {
    return fail(error, "merge rows");
  }
  symbol_count_ = data.merge_rows()->size() - 1;
  if (!all_below(data.merge_right(), symbol_count_) ||
      !all_below(data.merge_result(), symbol_count_)) {
    return fail(error, "merge symbols");
  }
  merge_rows_ = data.merge_rows()->data();
  merge_right_ = data.merge_right()->data();
  merge_rank_ = data.merge_rank()->data();
  merge_result_ = data.merge_result()->data();
  return true;
}

bool Vocabulary::verify_start_symbols(std::string* error) {
  const fb::Vocabulary& data = *data_;
  const bool is_bpe = data.model() == fb::TokenizerModel::Bpe;
  const bool cuts_no_words = data.pre_tokenizer() == fb::PreTokenizer::None ||
                             data.pre_tokenizer() == fb::PreTokenizer::Lines;
  if (is_bpe == cuts_no_words) {
    return fail(error, "the pre-tokenizer does not fit the model");
  }
  if (length(data.byte_symbols()) != (is_bpe ? 256 : 0) ||
      !all_below(data.byte_symbols(), symbol_count_)) {
    return fail(error, "byte symbols");
  }
  if (length(data.code_points()) != length(data.code_point_symbols()) ||
      !all_below(data.code_point_symbols(), symbol_count_)) {
    return fail(error, "code point symbols");
  }
  if (data.byte_tokens()->size() != 256 ||
      std::any_of(data.byte_tokens()->begin(), data.byte_tokens()->end(),
                  [this](uint32_t id) { return id != kNone && id >= size_; })) {
    return fail(error, "byte tokens");
  }
  if (is_bpe) byte_symbols_ = data.byte_symbols()->data();
  byte_tokens_ = data.byte_tokens()->data();
  return true;
}

bool Vocabulary::find_merge(uint32_t left, uint32_t right, Merge* merge) const {
  if (left == kNone || right == kNone) return false;
  const uint32_t* begin = merge_right_ + merge_rows_[left];
  const uint32_t* end = merge_right_ + merge_rows_[left + 1];
  const uint32_t* found = std::lower_bound(begin, end, right);
  if (found == end || *found != right) return false;
  const auto index = found - merge_right_;
  *merge = {merge_rank_[index], merge_result_[index]};
  return true;
}

uint32_t Vocabulary::code_point_symbol(uint32_t code_point) const {
  const Ids* points = data_->code_points();
  if (points == nullptr) return kNone;
  const uint32_t* end = points->data() + points->size();
  const uint32_t* found = std::lower_bound(points->data(), end, code_point);
  if (found == end || *found != code_point) return kNone;
  return data_->code_point_symbols()->data()[found - points->data()];
}

uint32_t Vocabulary::find_word(std::string_view word) const {
  const Ids* words = data_->words();
  if (words == nullptr) return kNone;
  const uint32_t* end = words->data() + words->size();
  const uint32_t* found =
      std::lower_bound(words->data(), end, word,
                       [this](uint32_t id, std::string_view value) { return bytes(id) < value; });
  return found != end && bytes(*found) == word ? *found : kNone;
}

}  // namespace jllm::text

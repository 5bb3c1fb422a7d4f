#include "schema/token_pieces.h"

#include "schema/tokenizer_generated.h"
#include "schema/view.h"

namespace jllm {

Error TokenPieces::open(const uint8_t* segment, uint64_t size, Message* message) {
  message->format("the plan's tokenizer is damaged");
  // The verifier asserts the upper bound, and reading an identifier needs the lower one.
  if (size < 16 || size >= FLATBUFFERS_MAX_BUFFER_SIZE) return Error::kPlanDamaged;
  flatbuffers::Verifier verifier(segment, static_cast<size_t>(size));
  if (!fb::VerifyVocabularyBuffer(verifier)) return Error::kPlanDamaged;
  const fb::Vocabulary& data = *fb::GetVocabulary(segment);
  const uint32_t count = data.token_types()->size();
  const auto& offsets = *data.token_offsets();
  if (offsets.size() != uint64_t{count} + 1 || offsets.Get(0) != 0 ||
      offsets.Get(count) != data.token_bytes()->size()) {
    return Error::kPlanDamaged;
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (offsets.Get(i) > offsets.Get(i + 1)) return Error::kPlanDamaged;
  }
  message->format("%s", "");
  count_ = count;
  escapes_spaces_ = data.model() == fb::TokenizerModel::Spm;
  bytes_ = data.token_bytes()->data();
  offsets_ = offsets.data();
  types_ = data.token_types()->data();
  return Error::kOk;
}

uint32_t TokenPieces::piece(uint32_t id, char* out, uint32_t capacity) const {
  if (id >= count_) return 0;
  const auto type = static_cast<fb::TokenType>(types_[id]);
  const bool is_byte = type == fb::TokenType::Byte;
  if (!is_byte && type != fb::TokenType::Normal && type != fb::TokenType::UserDefined) return 0;
  uint32_t n = 0;
  for (uint32_t i = offsets_[id]; i < offsets_[id + 1]; ++n) {
    const bool is_space = escapes_spaces_ && !is_byte && offsets_[id + 1] - i >= 3 &&
                          bytes_[i] == 0xe2 && bytes_[i + 1] == 0x96 && bytes_[i + 2] == 0x81;
    if (n < capacity) out[n] = is_space ? ' ' : static_cast<char>(bytes_[i]);
    i += is_space ? 3 : 1;
  }
  return n;
}

}  // namespace jllm

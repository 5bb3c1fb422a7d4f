// The draft's fields as flat arrays, merges by their left symbols.
#include "compiler/emit/tokenizer/segment_writer.h"

#include <llvm/ADT/STLExtras.h>

#include <algorithm>
#include <string>
#include <tuple>

namespace jllm::emit {
namespace {

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

}  // namespace

std::vector<uint8_t> write_segment(Draft* mutable_draft) {
  sort_merges(&mutable_draft->merges);
  const Draft& draft = *mutable_draft;
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

}  // namespace jllm::emit

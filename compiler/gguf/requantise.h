// A model with other weights than its file has, by type or by what adapters add: to ask what that
// would take, or to compile it so.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "compiler/gguf/adapter.h"
#include "compiler/gguf/file.h"
#include "compiler/gguf/importance.h"
#include "compiler/gguf/type_mix.h"

namespace jllm::gguf {

// With every matrix in the type that the quantiser would give it, whatever the file has.
File with_mix(const File& file, const TypeMix& mix, uint32_t block_count);

// The file at `path` as a plan takes it. With a `mix` the matrices that hold floats and would have
// fewer bits get its types; others stay as they are, since quantising what was quantised before
// loses twice. kUsage for an unknown mix, or where nothing would change. TQ1_0 becomes TQ2_0, which
// kernels know, at 66 bytes for 54 and with the same values. Errors of File::open() too.
llvm::Expected<File> open_weights(llvm::StringRef path, llvm::StringRef mix = "",
                                  const OpenOptions& options = {});

// What storing one tensor in another type, or merged with adapters, has done to it: sums of squares
// over its elements.
struct Conversion {
  WeightType from, to;
  bool merged = false, weighted = false;
  uint64_t elements = 0;
  double energy = 0;  // of what was to be stored
  double change = 0;  // of what adapters have changed
  double error = 0;   // of what storing has lost
  // Of what was to be stored and was lost, weighted by importance where that is known.
  double weighted_energy = 0, weighted_error = 0;
};

// How the weights of a plan differ from the file's, and what that has cost.
struct Edits {
  std::vector<Adapter> adapters;
  std::optional<ImportanceMatrix> importance;
  std::map<std::string, Conversion> done;  // by tensor, as RowReader converts them
};

// Rows `first` .. of the `count` elements behind `offset` of a tensor, in blocks of its type: as
// they stand in the file, or converted from what it has there and merged with what `edits` (may be
// null) adds, by several threads.
class RowReader {
 public:
  RowReader(const File& file, const TensorInfo& tensor, uint64_t offset, uint64_t row,
            Edits* edits = nullptr);
  // Valid until the next call. Fails where a value is more than the type can hold.
  llvm::Expected<const uint8_t*> read(uint64_t first, uint64_t rows);

 private:
  const uint8_t* stored_row(uint64_t row) const { return stored_ + row * stored_row_bytes_; }
  // Gets ready for rows of a matrix; converts some of them; `sums` get their squares.
  void select(uint64_t matrix);
  struct Sums {
    double energy = 0, change = 0, error = 0, weighted_energy = 0, weighted_error = 0;
  };
  void convert(uint64_t first, uint64_t rows, uint8_t* out, Sums* sums) const;

  const TensorInfo& tensor_;
  WeightType stored_type_, type_;
  uint64_t row_;  // elements
  uint64_t stored_row_bytes_, row_bytes_;
  const uint8_t* stored_;
  uint64_t first_row_;       // of the whole tensor
  uint64_t rows_in_matrix_;  // the tensor may be several
  std::vector<AdapterRows> added_;
  const ImportanceMatrix* importance_ = nullptr;  // where it has the tensor
  std::vector<float> columns_;                    // of the matrix at hand; or empty
  uint64_t matrix_ = UINT64_MAX;
  Conversion* done_ = nullptr;
  std::vector<uint8_t> converted_;
};

}  // namespace jllm::gguf

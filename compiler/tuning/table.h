// Tuning tables: which variant of a matrix-vector kernel was fastest for which problem on one class
// of devices. `jllmc tune` writes them, the compiler reads them, and some are built in
// (compiler/tuning/data/*.json). docs/tuning.md describes the file.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>
#include <llvm/Support/raw_ostream.h>

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/gemv_shapes.h"

namespace jllm::tuning {

struct Entry {
  kernels::GemvProblem problem;
  kernels::GemvVariant variant;
  double us = 0;          // a whole token, with this variant
  double untuned_us = 0;  // and with the one that the cost model chooses; 0: not noted

  friend bool operator==(const Entry&, const Entry&) = default;
};

struct Table {
  // The class of devices.
  uint32_t compute_capability = 0;
  uint32_t sm_count = 0;
  std::string source;  // where, when and how it was measured
  std::vector<Entry> entries;

  bool made_for(uint32_t capability, uint32_t multiprocessors) const {
    return compute_capability == capability && sm_count == multiprocessors;
  }
  const Entry* find(const kernels::GemvProblem& problem) const;

  friend bool operator==(const Table&, const Table&) = default;
};

// kInvalidFile, naming the field, for whatever is unknown, missing or cannot be built. Errors hold
// `name`.
llvm::Expected<Table> parse(llvm::StringRef json, llvm::StringRef name);
llvm::Expected<Table> read(const std::string& path);
void write(const Table& table, llvm::raw_ostream& os);

// The built-in table of a class of devices; null when there is none.
const Table* shipped(uint32_t compute_capability, uint32_t sm_count);

// "f32", "q8", "q8r".
const char* activations_name(kernels::Activations mode);

}  // namespace jllm::tuning

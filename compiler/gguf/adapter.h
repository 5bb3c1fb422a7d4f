// LoRA adapters as llama.cpp's convert_lora_to_gguf writes them: pairs of low-rank matrices whose
// product, times a scale, is what a fine-tuning changes a weight matrix by. Hostile input like
// every GGUF: all is checked against the model before a weight is read.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compiler/gguf/file.h"

namespace jllm::gguf {

// What --lora FILE[:scale] says.
struct AdapterRequest {
  std::string path;
  double scale = 1;
};
llvm::Expected<AdapterRequest> parse_adapter(llvm::StringRef text);

class Adapter {
 public:
  // For one matrix of the model, or several of one shape where that has three dimensions: row r
  // of what is added is scale * sum over k of left[r][k] * right[k].
  struct Pair {
    const TensorInfo* left;   // rows of `rank` elements
    const TensorInfo* right;  // `rank` rows, or, transposed, rows of `rank` elements
    bool transposed;
    uint64_t rank;
    float scale;
  };

  // Errors: kInvalidFile for what is damaged, kUsage for an adapter of another model, kUnsupported
  // for what cannot be merged into weights.
  static llvm::Expected<Adapter> open(const AdapterRequest& request, const File& model);

  llvm::StringRef path() const { return file_->path(); }
  double scale() const { return scale_; }  // as asked for
  std::string scale_text() const;          // its shortest digits
  double alpha() const { return alpha_; }  // 0: the file has none
  // Names of the model's tensors with what is added to them.
  const std::map<std::string, Pair>& pairs() const { return pairs_; }
  // Norm vectors, which mergekit adds to an adapter and nothing merges.
  uint32_t ignored() const { return ignored_; }
  // Over everything that the adapter says, as hexadecimal digits.
  const std::string& sha256() const { return sha256_; }
  const File& file() const { return *file_; }

 private:
  Adapter() = default;
  llvm::Error read_header(const File& model);
  llvm::Error pair_up(const File& model);
  llvm::Error check(const std::string& name, const File& model, Pair* pair) const;
  llvm::Error read_values();

  std::unique_ptr<File> file_;
  double scale_ = 1, alpha_ = 0;
  std::map<std::string, Pair> pairs_;
  uint32_t ignored_ = 0;
  std::string sha256_;
};

// The rows that one pair adds to. Holds the right matrix as floats, the left one row at a time.
class AdapterRows {
 public:
  AdapterRows(const Adapter& adapter, const Adapter::Pair& pair, uint64_t row);
  // Which matrix of a tensor of three dimensions comes next.
  void select(uint64_t matrix);
  // Adds the pair's row to `change`. By any number of threads between two select().
  void add(uint64_t row, float* change) const;

 private:
  const Adapter& adapter_;
  Adapter::Pair pair_;
  uint64_t row_;  // elements
  uint64_t matrix_ = UINT64_MAX;
  std::vector<float> right_;  // [rank][row]
};

}  // namespace jllm::gguf

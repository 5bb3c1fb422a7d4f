// Importance matrices as llama-imatrix writes them: for each column of a weight matrix the mean
// square of what it is multiplied with, by which quantisation weighs its errors. Two formats: GGUF
// (NAME.in_sum2 beside NAME.counts) and the binary one from before. Hostile input like every model.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compiler/gguf/file.h"
#include "compiler/gguf/mapping.h"

namespace jllm::gguf {

class ImportanceMatrix {
 public:
  // kInvalidFile for what is damaged; kUsage for what is none, or is that of another model.
  static llvm::Expected<ImportanceMatrix> open(llvm::StringRef path, const File& model);

  const std::string& path() const { return path_; }
  // Matrices of the model that it knows, and names that the model does not have.
  size_t known() const { return entries_.size(); }
  const std::vector<std::string>& strangers() const { return strangers_; }
  bool has(const std::string& tensor) const { return entries_.count(tensor) > 0; }
  // Of the columns of matrix `matrix` of a tensor that has(), with a mean of 1 and none of them
  // nought: what was never seen may still be met.
  std::vector<float> columns(const std::string& tensor, uint64_t matrix) const;
  // Over the bytes of the file, as hexadecimal digits.
  const std::string& sha256() const { return sha256_; }

 private:
  // Sums of squares in the mapping: of one matrix, or of each of several.
  struct Entry {
    const uint8_t* sums = nullptr;
    const uint8_t* counts = nullptr;  // of the binary format: null
    uint64_t values = 0, count_values = 0;
    uint64_t row = 0;  // of the model's matrix
  };

  ImportanceMatrix() = default;
  llvm::Error read_binary(llvm::ArrayRef<uint8_t> bytes);
  llvm::Error read_gguf();
  llvm::Error check(const std::string& name, const Entry& entry) const;
  llvm::Error match(const File& model);

  std::string path_;
  Mapping mapping_;             // of the binary format
  std::unique_ptr<File> file_;  // of GGUF
  std::map<std::string, Entry> entries_;
  std::vector<std::string> strangers_;
  std::string sha256_;
};

}  // namespace jllm::gguf

// Writes the weight file of a split plan, or finds that it is there already: what is to be written
// is held against the files of the same model and size in the folder, and nothing is written as
// long as one of them has the same bytes.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>
#include <llvm/Support/SHA256.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compiler/support/output_file.h"

namespace jllm::emit {

// MODEL-HASH.jllmw: the GGUF's name without folder and ending, and 16 digits of the hash.
std::string weight_file_name(llvm::StringRef gguf_path, const std::array<uint8_t, 32>& sha256);

struct WrittenWeightFile {
  std::string path;
  std::array<uint8_t, 32> sha256;
  bool reused = false;  // it was there
};

class WeightFileWriter {
 public:
  // The file will lie beside the plan and be `size` bytes long.
  static llvm::Expected<WeightFileWriter> create(llvm::StringRef plan_path,
                                                 llvm::StringRef gguf_path, uint64_t size);

  llvm::Error write(llvm::ArrayRef<uint8_t> bytes);  // appends
  llvm::Error pad_to(uint64_t offset);
  llvm::Expected<WrittenWeightFile> finish();  // once, with everything written

 private:
  // A file that may turn out to be the one; closed when it goes.
  struct Candidate {
    explicit Candidate(int opened) : fd(opened) {}
    ~Candidate();
    bool matches(uint64_t offset, llvm::ArrayRef<uint8_t> bytes);
    int fd;
    std::string path;
    std::vector<uint8_t> buffer;
  };

  WeightFileWriter(std::string folder, std::string gguf_path, uint64_t size)
      : folder_(std::move(folder)), gguf_path_(std::move(gguf_path)), size_(size) {}
  void find_candidates();
  // No candidate is the one: writes what `like` has up to here, and goes on with a file.
  llvm::Error start_writing(Candidate* like);

  std::string folder_, gguf_path_;
  uint64_t size_;       // of the whole file
  uint64_t place_ = 0;  // where the next byte goes
  llvm::SHA256 hash_;
  std::vector<std::unique_ptr<Candidate>> candidates_;
  std::optional<OutputFile> file_;
};

}  // namespace jllm::emit

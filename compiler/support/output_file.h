// A file that appears whole or not at all: written under a temporary name beside the target, synced
// and renamed by commit(); removed when the object goes away or a signal ends the program before
// that.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <string>

namespace jllm {

class OutputFile {
 public:
  static llvm::Expected<OutputFile> create(llvm::StringRef path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  llvm::Error write(const void* data, uint64_t size);  // appends
  llvm::Error write_at(uint64_t offset, const void* data, uint64_t size);
  uint64_t size() const { return size_; }
  llvm::Error commit();

 private:
  OutputFile(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}
  void remove_temporary();

  std::string path_;
  std::string temporary_;
  int fd_;
  uint64_t size_ = 0;
};

}  // namespace jllm

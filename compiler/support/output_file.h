// A file that appears whole or not at all: written without a name in the target's folder (where the
// file system cannot do that, under a temporary one), synced, and renamed to the target by
// commit(). Nothing is left when the object goes away or a signal ends the program before that;
// what a program that was killed in the wrong moment did leave, the next one removes.
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
  // The same under another name, for contents that say what the file is called.
  llvm::Error commit_as(llvm::StringRef path);

 private:
  OutputFile(std::string path, std::string temporary, int fd, bool has_name)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd), has_name_(has_name) {}
  bool take_name();
  void remove_temporary();

  std::string path_;
  std::string temporary_;
  int fd_;
  bool has_name_;  // the temporary one
  uint64_t size_ = 0;
};

}  // namespace jllm

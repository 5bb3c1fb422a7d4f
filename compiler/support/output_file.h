// A NewFile as the compiler writes it: failures are errors, and a signal that ends the program
// leaves nothing.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/Error.h>

#include <cstdint>

#include "files/new_file.h"

namespace jllm {

class OutputFile {
 public:
  static llvm::Expected<OutputFile> create(llvm::StringRef path);
  OutputFile(OutputFile&& other) noexcept = default;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  llvm::Error write(const void* data, uint64_t size);  // appends
  llvm::Error write_at(uint64_t offset, const void* data, uint64_t size);
  uint64_t size() const { return size_; }
  llvm::Error commit();
  // The same under another name, for contents that say what the file is called.
  llvm::Error commit_as(llvm::StringRef path);

 private:
  explicit OutputFile(llvm::StringRef path) : file_(path.str()) {}
  llvm::Error check(FileFailure failure) const;

  NewFile file_;
  uint64_t size_ = 0;
};

}  // namespace jllm

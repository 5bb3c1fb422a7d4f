// A file that takes the place of another at once, or not at all: written beside it under a fixed
// temporary name, synced, renamed, and the folder synced. What an interrupted run left is written
// over by the next.
#pragma once

#include <cstdint>
#include <string>

#include "jllm/plan_source.h"

namespace jllm::tool {

class ReplaceFile {
 public:
  explicit ReplaceFile(const std::string& path);  // throws Failure, like the rest
  ~ReplaceFile();                                 // without commit(): the temporary file goes
  ReplaceFile(const ReplaceFile&) = delete;
  ReplaceFile& operator=(const ReplaceFile&) = delete;

  void write(uint64_t offset, const void* data, uint64_t size);
  // Bytes [offset, end) of `source`, to the same place.
  void copy(PlanSource& source, uint64_t offset, uint64_t end);
  // On disk, under the temporary name still.
  void sync();
  void commit();  // sync() and the new name

  const std::string& temporary() const { return temporary_; }

 private:
  std::string path_, temporary_;
  int fd_;
};

std::string folder_of(const std::string& path);  // with its slash; empty: the current one
// What a rename has done to the path lasts from here on.
void sync_folder(const std::string& path);
// rename(2) whose outcome lasts: the folder is synced.
void rename_and_sync(const std::string& from, const std::string& to);

}  // namespace jllm::tool

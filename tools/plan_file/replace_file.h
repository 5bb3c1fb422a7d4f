// A NewFile as the programs write it: failures are thrown. And the names of files, synced.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "files/new_file.h"
#include "jllm/plan_source.h"

namespace jllm::tool {

class ReplaceFile {
 public:
  explicit ReplaceFile(const std::string& path);  // throws Failure, like the rest
  ReplaceFile(const ReplaceFile&) = delete;
  ReplaceFile& operator=(const ReplaceFile&) = delete;

  void write(uint64_t offset, const void* data, uint64_t size);
  void append(std::string_view text);  // to what was appended before
  // Bytes [offset, end) of `source`, to the same place.
  void copy(PlanSource& source, uint64_t offset, uint64_t end);
  // On disk, without its name still.
  void sync();
  void commit();  // sync() and the name

  // Where the unfinished file can be opened.
  std::string readable_path() const { return file_.readable_path(); }

 private:
  void check(FileFailure failure) const;

  NewFile file_;
  uint64_t appended_ = 0;
};

std::string folder_of(const std::string& path);  // with its slash; empty: the current one
// What a rename has done to the path lasts from here on.
void sync_folder(const std::string& path);
// rename(2) whose outcome lasts: the folder is synced.
void rename_and_sync(const std::string& from, const std::string& to);

}  // namespace jllm::tool

// A file that appears whole or not at all: written without a name in its folder (where the file
// system cannot do that, under a temporary one of its own), synced, and renamed by commit().
// Nothing is left when the object goes away before that; what a program that was killed in the
// wrong moment did leave, the next one removes. Two programs that write to one name do not meet.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace jllm {

// What could not be done, as words behind "cannot ", with the reason in errno; null: all was done.
using FileFailure = const char*;

class NewFile {
 public:
  explicit NewFile(const std::string& path);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  // The name that the file has for a moment at least before it gets its own; empty once moved from.
  // Handlers of signals remove it.
  const std::string& temporary() const { return temporary_; }
  const std::string& path() const { return path_; }

  // To be called first, once.
  FileFailure create();
  FileFailure write_at(uint64_t offset, const void* data, uint64_t size);
  // On disk, without its name still.
  FileFailure sync();
  // Syncs and renames. The name itself lasts from sync_names() on.
  FileFailure commit();
  // The same under another name in the folder, for contents that say what the file is called.
  FileFailure commit_as(const std::string& path);
  // Where the unfinished file can be opened.
  std::string readable_path() const;

 private:
  bool take_name();
  void remove_temporary();

  std::string path_;
  std::string temporary_;
  int fd_ = -1;
  bool has_name_ = false;  // the temporary one
};

// Removes the temporary files that killed programs have left in a folder, of the targets that
// `is_target` takes by their names. Files that a program is writing stay.
void remove_leftovers(const std::string& folder,
                      const std::function<bool(const std::string& name)>& is_target);

// The folder of a path, for system calls.
std::string parent_folder(const std::string& path);
// So that the names in a folder survive a loss of power. False, with errno, where it failed; file
// systems that cannot do it count as done.
bool sync_names(const std::string& folder);

}  // namespace jllm

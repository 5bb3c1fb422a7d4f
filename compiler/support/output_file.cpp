#include "compiler/support/output_file.h"

#include <fcntl.h>
#include <llvm/Support/FileSystem.h>
#include <llvm/Support/Path.h>
#include <llvm/Support/Signals.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "compiler/support/error.h"

namespace jllm {
namespace {

constexpr char kTemporary[] = ".tmp.";  // then the process id

llvm::Error system_error(const std::string& path, const char* what) {
  const char* hint = errno == ENOSPC ? "; free some space and try again" : "";
  return fail(ExitCode::kFailed, "{0}: cannot {1}: {2}{3}", path, what, std::strerror(errno), hint);
}

// A file without a name: nothing is left of it whatever ends the program. -1 where the file system
// has none, or /proc, which is needed to name it later, is not there.
int open_nameless(const std::string& folder) {
  if (::access("/proc/self/fd", X_OK) != 0) return -1;
  return ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
}

// Programs that were killed may have left temporary files of this path.
void remove_leftovers(const std::string& folder, llvm::StringRef name) {
  const std::string prefix = name.str() + kTemporary;
  std::error_code error;
  for (llvm::sys::fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const llvm::StringRef found = llvm::sys::path::filename(entry->path());
    if (!found.startswith(prefix)) continue;
    const llvm::StringRef digits = found.drop_front(prefix.size());
    if (digits.empty() || digits.find_first_not_of("0123456789") != llvm::StringRef::npos) continue;
    const int fd = ::open(entry->path().c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) continue;
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) ::unlink(entry->path().c_str());
    ::close(fd);
  }
}

// So that the name itself survives a loss of power; not every file system can.
void sync_folder(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

std::string folder_of(const std::string& path) {
  const llvm::StringRef folder = llvm::sys::path::parent_path(path);
  return folder.empty() ? "." : folder.str();
}

}  // namespace

llvm::Expected<OutputFile> OutputFile::create(llvm::StringRef path) {
  const std::string folder = folder_of(path.str());
  remove_leftovers(folder, llvm::sys::path::filename(path));
  std::string temporary = path.str() + kTemporary + std::to_string(getpid());
  llvm::sys::RemoveFileOnSignal(temporary);  // Ctrl-C leaves nothing behind
  int fd = open_nameless(folder);
  const bool has_name = fd < 0;
  if (has_name) fd = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) {
    llvm::Error error = system_error(path.str(), "create");
    llvm::sys::DontRemoveFileOnSignal(temporary);
    return error;
  }
  ::flock(fd, LOCK_EX | LOCK_NB);  // ends with the program: what nobody holds is a leftover
  return OutputFile(path.str(), std::move(temporary), fd, has_name);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      fd_(other.fd_),
      has_name_(other.has_name_),
      size_(other.size_) {
  other.fd_ = -1;
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  remove_temporary();
}

void OutputFile::remove_temporary() {
  if (has_name_) ::unlink(temporary_.c_str());
  has_name_ = false;
  llvm::sys::DontRemoveFileOnSignal(temporary_);
}

llvm::Error OutputFile::write_at(uint64_t offset, const void* data, uint64_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  while (size > 0) {
    const ssize_t n = pwrite(fd_, bytes, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return system_error(path_, "write");
    bytes += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<uint64_t>(n);
  }
  return llvm::Error::success();
}

llvm::Error OutputFile::write(const void* data, uint64_t size) {
  if (llvm::Error error = write_at(size_, data, size)) return error;
  size_ += size;
  return llvm::Error::success();
}

// Gives a file without a name the temporary one: a link cannot replace what is there.
bool OutputFile::take_name() {
  if (has_name_) return true;
  const std::string self = "/proc/self/fd/" + std::to_string(fd_);
  ::unlink(temporary_.c_str());
  has_name_ =
      ::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, temporary_.c_str(), AT_SYMLINK_FOLLOW) == 0;
  return has_name_;
}

llvm::Error OutputFile::commit_as(llvm::StringRef path) {
  path_ = path.str();
  return commit();
}

llvm::Error OutputFile::commit() {
  if (fsync(fd_) != 0) return system_error(path_, "sync");
  if (!take_name()) return system_error(path_, "name the finished file");
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    llvm::Error error = system_error(path_, "rename the finished file to");
    remove_temporary();
    return error;
  }
  ::close(fd_);  // with the lock, and not before the file has its name; its bytes are on disk
  fd_ = -1;
  llvm::sys::DontRemoveFileOnSignal(temporary_);
  sync_folder(folder_of(path_));
  return llvm::Error::success();
}

}  // namespace jllm

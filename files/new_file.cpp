#include "files/new_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

namespace jllm {
namespace {

constexpr char kTemporary[] = ".tmp.";  // then a random number

std::string random_digits() {
  uint64_t number = 0;
  if (::getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number) {
    number = static_cast<uint64_t>(::getpid());  // too early in the boot
  }
  return std::to_string(number);
}

// A file without a name: nothing is left of it whatever ends the program. -1 where the file system
// has none, or /proc, which is needed to name it later, is not there.
int open_nameless(const std::string& folder) {
  if (::access("/proc/self/fd", X_OK) != 0) return -1;
  return ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
}

std::string proc_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

}  // namespace

std::string parent_folder(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

bool sync_names(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno == EACCES;  // who may write to it but not read it cannot
  const bool synced = ::fsync(fd) == 0 || errno == EINVAL;
  const int reason = errno;
  ::close(fd);
  errno = reason;
  return synced;
}

void remove_leftovers(const std::string& folder,
                      const std::function<bool(const std::string& name)>& is_target) {
  DIR* const entries = ::opendir(folder.c_str());
  if (entries == nullptr) return;
  while (const dirent* entry = ::readdir(entries)) {
    const std::string name = entry->d_name;
    const size_t end = name.rfind(kTemporary);
    if (end == std::string::npos || !is_target(name.substr(0, end))) continue;
    const std::string digits = name.substr(end + sizeof kTemporary - 1);
    if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string path = folder + "/" + name;
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) continue;
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) ::unlink(path.c_str());
    ::close(fd);
  }
  ::closedir(entries);
}

NewFile::NewFile(const std::string& path)
    : path_(path), temporary_(path + kTemporary + random_digits()) {}

NewFile::NewFile(NewFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, "")),
      fd_(std::exchange(other.fd_, -1)),
      has_name_(std::exchange(other.has_name_, false)) {}

NewFile::~NewFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  remove_temporary();
}

void NewFile::remove_temporary() {
  if (has_name_) ::unlink(temporary_.c_str());
  has_name_ = false;
}

FileFailure NewFile::create() {
  const std::string folder = parent_folder(path_);
  const std::string name = path_.substr(path_.rfind('/') + 1);
  remove_leftovers(folder, [&](const std::string& target) { return target == name; });
  fd_ = open_nameless(folder);
  if (fd_ < 0) {
    fd_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    has_name_ = fd_ >= 0;
  }
  if (fd_ < 0) return "create";
  ::flock(fd_, LOCK_EX | LOCK_NB);  // ends with the program: what nobody holds is a leftover
  return nullptr;
}

FileFailure NewFile::write_at(uint64_t offset, const void* data, uint64_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  while (size > 0) {
    const ssize_t n = ::pwrite(fd_, bytes, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return "write";
    bytes += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<uint64_t>(n);
  }
  return nullptr;
}

FileFailure NewFile::sync() { return ::fsync(fd_) == 0 ? nullptr : "sync"; }

std::string NewFile::readable_path() const { return has_name_ ? temporary_ : proc_path(fd_); }

// Gives a file without a name the temporary one: a link cannot replace what is there.
bool NewFile::take_name() {
  if (has_name_) return true;
  has_name_ = ::linkat(AT_FDCWD, proc_path(fd_).c_str(), AT_FDCWD, temporary_.c_str(),
                       AT_SYMLINK_FOLLOW) == 0;
  return has_name_;
}

FileFailure NewFile::commit() {
  if (const FileFailure failure = sync()) return failure;
  if (!take_name()) return "name the finished file";
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int reason = errno;
    remove_temporary();
    errno = reason;
    return "rename the finished file to";
  }
  has_name_ = false;
  ::close(fd_);  // with the lock, and not before the file has its name; its bytes are on disk
  fd_ = -1;
  return nullptr;
}

FileFailure NewFile::commit_as(const std::string& path) {
  path_ = path;
  return commit();
}

}  // namespace jllm

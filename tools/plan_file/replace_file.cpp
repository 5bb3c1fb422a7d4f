#include "tools/plan_file/replace_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "tools/plan_file/failure.h"

namespace jllm::tool {
namespace {

[[noreturn]] void fail(const std::string& path, const char* what) {
  const char* hint = errno == ENOSPC ? "; free some space and try again" : "";
  throw Failure(kFailed, path + ": cannot " + what + ": " + std::strerror(errno) + hint);
}

}  // namespace

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

void rename_and_sync(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) fail(to, "be replaced");
  sync_folder(to);
}

void sync_folder(const std::string& path) {
  const std::string folder = folder_of(path);
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail(folder, "open");
  const int synced = fsync(fd);
  ::close(fd);
  if (synced != 0 && errno != EINVAL) fail(folder, "sync");  // EINVAL: this file system cannot
}

ReplaceFile::ReplaceFile(const std::string& path) : path_(path), temporary_(path + ".new") {
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail(temporary_, "create");
}

ReplaceFile::~ReplaceFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void ReplaceFile::write(uint64_t offset, const void* data, uint64_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  while (size > 0) {
    const ssize_t n = pwrite(fd_, bytes, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail(temporary_, "write");
    bytes += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<uint64_t>(n);
  }
}

void ReplaceFile::copy(PlanSource& source, uint64_t offset, uint64_t end) {
  std::vector<uint8_t> piece(1u << 20);
  for (uint64_t n = 0; offset < end; offset += n) {
    n = std::min<uint64_t>(piece.size(), end - offset);
    if (source.read(offset, n, piece.data()) != Error::kOk)
      throw Failure(kFailed, "what is to become " + path_ + " cannot be read");
    write(offset, piece.data(), n);
  }
}

void ReplaceFile::sync() {
  if (fsync(fd_) != 0) fail(temporary_, "sync");
}

void ReplaceFile::commit() {
  sync();
  rename_and_sync(temporary_, path_);
  ::close(fd_);
  fd_ = -1;
}

}  // namespace jllm::tool

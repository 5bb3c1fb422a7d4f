#include "jllm/plan_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "schema/checked_math.h"

namespace jllm {

FileSource::~FileSource() {
  if (fd_ >= 0) ::close(fd_);
}

Error FileSource::open(const char* path, Message* message) {
  fd_ = ::open(path, O_RDONLY | O_CLOEXEC);
  struct stat info = {};
  if (fd_ < 0 || fstat(fd_, &info) != 0) {
    message->format("%s: %s", path, strerror(errno));
    return Error::kReadFailed;
  }
  if (!S_ISREG(info.st_mode)) {
    message->format("%s: not a regular file", path);
    return Error::kReadFailed;
  }
  size_ = static_cast<uint64_t>(info.st_size);
  modified_seconds_ = info.st_mtim.tv_sec;
  modified_nanoseconds_ = info.st_mtim.tv_nsec;
  return Error::kOk;
}

bool FileSource::has_changed() const {
  struct stat info = {};
  return fstat(fd_, &info) != 0 || static_cast<uint64_t>(info.st_size) != size_ ||
         info.st_mtim.tv_sec != modified_seconds_ || info.st_mtim.tv_nsec != modified_nanoseconds_;
}

Error FileSource::read(uint64_t offset, uint64_t size, void* dst) {
  auto* out = static_cast<uint8_t*>(dst);
  const uint64_t first = offset;
  while (size > 0) {
    const ssize_t n = pread(fd_, out, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error::kReadFailed;
    out += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<uint64_t>(n);
  }
  posix_fadvise(fd_, static_cast<off_t>(first), static_cast<off_t>(offset - first),
                POSIX_FADV_DONTNEED);
  return has_changed() ? Error::kReadFailed : Error::kOk;
}

Error MemorySource::read(uint64_t offset, uint64_t size, void* dst) {
  if (!range_inside(offset, size, size_)) return Error::kReadFailed;
  memcpy(dst, data_ + offset, size);
  return Error::kOk;
}

}  // namespace jllm

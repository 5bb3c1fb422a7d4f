// Mapping files with the system calls themselves: LLVM's wrapper cannot release pages.
#include "compiler/gguf/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "compiler/gguf/watch.h"
#include "compiler/support/error.h"
#include "schema/checked_math.h"

namespace jllm::gguf {
namespace {

llvm::Error system_error(llvm::StringRef path, const char* action) {
  const int code = errno;
  return fail(ExitCode::kFailed, "{0}: cannot {1}: {2}", path, action,
              std::generic_category().message(code));
}

}  // namespace

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      watched_(std::exchange(other.watched_, nullptr)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(watched_, other.watched_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ == nullptr) return;
  unwatch(watched_);
  ::munmap(const_cast<uint8_t*>(data_), size_);
}

llvm::Expected<Mapping> Mapping::open(llvm::StringRef path) {
  // O_NONBLOCK: opening a FIFO must be refused below, not wait for a writer.
  const int fd = ::open(path.str().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return system_error(path, "open");
  struct stat info;
  if (::fstat(fd, &info) != 0) {
    llvm::Error error = system_error(path, "read the file's size");
    ::close(fd);
    return error;
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return fail(ExitCode::kFailed, "{0}: is not a regular file; name a .gguf file", path);
  }
  Mapping mapping;
  if (info.st_size == 0) {
    ::close(fd);
    return mapping;
  }
  const auto size = static_cast<uint64_t>(info.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) {
    llvm::Error error = system_error(path, "map the file into memory");
    ::close(fd);
    return error;
  }
  mapping.data_ = static_cast<const uint8_t*>(data);
  mapping.size_ = size;
  mapping.watched_ = watch(path, fd, info, mapping.bytes());
  return mapping;
}

void Mapping::release(uint64_t offset, uint64_t size) const {
  if (size == 0 || !range_inside(offset, size, size_)) return;
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t begin = offset & ~(page - 1);
  // Only a hint: when it fails, the pages just stay.
  ::madvise(const_cast<uint8_t*>(data_) + begin, offset + size - begin, MADV_DONTNEED);
}

}  // namespace jllm::gguf

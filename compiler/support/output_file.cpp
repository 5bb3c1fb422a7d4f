#include "compiler/support/output_file.h"

#include <fcntl.h>
#include <llvm/Support/Signals.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "compiler/support/error.h"

namespace jllm {
namespace {

llvm::Error system_error(const std::string& path, const char* what) {
  const char* hint = errno == ENOSPC ? "; free some space and try again" : "";
  return fail(ExitCode::kFailed, "{0}: cannot {1}: {2}{3}", path, what, std::strerror(errno), hint);
}

}  // namespace

llvm::Expected<OutputFile> OutputFile::create(llvm::StringRef path) {
  std::string temporary = path.str() + ".tmp." + std::to_string(getpid());
  llvm::sys::RemoveFileOnSignal(temporary);  // Ctrl-C leaves nothing behind
  const int fd = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) {
    llvm::Error error = system_error(path.str(), "create");
    llvm::sys::DontRemoveFileOnSignal(temporary);
    return error;
  }
  return OutputFile(path.str(), std::move(temporary), fd);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      fd_(other.fd_),
      size_(other.size_) {
  other.fd_ = -1;
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  remove_temporary();
}

void OutputFile::remove_temporary() {
  ::unlink(temporary_.c_str());
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

llvm::Error OutputFile::commit() {
  if (fsync(fd_) != 0) return system_error(path_, "sync");
  if (::close(fd_) != 0) {
    fd_ = -1;
    llvm::Error error = system_error(path_, "close");
    remove_temporary();
    return error;
  }
  fd_ = -1;
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    llvm::Error error = system_error(path_, "rename the finished file to");
    remove_temporary();
    return error;
  }
  llvm::sys::DontRemoveFileOnSignal(temporary_);
  return llvm::Error::success();
}

}  // namespace jllm

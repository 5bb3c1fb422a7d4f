#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

namespace jllm::fuzz {

InputFile::InputFile(const uint8_t* data, size_t size) : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
  JLLM_FUZZ_CHECK(fd_ >= 0);
  for (size_t at = 0; at < size;) {
    const ssize_t n = ::write(fd_, data + at, size - at);
    JLLM_FUZZ_CHECK(n > 0);
    at += static_cast<size_t>(n);
  }
  path_ = "/proc/self/fd/" + std::to_string(fd_);
}

InputFile::~InputFile() { ::close(fd_); }

std::string base_path(const std::string& name) {
  return std::string(JLLM_FUZZ_DIR) + "/bases/" + name;
}

std::vector<uint8_t> base_file(const std::string& name) {
  std::ifstream in(base_path(name), std::ios::binary);
  JLLM_FUZZ_CHECK(in.good());
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace jllm::fuzz

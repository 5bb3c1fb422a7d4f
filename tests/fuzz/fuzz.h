// What the fuzz targets share. Each target is one function over bytes; with clang it is driven by
// libFuzzer, elsewhere replay.cpp runs it over files, which every test run does with the corpora.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

// A promise that the code under test must keep for whatever input.
#define JLLM_FUZZ_CHECK(promise)                                                         \
  do {                                                                                   \
    if (!(promise)) {                                                                    \
      std::fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #promise); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)

namespace jllm::fuzz {

// A block of exactly the input's size at a multiple of 64 bytes, so that AddressSanitizer sees any
// read behind it.
class AlignedCopy {
 public:
  AlignedCopy(const uint8_t* data, size_t size) : size_(size) {
    void* block = nullptr;
    if (posix_memalign(&block, 64, size > 0 ? size : 1) != 0) std::abort();
    bytes_ = static_cast<uint8_t*>(block);
    if (size > 0) std::memcpy(bytes_, data, size);
  }
  ~AlignedCopy() { std::free(bytes_); }
  AlignedCopy(const AlignedCopy&) = delete;
  AlignedCopy& operator=(const AlignedCopy&) = delete;
  uint8_t* data() const { return bytes_; }
  size_t size() const { return size_; }

 private:
  uint8_t* bytes_;
  size_t size_;
};

// The input as a file, for readers that take a path.
class InputFile {
 public:
  InputFile(const uint8_t* data, size_t size);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  int fd_;
  std::string path_;
};

// A file of tests/fuzz/bases, which targets build on.
std::vector<uint8_t> base_file(const std::string& name);
std::string base_path(const std::string& name);

}  // namespace jllm::fuzz

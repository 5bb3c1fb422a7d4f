// The machine's GPU for tests: buffers with guard zones, and kernels that are compiled when first
// asked for. Every failing driver call ends the test program: nothing after it could be trusted.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "executor/src/cuda/driver_api.h"
#include "kernels/catalogue.h"

namespace jllm::test {

// Why there is no GPU to test on; empty when there is one.
const std::string& no_gpu_reason();

#define JLLM_NEEDS_GPU() \
  if (!no_gpu_reason().empty()) GTEST_SKIP() << no_gpu_reason()

uint32_t sm_count();

// Device memory with guard zones before and behind; all of it filled with 0xff bytes at first,
// which as floats are NaNs, so that what a kernel forgets to write shows.
class Buffer {
 public:
  explicit Buffer(size_t bytes);
  template <typename T>
  explicit Buffer(const std::vector<T>& data) : Buffer(data.size() * sizeof(T)) {
    write(data.data(), bytes_);
  }
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  cuda::DevicePtr address() const { return base_ + kGuard; }
  size_t bytes() const { return bytes_; }
  void write(const void* data, size_t bytes);
  void read(void* data) const;  // also checks that the guard zones are intact

  template <typename T = float>
  std::vector<T> values() const {
    std::vector<T> out(bytes_ / sizeof(T));
    read(out.data());
    return out;
  }

 private:
  static constexpr size_t kGuard = 4096;
  size_t bytes_;
  cuda::DevicePtr base_ = 0;
};

// One kernel argument: a buffer's address or a 32-bit number.
struct Argument {
  Argument(const Buffer& buffer) : bits(buffer.address()) {}
  Argument(uint32_t value) : bits(value) {}
  uint64_t bits;
};

// Compiles kernels/device/<kernel>.cu with these macros (NAME=VALUE), unless that was done before,
// launches it and waits. A failing compilation is a test failure.
void launch(const std::string& kernel, const std::vector<std::string>& defines,
            const kernels::LaunchShape& shape, const std::vector<Argument>& arguments);

}  // namespace jllm::test

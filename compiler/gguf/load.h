// Values of files at addresses of any alignment.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace jllm::gguf {

static_assert(std::endian::native == std::endian::little, "GGUF values are read in place");

// Value of type T at an address of any alignment.
template <typename T>
T load(const uint8_t* address) {
  T value;
  std::memcpy(&value, address, sizeof(T));
  return value;
}

}  // namespace jllm::gguf

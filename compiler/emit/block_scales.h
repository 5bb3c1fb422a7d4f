// The packed scales of GGUF blocks that both layouts of a plan hold one to a byte.
#pragma once

#include <cstdint>

namespace jllm {

// Scale j of 16 of a Q3_K block, signed: low halves in 8 bytes, upper two bits in 4 more.
inline uint8_t q3_k_scale(const uint8_t* block, int j) {
  const uint8_t* packed = block + 96;
  const int low = packed[j % 8] >> (j / 8 * 4) & 15, high = packed[8 + j % 4] >> (j / 4 * 2) & 3;
  return static_cast<uint8_t>((low | high << 4) - 32);
}

// Scale j of 8 of an IQ4_XS block, signed: upper two bits in a u16, low halves in 4 bytes.
inline uint8_t iq4_xs_scale(const uint8_t* block, int j) {
  const int high = (block[2] | block[3] << 8) >> 2 * j & 3, low = block[4 + j / 2] >> (j % 2 * 4);
  return static_cast<uint8_t>(((low & 15) | high << 4) - 32);
}

}  // namespace jllm

// How stored integers and scales become what both kinds of products take: bits spread over bytes,
// nibbles looked up in a table, exponents.
#pragma once

#include "kernels/device/common.cuh"
#include "schema/row_layout.h"

namespace jllm::device {

// 2^(exponent - 128), a subnormal for the exponents 0 and 1.
JLLM_DEVICE float power_of_two(unsigned exponent) {
  return bits_to_float(exponent < 2 ? 0x200000u << exponent : (exponent - 1) << 23);
}

// Four bits, the lowest first, in bit kBit of each byte: the product puts copies of them at
// distances of 7, so that bit j meets byte j.
template <unsigned kBit>
JLLM_DEVICE unsigned spread_bits(unsigned bits) {
  return ((bits & 0xfu) * (0x00204081u << kBit)) & (0x01010101u << kBit);
}

// Entries 4 i .. + 3 of the table of a type (nibble_value), as bytes.
template <unsigned kType>
constexpr unsigned nibble_table_word(unsigned i) {
  unsigned word = 0;
  for (unsigned j = 0; j < 4; ++j) {
    word |= (unsigned)(unsigned char)nibble_value(kType, 4 * i + j) << (8 * j);
  }
  return word;
}

// The entries of four nibbles, the lowest first: a permutation selects among eight bytes by three
// bits, and another between both halves of the table by the fourth.
template <unsigned kType>
JLLM_DEVICE unsigned look_up_four(unsigned nibbles) {
  constexpr unsigned kA = nibble_table_word<kType>(0), kB = nibble_table_word<kType>(1),
                     kC = nibble_table_word<kType>(2), kD = nibble_table_word<kType>(3);
  const unsigned index = nibbles & 0x7777u;
  return __byte_perm(__byte_perm(kA, kB, index), __byte_perm(kC, kD, index),
                     (nibbles >> 1 & 0x4444u) | 0x3210u);
}

// The entries of the low halves and of the high halves of four bytes.
template <unsigned kType>
JLLM_DEVICE void look_up(unsigned word, unsigned* low, unsigned* high) {
  const unsigned first = look_up_four<kType>(word), second = look_up_four<kType>(word >> 16);
  *low = __byte_perm(first, second, 0x6420u);
  *high = __byte_perm(first, second, 0x7531u);
}

}  // namespace jllm::device

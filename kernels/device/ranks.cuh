// The order of logits, as integers: the sampler selects by it, and the head keeps the largest of
// each block.
#pragma once

#include "kernels/device/common.cuh"

namespace jllm::device {

using U64 = unsigned long long;

// Larger logits have larger keys; no logit has key 0; zeros of both signs are the same. NaN of
// positive sign outranks infinity.
JLLM_DEVICE unsigned key_of(float logit) {
  const unsigned bits = float_to_bits(logit + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The logit or score that has this key.
JLLM_DEVICE float value_of(unsigned key) {
  return bits_to_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

// Key and id of a logit in one number: of equal logits the lowest id is the largest.
JLLM_DEVICE U64 rank_of(float logit, unsigned id) {
  return (U64)key_of(logit) << 32 | (0xffffffffu - id);
}
constexpr U64 kNanRank = ~0ull;  // beyond every logit's
JLLM_DEVICE float logit_of(U64 rank) { return value_of((unsigned)(rank >> 32)); }
JLLM_DEVICE unsigned id_of(U64 rank) { return 0xffffffffu - (unsigned)rank; }

JLLM_DEVICE U64 warp_max(U64 value) {
#pragma unroll
  for (unsigned step = kWarp / 2; step > 0; step /= 2) {
    const U64 other = __shfl_xor_sync(kAllLanes, value, step);
    if (other > value) value = other;
  }
  return value;
}

}  // namespace jllm::device

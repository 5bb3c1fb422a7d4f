// What the attention kernels do with a score between the dot product and the softmax: scale,
// softcap and sliding window. Scores are kept in units of ln 2, for exp2.
#pragma once

#include "kernels/device/common.cuh"

// Positions that a query sees, its own the last; 0: all.
#ifndef WINDOW
#define WINDOW 0
#endif
// Limit of the scores; 0: none.
#ifndef SOFTCAP_BITS
#define SOFTCAP_BITS 0
#endif

namespace jllm::device {

constexpr bool kHasSoftcap = SOFTCAP_BITS != 0;

// Factor on the queries.
JLLM_DEVICE float query_factor() {
  const float scale = bits_to_float(SCALE_BITS);
  return kHasSoftcap ? scale / bits_to_float(SOFTCAP_BITS) : scale * kLog2E;
}

// The score of a dot product with a query so multiplied.
JLLM_DEVICE float score_of(float dot) {
  return kHasSoftcap ? bits_to_float(SOFTCAP_BITS) * kLog2E * tanhf(dot) : dot;
}

// First position that a query sees whose own is the last of `length`.
JLLM_DEVICE unsigned first_visible(unsigned length) {
  return WINDOW != 0 && length > WINDOW ? length - WINDOW : 0;
}

}  // namespace jllm::device

// What every kernel shares: number formats, activation functions, warp and block reductions, the
// state of a step, rotary embedding. Macro names of kernel constants (K, N, TYPE, ...) are
// upper-case: no identifier in a header may be.
#pragma once

#include "kernels/device/ptx.cuh"
#include "schema/functions.h"
#include "schema/step_state.h"

namespace jllm::device {

constexpr unsigned round_up(unsigned value, unsigned multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// --- Bits and number formats ---

JLLM_DEVICE float bits_to_float(unsigned bits) { return __uint_as_float(bits); }
JLLM_DEVICE unsigned float_to_bits(float value) { return __float_as_uint(value); }

JLLM_DEVICE float low_half(unsigned pair) { return half_to_float((unsigned short)pair); }
JLLM_DEVICE float high_half(unsigned pair) { return half_to_float((unsigned short)(pair >> 16)); }
JLLM_DEVICE float low_bfloat(unsigned pair) { return bits_to_float(pair << 16); }
JLLM_DEVICE float high_bfloat(unsigned pair) { return bits_to_float(pair & 0xffff0000u); }

// Byte `kByte` (0..255) of a word as value - offset, exactly. The byte becomes the last mantissa
// bits of 2^23, which costs one permute and one addition where a conversion would take a slow unit.
template <unsigned kByte>
JLLM_DEVICE float byte_minus(unsigned word, float offset) {
  return bits_to_float(__byte_perm(word, 0x4b000000u, 0x7440u | kByte)) - (8388608.0f + offset);
}

// a * b + c * d, rounded in one way: left to itself, the compiler joins an addition with either
// product, and two builds of a kernel may differ.
JLLM_DEVICE float sum_of_products(float a, float b, float c, float d) {
  return __fmaf_rn(a, b, __fmul_rn(c, d));
}

constexpr float kLog2E = 1.44269504f;

// --- Functions of schema/functions.h ---

JLLM_DEVICE float silu(float value) { return value / (1.0f + expf(-value)); }

// tanh(u) = 2 / (1 + exp(-2u)) - 1, which leaves value / (1 + exp(-2u)) without a difference.
JLLM_DEVICE float gelu(float value) {
  constexpr float kTwiceRoot = 1.59576912f;  // 2 sqrt(2 / pi)
  return value / (1.0f + expf(-kTwiceRoot * value * (1.0f + 0.044715f * value * value)));
}

template <unsigned kFunction>
JLLM_DEVICE float activate(float value) {
  static_assert(kFunction == kSilu || kFunction == kGelu);
  return kFunction == kGelu ? gelu(value) : silu(value);
}

JLLM_DEVICE float softcap(float value, float limit) { return limit * tanhf(value / limit); }

// --- Reductions, in a fixed order ---

JLLM_DEVICE float warp_sum(float value) {
#pragma unroll
  for (unsigned step = kWarp / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, step);
  }
  return value;
}

JLLM_DEVICE float warp_max(float value) {
#pragma unroll
  for (unsigned step = kWarp / 2; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

// Sum over the block, returned to every thread. `scratch` holds one float per warp and must not be
// in use before the call; it may be reused after the next barrier.
JLLM_DEVICE float block_sum(float value, float* scratch) {
  value = warp_sum(value);
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = value;
  __syncthreads();
  float sum = 0.0f;
  for (unsigned warp = 0; warp < blockDim.x / kWarp; ++warp) sum += scratch[warp];
  return sum;
}

// 1 / sqrt(mean + epsilon) of `length` squares.
JLLM_DEVICE float rms_factor(float sum_of_squares, unsigned length, unsigned epsilon_bits) {
  return 1.0f / sqrtf(sum_of_squares / (float)length + bits_to_float(epsilon_bits));
}

// --- Per-token state ---

// Rows of this replay that carry tokens: may be 0.
JLLM_DEVICE unsigned token_rows(const StepState* state, unsigned rows) {
  const unsigned left = state->count > state->position ? state->count - state->position : 0;
  return left < rows ? left : rows;
}

// Rows worth computing. At least one: the head runs on a single row after the chunk's tokens were
// consumed.
JLLM_DEVICE unsigned compute_rows(const StepState* state, unsigned rows) {
  const unsigned valid = token_rows(state, rows);
  return valid > 0 ? valid : 1;
}

// --- Whose rows they are ---

// Macro BATCH: rows are those of several sequences, one of each, and not of one that follow each
// other.
#ifndef BATCH
#define BATCH 0
#endif

#if BATCH

// Row r belongs to the sequence in slot batch->slots[r]. What belongs to a slot lies a stride, in
// bytes, behind that of the slot before.
struct Sequences {
  const StepState* states;  // of slot 0
  const Batch* batch;
  unsigned long long stride;  // of all that lies in the state's arena

  JLLM_DEVICE bool has_token(unsigned row, unsigned) const { return row < batch->rows.count; }
  JLLM_DEVICE unsigned long long slot(unsigned row) const { return batch->slots[row]; }
  template <typename T>
  JLLM_DEVICE T* own(T* of_slot_0, unsigned row) const {
    return behind(of_slot_0, row, stride);
  }
  // The same in another arena.
  template <typename T>
  JLLM_DEVICE T* behind(T* of_slot_0, unsigned row, unsigned long long arena_stride) const {
    return (T*)((unsigned long long)of_slot_0 + slot(row) * arena_stride);
  }
  JLLM_DEVICE unsigned position(unsigned row) const { return own(states, row)->position; }
};
#define JLLM_SEQUENCES const StepState *states, const Batch *batch, unsigned long long state_stride
#define JLLM_SEQUENCES_HERE \
  { states, batch, state_stride }

#else

struct Sequences {
  const StepState* state;

  // `rows`: of the replay.
  JLLM_DEVICE bool has_token(unsigned row, unsigned rows) const {
    return row < token_rows(state, rows);
  }
  template <typename T>
  JLLM_DEVICE T* own(T* of_slot_0, unsigned) const {
    return of_slot_0;
  }
  JLLM_DEVICE unsigned position(unsigned row) const { return state->position + row; }
};
#define JLLM_SEQUENCES const StepState* state
#define JLLM_SEQUENCES_HERE \
  { state }

#endif

// --- Rotary embedding ---

// Sine and cosine of an angle of any size that positions reach. The reduction is done in double,
// where it is exact enough in one step; the series are the Taylor polynomials, good to 2e-9 on
// [-pi/4, pi/4].
JLLM_DEVICE void sin_cos(float angle, float* sine, float* cosine) {
  const int quadrant = __double2int_rn((double)angle * 0.63661977236758134);
  const float r = (float)((double)angle - (double)quadrant * 1.5707963267948966);
  const float r2 = r * r;
  const float s =
      r + r * r2 * (-1.0f / 6 + r2 * (1.0f / 120 + r2 * (-1.0f / 5040 + r2 * (1.0f / 362880))));
  const float c =
      1.0f + r2 * (-0.5f + r2 * (1.0f / 24 +
                                 r2 * (-1.0f / 720 + r2 * (1.0f / 40320 - r2 * (1.0f / 3628800)))));
  const float a = quadrant & 1 ? c : s, b = quadrant & 1 ? s : c;
  *sine = quadrant & 2 ? -a : a;
  *cosine = (quadrant + 1) & 2 ? -b : b;
}

// Rotates (first, second) by position * frequency. The angle is the f32 product: models were
// trained so.
JLLM_DEVICE void rotate(float* first, float* second, unsigned position, float frequency,
                        float magnitude) {
  float s, c;
  sin_cos((float)position * frequency, &s, &c);
  s *= magnitude;
  c *= magnitude;
  const float x = *first, y = *second;
  *first = sum_of_products(x, c, -y, s);
  *second = sum_of_products(x, s, y, c);
}

// Elements of pair `pair` (< head_dim / 2) of a head: the rotated pairs come first, then what is
// left of the head in twos.
JLLM_DEVICE void pair_elements(unsigned pair, unsigned pairs, bool neox, unsigned* first,
                               unsigned* second) {
  const bool split = neox && pair < pairs;
  *first = split ? pair : 2 * pair;
  *second = split ? pair + pairs : 2 * pair + 1;
}

}  // namespace jllm::device

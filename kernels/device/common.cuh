// What every kernel shares: vector types, memory access, number formats, warp and block reductions.
// All assembly and intrinsics of the device sources are behind the functions of this header, so
// that a plain C++ build needs to replace only them. Macro names of kernel constants (K, N, TYPE,
// ...) are upper-case: no identifier in a header may be.
#pragma once

#include "schema/functions.h"
#include "schema/step_state.h"

#define JLLM_DEVICE __device__ __forceinline__

namespace jllm::device {

using Bytes = unsigned char;

constexpr unsigned kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

struct alignas(16) Uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) Uint2 {
  unsigned x, y;
};
struct alignas(16) Float4 {
  float x, y, z, w;
};

constexpr unsigned round_up(unsigned value, unsigned multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// --- Bits and number formats ---

JLLM_DEVICE float bits_to_float(unsigned bits) { return __uint_as_float(bits); }
JLLM_DEVICE unsigned float_to_bits(float value) { return __float_as_uint(value); }

JLLM_DEVICE float half_to_float(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

// Round to nearest even; infinity beyond the range.
JLLM_DEVICE unsigned short float_to_half(float value) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

// Two halves in one word, `low` in the low one.
JLLM_DEVICE unsigned floats_to_half2(float low, float high) {
  unsigned bits;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}
JLLM_DEVICE unsigned floats_to_bfloat2(float low, float high) {
  unsigned bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

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

JLLM_DEVICE float exp2_approx(float value) {
  float out;
  asm("ex2.approx.f32 %0, %1;" : "=f"(out) : "f"(value));
  return out;
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

// --- Memory ---

// Weights: read once, through the non-coherent path, past L1. Never for what a kernel has written.
// Volatile, because loads stand where latency is hidden: far ahead of their use.
JLLM_DEVICE Uint4 load_weights(const void* at) {
  Uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(at));
  return v;
}
JLLM_DEVICE Uint2 load_weights8(const void* at) {
  Uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
               : "=r"(v.x), "=r"(v.y)
               : "l"(at));
  return v;
}
JLLM_DEVICE unsigned load_weights4(const void* at) {
  unsigned v;
  asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(v) : "l"(at));
  return v;
}
JLLM_DEVICE unsigned short load_weights2(const void* at) {
  unsigned short v;
  asm volatile("ld.global.nc.u16 %0, [%1];" : "=h"(v) : "l"(at));
  return v;
}
JLLM_DEVICE unsigned load_weights1(const void* at) {
  unsigned v;
  asm volatile("ld.global.nc.u8 %0, [%1];" : "=r"(v) : "l"(at));
  return v;
}

JLLM_DEVICE void prefetch_l2(const void* at) { asm volatile("prefetch.global.L2 [%0];" ::"l"(at)); }

// Past L1: for data that other blocks of the same launch have written, or an earlier kernel that
// this one may overlap.
JLLM_DEVICE float load_shared_across_blocks(const float* at) {
  float v;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(at) : "memory");
  return v;
}
JLLM_DEVICE Float4 load_shared_across_blocks(const Float4* at) {
  Float4 v;
  asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(at)
               : "memory");
  return v;
}

JLLM_DEVICE Uint4 load_shared_across_blocks(const Uint4* at) {
  Uint4 v;
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(at)
               : "memory");
  return v;
}
JLLM_DEVICE Uint2 load_shared_across_blocks(const Uint2* at) {
  Uint2 v;
  asm volatile("ld.global.cg.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(at) : "memory");
  return v;
}
JLLM_DEVICE unsigned load_shared_across_blocks(const unsigned* at) {
  unsigned v;
  asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(v) : "l"(at) : "memory");
  return v;
}
JLLM_DEVICE unsigned short load_shared_across_blocks(const unsigned short* at) {
  unsigned short v;
  asm volatile("ld.global.cg.u16 %0, [%1];" : "=h"(v) : "l"(at) : "memory");
  return v;
}

// Takes one of `count` tickets, which are then all there again; returns whether it was the last.
// What the block has written before the barrier before is seen by whoever takes a later ticket.
JLLM_DEVICE bool take_ticket(unsigned* tickets, unsigned count) {
  unsigned taken;
  asm volatile("atom.inc.acq_rel.gpu.global.u32 %0, [%1], %2;"
               : "=r"(taken)
               : "l"(tickets), "r"(count - 1)
               : "memory");
  return taken == count - 1;
}

// Publishes `value` to the host after everything that this thread has written.
JLLM_DEVICE void store_release_system(unsigned* at, unsigned value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}

// --- Overlap with the kernel before (PROGRAMMATIC = 1, sm_90 and later) ---
// Such a kernel may start while its predecessor still runs. It lets its own successor start at
// once, loads weights and other constants, and calls wait_for_inputs() before it reads anything
// that a kernel has written, writes anything, or ends: in every block, so that a kernel's end
// implies that of all before it.
#ifndef PROGRAMMATIC
#define PROGRAMMATIC 0
#endif

JLLM_DEVICE void release_successor() {
#if PROGRAMMATIC
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
JLLM_DEVICE void wait_for_inputs() {
#if PROGRAMMATIC
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

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

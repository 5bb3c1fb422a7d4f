// kernels/device/ptx.cuh for the host: the same functions in plain C++. Where the hardware rounds
// once, so does this; sums of matrix products are exact until they are rounded at the end.
#pragma once

#include "kernels/device/types.cuh"

namespace jllm::device {

// --- Number formats ---

JLLM_DEVICE float half_to_float(unsigned short bits) {
  const unsigned magnitude = bits & 0x7fffu;
  const unsigned sign = (bits & 0x8000u) << 16;
  if (magnitude >= 0x7c00u) return __uint_as_float(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x400u) return __uint_as_float(sign | ((magnitude << 13) + (112u << 23)));
  const float value = (float)magnitude * 0x1p-24f;
  return sign ? -value : value;
}

// Round to nearest even; infinity beyond the range.
inline unsigned short simt_round_to_half(double value) {
  uint64_t bits;
  memcpy(&bits, &value, 8);
  const unsigned sign = (unsigned)(bits >> 63) << 15;
  if (value != value) return 0x7fff;
  const double magnitude = __builtin_fabs(value);
  if (magnitude >= 65520.0) return (unsigned short)(sign | 0x7c00u);
  if (magnitude < 0x1p-14)
    return (unsigned short)(sign | (unsigned)__builtin_rint(magnitude * 0x1p24));
  const uint64_t exponent = (bits >> 52 & 0x7ff) - 1023;  // -14..15, modulo 2^64
  const uint64_t scale_bits = (1023 + 10 - exponent) << 52;
  double scale;
  memcpy(&scale, &scale_bits, 8);
  const unsigned mantissa = (unsigned)__builtin_rint(magnitude * scale);  // 1024..2048
  return (unsigned short)(sign | (((unsigned)(exponent + 15) << 10) + mantissa - 1024));
}
JLLM_DEVICE unsigned short float_to_half(float value) { return simt_round_to_half(value); }
JLLM_DEVICE unsigned floats_to_half2(float low, float high) {
  return float_to_half(low) | (unsigned)float_to_half(high) << 16;
}
inline unsigned simt_round_to_bfloat(float value) {
  const unsigned bits = __float_as_uint(value);
  return value != value ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}
JLLM_DEVICE unsigned floats_to_bfloat2(float low, float high) {
  return simt_round_to_bfloat(low) | simt_round_to_bfloat(high) << 16;
}

// Subnormals are kept: ex2.approx without .ftz.
JLLM_DEVICE float exp2_approx(float value) { return exp2f(value); }

JLLM_DEVICE int dot4_unsigned(unsigned weights, unsigned values, int sum) {
  unsigned out = (unsigned)sum;
  for (unsigned i = 0; i < 4; ++i) {
    out += (unsigned)((int)(weights >> 8 * i & 0xff) * (int8_t)(values >> 8 * i));
  }
  return (int)out;
}

// --- Memory ---

JLLM_DEVICE Uint4 load_weights(const void* at) { return *(const Uint4*)at; }
JLLM_DEVICE Uint2 load_weights8(const void* at) { return *(const Uint2*)at; }
JLLM_DEVICE unsigned load_weights4(const void* at) { return *(const unsigned*)at; }
JLLM_DEVICE unsigned short load_weights2(const void* at) { return *(const unsigned short*)at; }
JLLM_DEVICE unsigned load_weights1(const void* at) { return *(const Bytes*)at; }
JLLM_DEVICE void prefetch_l2(const void*) {}

JLLM_DEVICE float load_shared_across_blocks(const float* at) { return *at; }
JLLM_DEVICE Float4 load_shared_across_blocks(const Float4* at) { return *at; }
JLLM_DEVICE Uint4 load_shared_across_blocks(const Uint4* at) { return *at; }
JLLM_DEVICE Uint2 load_shared_across_blocks(const Uint2* at) { return *at; }
JLLM_DEVICE unsigned load_shared_across_blocks(const unsigned* at) { return *at; }
JLLM_DEVICE unsigned short load_shared_across_blocks(const unsigned short* at) { return *at; }

JLLM_DEVICE bool take_ticket(unsigned* tickets, unsigned count) {
  return simt_atomic_increment(tickets, count - 1) == count - 1;
}
JLLM_DEVICE void store_release_system(unsigned* at, unsigned value) {
  __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

// --- Overlap with the kernel before: launches run one after the other here ---

#ifndef PROGRAMMATIC
#define PROGRAMMATIC 0
#endif
JLLM_DEVICE void release_successor() {}
JLLM_DEVICE void wait_for_inputs() {}

// --- Copies from global to shared memory, past registers ---

JLLM_DEVICE unsigned shared_address(const void* at) { return simt_shared_address(at); }
template <unsigned kBytes, unsigned kTo = 0, unsigned kFrom = 0>
JLLM_DEVICE void copy_async(unsigned to, const void* from, unsigned size) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  simt_copy_async(to + kTo, (const Bytes*)from + kFrom, kBytes, size);
}
JLLM_DEVICE void end_copies() { simt_end_copies(); }
template <unsigned kPending>
JLLM_DEVICE void wait_for_copies() {
  simt_wait_for_copies(kPending);
}

// --- Pairs of halves ---

// a * b + c rounded once: the double sum, forced odd where it is not exact, has the bits that
// rounding to 11 needs.
inline unsigned short simt_half_fma(unsigned short a, unsigned short b, unsigned short c) {
  const double product = (double)half_to_float(a) * (double)half_to_float(b);
  const double addend = half_to_float(c);
  double sum = product + addend;
  const double part = sum - product;
  const double error = (product - (sum - part)) + (addend - part);
  uint64_t bits;
  memcpy(&bits, &sum, 8);
  if (error == error && error != 0 && !(bits & 1)) {
    bits += (error > 0) == (sum > 0) ? 1 : (uint64_t)-1;
    memcpy(&sum, &bits, 8);
  }
  return simt_round_to_half(sum);
}
JLLM_DEVICE unsigned half2_fma(unsigned a, unsigned b, unsigned c) {
  return simt_half_fma((unsigned short)a, (unsigned short)b, (unsigned short)c) |
         (unsigned)simt_half_fma((unsigned short)(a >> 16), (unsigned short)(b >> 16),
                                 (unsigned short)(c >> 16))
             << 16;
}
JLLM_DEVICE unsigned half2_add(unsigned a, unsigned b) { return half2_fma(a, 0x3c003c00u, b); }
JLLM_DEVICE unsigned half2_mul(unsigned a, unsigned b) {
  return simt_round_to_half((double)half_to_float((unsigned short)a) *
                            (double)half_to_float((unsigned short)b)) |
         (unsigned)simt_round_to_half((double)half_to_float((unsigned short)(a >> 16)) *
                                      (double)half_to_float((unsigned short)(b >> 16)))
             << 16;
}
template <unsigned kMask>
JLLM_DEVICE unsigned and_or(unsigned a, unsigned bits) {
  return (a & kMask) | bits;
}
JLLM_DEVICE unsigned in_register(unsigned value) { return value; }

// --- Fragments and products of tensor cores, m16n8k16 ---

JLLM_DEVICE void load_matrices_at(unsigned address, unsigned (&out)[4]) {
  SimtMatrices mine = {simt_shared_pointer(address, 16), false, out};
  simt_warp(kSimtMatrices, kAllLanes, &mine);
}
JLLM_DEVICE void load_transposed_matrices_at(unsigned address, unsigned (&out)[4]) {
  SimtMatrices mine = {simt_shared_pointer(address, 16), true, out};
  simt_warp(kSimtMatrices, kAllLanes, &mine);
}
JLLM_DEVICE void mma_f16(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4]) {
  SimtProduct mine = {a, {b0, b1}, c};
  simt_warp(kSimtProductF16, kAllLanes, &mine);
}
JLLM_DEVICE void mma_bf16(const unsigned (&a)[4], unsigned b0, unsigned b1, float (&c)[4]) {
  SimtProduct mine = {a, {b0, b1}, c};
  simt_warp(kSimtProductBf16, kAllLanes, &mine);
}

}  // namespace jllm::device

// Activations as the tensor-core matrix product (gemm.cuh) reads them: a row of halves per token,
// divided by a power of two that is the token's own, so that none overflows and what is 2^28 times
// smaller than the largest still has all bits; behind the rows a factor f32 per token. A row is
// padded with zeros to a multiple of 16, and of each 16 the even elements stand before the odd
// ones, as fragments of weights want them (tile_weights.cuh).
#pragma once

#include "kernels/device/common.cuh"

namespace jllm::device {

// Threads of a block that handles a row; row_shape() of the catalogue.
constexpr unsigned row_threads(unsigned length) {
  return length <= 512 ? 128 : length <= 2048 ? 256 : 512;
}

constexpr unsigned image_length(unsigned length) { return round_up(length, 16); }

// Where the factors of an image of `rows` tokens begin, in bytes.
template <unsigned kLength>
constexpr unsigned long long image_factors(unsigned rows) {
  return 2ull * image_length(kLength) * rows;
}

// Writes one token's row. A thread holds values 4 * (turn * kThreads + threadIdx.x) .. + 3.
// `scratch` has one word per warp. The whole block calls it.
template <unsigned kLength, unsigned kThreads, unsigned kTurns>
JLLM_DEVICE void store_image_row(const Float4 (&values)[kTurns], unsigned row, unsigned rows,
                                 Bytes* image, unsigned* scratch) {
  unsigned largest = 0;  // as bits: a NaN outranks every number and so is not lost
#pragma unroll
  for (unsigned turn = 0; turn < kTurns; ++turn) {
    const Float4& v = values[turn];
    const float each[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) largest = max(largest, float_to_bits(each[i]) & 0x7fffffffu);
  }
#pragma unroll
  for (unsigned step = kWarp / 2; step > 0; step /= 2) {
    largest = max(largest, __shfl_xor_sync(kAllLanes, largest, step));
  }
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = largest;
  __syncthreads();
#pragma unroll
  for (unsigned warp = 0; warp < kThreads / kWarp; ++warp) largest = max(largest, scratch[warp]);

  // The largest magnitude lands in 2^14 .. 2^15; clamped to where the inverse is a number too.
  const unsigned exponent = min(max(largest & 0x7f800000u, 0x13800000u), 0x72000000u) - (14u << 23);
  const float inverse = bits_to_float(0x7f000000u - exponent);
  unsigned* const to = (unsigned*)image + (unsigned long long)row * (image_length(kLength) / 2);
#pragma unroll
  for (unsigned turn = 0; turn < kTurns; ++turn) {
    const unsigned group = turn * kThreads + threadIdx.x;
    if (4 * group >= image_length(kLength)) break;
    const Float4& v = values[turn];
    unsigned* at = to + group / 4 * 8 + group % 4;
    at[0] = floats_to_half2(v.x * inverse, v.z * inverse);
    at[4] = floats_to_half2(v.y * inverse, v.w * inverse);
  }
  if (threadIdx.x == 0) {
    ((float*)(image + image_factors<kLength>(rows)))[row] = bits_to_float(exponent);
  }
}

}  // namespace jllm::device

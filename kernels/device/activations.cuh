// The vector of a matrix-vector product as the product wants to read it: its image, in shared
// memory or, made by the kernel before, in global memory. Three modes (macro ACTIVATIONS):
//   kExact       floats; sub-blocks of 32 are padded to 36, which keeps 16-byte reads of
//   consecutive
//                lanes in different banks. Float 32 of a sub-block is the sum of the 32.
//   kInt8        a = scale * q, one scale and signed bytes q per 32 values: about 7 bits
//   kInt8Pair    a = scale * (254 q + r), with the rounding error of q in a second byte r: about 15
//   bits
// Byte images hold planes of 16 bytes per sub-block (q of its values 0..15, of 16..31, then r
// alike), then a scale f32 and a sum i32 of the 32 integers per sub-block, then the sums of the
// first 16.
#pragma once

#include "kernels/device/common.cuh"

// Mode of the image that a kernel's result is to be; 0: floats, as they are.
#ifndef OUT_IMAGE
#define OUT_IMAGE 0
#endif

namespace jllm::device {

constexpr unsigned kExact = 0, kInt8 = 1, kInt8Pair = 2;
constexpr unsigned kPadded = 36;
constexpr int kPairFactor = 254;  // steps of r in one step of q: r of +-127 reaches half a step

// Offsets of a byte image, in bytes.
template <unsigned kMode, unsigned kLength>
struct ByteImage {
  static constexpr unsigned kBlocks = (kLength + 31) / 32;
  // An odd number of half banks apart: units of 16 values alternate between two planes.
  static constexpr unsigned kPlane = round_up(16 * kBlocks, 128) + 64;
  static constexpr unsigned kMeta = (kMode == kInt8Pair ? 4 : 2) * kPlane;
  static constexpr unsigned kFirstSums = kMeta + 8 * kBlocks;
  static constexpr unsigned kBytes = round_up(kFirstSums + 4 * kBlocks, 16);
};

struct Meta {
  float scale;
  int sum;
};

// Bytes from one token's image to the next.
template <unsigned kMode, unsigned kLength>
constexpr unsigned image_stride() {
  if constexpr (kMode == kExact) return (kLength + 31) / 32 * kPadded * 4;
  return ByteImage<kMode, kLength>::kBytes;
}

// Float offset of element `index` in an exact image.
constexpr unsigned padded(unsigned index) { return index / 32 * kPadded + index % 32; }

// value * inverse, rounded to an integer of -127..127 in the low byte of the result; *rest is what
// rounding took away. The addition moves the integer into the last bits of the mantissa.
JLLM_DEVICE unsigned rounded(float value, float inverse, float* rest) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23
  const float shifted = __fmaf_rn(value, inverse, kMagic);
  *rest = __fmaf_rn(value, inverse, kMagic - shifted);
  return float_to_bits(shifted);
}

JLLM_DEVICE unsigned low_bytes(unsigned a, unsigned b, unsigned c, unsigned d) {
  return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
}

// Largest magnitude of a sub-block, as bits: a NaN outranks every number and so is not lost.
JLLM_DEVICE unsigned magnitude_bits(float value) { return float_to_bits(value) & 0x7fffffffu; }

// The factor that takes a sub-block of this magnitude to -127..127; 0 for one too small to matter.
JLLM_DEVICE float inverse_of(float magnitude) {
  return magnitude < 1e-30f ? 0.0f : __fdividef(127.0f, magnitude);
}
template <unsigned kMode>
JLLM_DEVICE float scale_of(float magnitude) {
  constexpr float kSteps = kMode == kInt8Pair ? 127.0f * kPairFactor : 127.0f;
  return magnitude < 1e-30f ? 0.0f : magnitude * (1.0f / kSteps);
}

// Puts values 4 * group .. + 3 into the image. The eight lanes of a sub-block call it together.
template <unsigned kMode, unsigned kLength>
JLLM_DEVICE void store_bytes(const Float4& v, unsigned group, bool inside, Bytes* image) {
  using Image = ByteImage<kMode, kLength>;
  unsigned bits = max(max(magnitude_bits(v.x), magnitude_bits(v.y)),
                      max(magnitude_bits(v.z), magnitude_bits(v.w)));
#pragma unroll
  for (unsigned step = 1; step < 8; step *= 2) {
    bits = max(bits, __shfl_xor_sync(kAllLanes, bits, step));
  }
  const float magnitude = bits_to_float(bits), inverse = inverse_of(magnitude);
  Float4 rest;
  const unsigned q = low_bytes(rounded(v.x, inverse, &rest.x), rounded(v.y, inverse, &rest.y),
                               rounded(v.z, inverse, &rest.z), rounded(v.w, inverse, &rest.w));
  int sum = __dp4a((int)q, 0x01010101, 0);
  const unsigned block = group / 8, part = group % 8;
  Bytes* at = image + part / 4 * Image::kPlane + block * 16 + part % 4 * 4;
  if (inside) *(unsigned*)at = q;
  if constexpr (kMode == kInt8Pair) {
    float ignored;
    const unsigned r =
        low_bytes(rounded(rest.x, kPairFactor, &ignored), rounded(rest.y, kPairFactor, &ignored),
                  rounded(rest.z, kPairFactor, &ignored), rounded(rest.w, kPairFactor, &ignored));
    sum = __dp4a((int)r, 0x01010101, sum * kPairFactor);
    if (inside) *(unsigned*)(at + 2 * Image::kPlane) = r;
  }
  sum += __shfl_xor_sync(kAllLanes, sum, 1);
  sum += __shfl_xor_sync(kAllLanes, sum, 2);
  const int both = sum + __shfl_xor_sync(kAllLanes, sum, 4);
  if (inside && part == 0) {
    ((Meta*)(image + Image::kMeta))[block] = {scale_of<kMode>(magnitude), both};
    ((int*)(image + Image::kFirstSums))[block] = sum;
  }
}

// Puts value `lane` of sub-block `block` into an image in global memory. A whole warp calls it.
template <unsigned kMode, unsigned kLength>
JLLM_DEVICE void publish_block(float value, unsigned block, Bytes* image) {
  using Image = ByteImage<kMode, kLength>;
  const unsigned lane = threadIdx.x % kWarp;
  unsigned bits = magnitude_bits(value);
#pragma unroll
  for (unsigned step = 1; step < kWarp; step *= 2) {
    bits = max(bits, __shfl_xor_sync(kAllLanes, bits, step));
  }
  const float magnitude = bits_to_float(bits);
  float rest;
  const int q = (signed char)rounded(value, inverse_of(magnitude), &rest);
  int sum = q;
  Bytes* at = image + lane / 16 * Image::kPlane + block * 16 + lane % 16;
  *at = (Bytes)q;
  if constexpr (kMode == kInt8Pair) {
    float ignored;
    const int r = (signed char)rounded(rest, kPairFactor, &ignored);
    sum = q * kPairFactor + r;
    at[2 * Image::kPlane] = (Bytes)r;
  }
#pragma unroll
  for (unsigned step = 1; step < kWarp / 2; step *= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, step);
  }
  const int both = sum + __shfl_xor_sync(kAllLanes, sum, kWarp / 2);
  if (lane == 0) {
    ((Meta*)(image + Image::kMeta))[block] = {scale_of<kMode>(magnitude), both};
    ((int*)(image + Image::kFirstSums))[block] = sum;
  }
}

// What a thread takes of the norm's weights, a constant: loaded before the inputs are awaited. The
// tokens' vectors are shared out as one.
template <unsigned kThreads, unsigned kLength, unsigned kTokens>
struct NormPart {
  static constexpr unsigned kGroups = round_up(kLength, 32) / 4;  // of a token
  static constexpr unsigned kTurns = (kTokens * kGroups + kThreads - 1) / kThreads;
  static constexpr unsigned kHeld = kTurns < 2 ? kTurns : 2;
  Float4 held[kHeld];

  // Token and group in its vector of group `all` of the tokens' together.
  static JLLM_DEVICE unsigned token_of(unsigned all) { return kTokens == 1 ? 0 : all / kGroups; }
  static JLLM_DEVICE unsigned group_of(unsigned all) { return kTokens == 1 ? all : all % kGroups; }

  JLLM_DEVICE void load(const float* norm) {
#pragma unroll
    for (unsigned turn = 0; turn < kHeld; ++turn) {
      const unsigned group = group_of(turn * kThreads + threadIdx.x);
      if (4 * group < kLength) held[turn] = ((const Float4*)norm)[group];
    }
  }
};

// Sum over the eight lanes of a sub-block.
JLLM_DEVICE float sub_block_sum(float value) {
#pragma unroll
  for (unsigned step = 1; step < 8; step *= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

// Makes the images of in[kTokens][kLength] in shared memory, with zeros up to a multiple of 32;
// with kNorm multiplied by norm[kLength], of which `part` holds what this thread has already.
// Returns the sum of the squares of token `token` (kNorm; 0 otherwise), in an order that depends on
// neither kThreads nor kTokens, by way of squares[kTokens][kLength / 32, rounded up]. Ends with a
// barrier. kLength is a multiple of 4.
template <unsigned kMode, unsigned kThreads, unsigned kLength, bool kNorm, unsigned kTokens>
JLLM_DEVICE float stage(const float* in, const float* norm,
                        const NormPart<kThreads, kLength, kTokens>& part, Bytes* image,
                        float* squares, unsigned token) {
  using Part = NormPart<kThreads, kLength, kTokens>;
  constexpr unsigned kAllGroups = kTokens * Part::kGroups;
  constexpr unsigned kBatch =
      Part::kTurns < 4 ? Part::kTurns : 4;  // turns whose loads are in flight
  // Every thread runs every turn: lanes of a sub-block exchange their sums.
#pragma unroll
  for (unsigned first = 0; first < Part::kTurns; first += kBatch) {
    Float4 loaded[kBatch];
#pragma unroll
    for (unsigned b = 0; b < kBatch; ++b) {
      const unsigned all = (first + b) * kThreads + threadIdx.x, group = Part::group_of(all);
      loaded[b] = {0.0f, 0.0f, 0.0f, 0.0f};
      if (all >= kAllGroups || 4 * group >= kLength) continue;
      const float* from = in + Part::token_of(all) * kLength;
      loaded[b] = load_shared_across_blocks((const Float4*)from + group);
    }
#pragma unroll
    for (unsigned b = 0; b < kBatch; ++b) {
      const unsigned turn = first + b;
      if (turn >= Part::kTurns) break;
      const unsigned all = turn * kThreads + threadIdx.x, group = Part::group_of(all);
      Float4 v = loaded[b];
      const bool inside = all < kAllGroups;
      Bytes* own = image + Part::token_of(all) * image_stride<kMode, kLength>();
      if constexpr (kNorm) {
        const float sum = sub_block_sum(sum_of_products(v.x, v.x, v.y, v.y) +
                                        sum_of_products(v.z, v.z, v.w, v.w));
        if (inside && group % 8 == 0) squares[all / 8] = sum;
        if (4 * group < kLength) {
          const Float4 w = turn < Part::kHeld ? part.held[turn < Part::kHeld ? turn : 0]
                                              : ((const Float4*)norm)[group];
          v.x *= w.x, v.y *= w.y, v.z *= w.z, v.w *= w.w;
        }
      }
      if constexpr (kMode == kExact) {
        const float sum = sub_block_sum(v.x + v.y + v.z + v.w);
        if (inside) {
          float* at = (float*)own + padded(4 * group);
          *(Float4*)at = v;
          if (group % 8 == 0) at[32] = sum;
        }
      } else {
        store_bytes<kMode, kLength>(v, group, inside, own);
      }
    }
  }
  __syncthreads();
  if constexpr (!kNorm) return 0.0f;
  float of_token = 0.0f;
#pragma unroll
  for (unsigned t = 0; t < kTokens; ++t) {
    float sum = 0.0f;
#pragma unroll
    for (unsigned first = 0; first < Part::kGroups / 8; first += kWarp) {
      const unsigned block = first + threadIdx.x % kWarp;
      if (block < Part::kGroups / 8) sum += squares[t * (Part::kGroups / 8) + block];
    }
    sum = warp_sum(sum);
    if (t == token) of_token = sum;
  }
  return of_token;
}

// Copies the byte images of kTokens tokens that the kernel before has made. Ends with a barrier.
template <unsigned kMode, unsigned kThreads, unsigned kLength, unsigned kTokens>
JLLM_DEVICE void stage_images(const Bytes* from, Bytes* image) {
  constexpr unsigned kPieces = kTokens * image_stride<kMode, kLength>() / 16;
  constexpr unsigned kTurns = (kPieces + kThreads - 1) / kThreads, kBatch = kTurns < 5 ? kTurns : 5;
#pragma unroll
  for (unsigned first = 0; first < kTurns; first += kBatch) {
    Float4 loaded[kBatch];
#pragma unroll
    for (unsigned b = 0; b < kBatch; ++b) {
      const unsigned i = (first + b) * kThreads + threadIdx.x;
      if (i < kPieces) loaded[b] = load_shared_across_blocks((const Float4*)from + i);
    }
#pragma unroll
    for (unsigned b = 0; b < kBatch; ++b) {
      const unsigned i = (first + b) * kThreads + threadIdx.x;
      if (i < kPieces) ((Float4*)image)[i] = loaded[b];
    }
  }
  __syncthreads();
}

}  // namespace jllm::device

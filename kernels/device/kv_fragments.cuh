// Pieces of cached rows on their way to the tensor cores: loads of a few elements per lane, and the
// pairs of f16 that fragments are made of. Every cache type enters exactly, but f32, which is the
// sum of two f16 (22 bits; magnitudes from 65520 on become infinite).
#pragma once

#include "kernels/device/kv_cache.cuh"
#include "kernels/device/mma.cuh"

namespace jllm::device {

// The float pair as the sum of two pairs of halves.
struct TwoHalves {
  unsigned high, low;
};
JLLM_DEVICE TwoHalves split_halves(float a, float b) {
  const unsigned high = floats_to_half2(a, b);
  return {high, floats_to_half2(a - low_half(high), b - high_half(high))};
}

// kSpan (4 or 8) consecutive elements of a row of cache type kType.
template <unsigned kType, unsigned kSpan>
struct KvPiece {
  static constexpr unsigned kBytes = kType == kKvF32    ? 4 * kSpan
                                     : kType == kKvF16  ? 2 * kSpan
                                     : kType == kKvQ8_0 ? kSpan
                                                        : kSpan / 2;
  static constexpr unsigned kWords = (kBytes + 3) / 4;
  // Values are the sum over the parts.
  static constexpr unsigned kParts = kType == kKvF32 ? 2 : 1;
  unsigned words[kWords];

  JLLM_DEVICE void clear() {
#pragma unroll
    for (unsigned w = 0; w < kWords; ++w) words[w] = 0;
  }

  // Past L1: a line may hold rows that another kernel is still to write.
  JLLM_DEVICE void load(const Bytes* at) {
    if constexpr (kBytes == 2) {
      words[0] = load_shared_across_blocks((const unsigned short*)at);
    } else if constexpr (kBytes == 4) {
      words[0] = load_shared_across_blocks((const unsigned*)at);
    } else if constexpr (kBytes == 8) {
      const Uint2 v = load_shared_across_blocks((const Uint2*)at);
      words[0] = v.x, words[1] = v.y;
    } else {
#pragma unroll
      for (unsigned w = 0; w < kWords; w += 4) {
        const Uint4 v = load_shared_across_blocks((const Uint4*)at + w / 4);
        words[w] = v.x, words[w + 1] = v.y, words[w + 2] = v.z, words[w + 3] = v.w;
      }
    }
  }

  // Elements 2i and 2i + 1 as halves; quants without their scale.
  template <unsigned kPart>
  JLLM_DEVICE unsigned pair(unsigned i) const {
    if constexpr (kType == kKvF32) {
      const TwoHalves both =
          split_halves(bits_to_float(words[2 * i]), bits_to_float(words[2 * i + 1]));
      return kPart == 0 ? both.high : both.low;
    } else if constexpr (kType == kKvF16) {
      return words[i];
    } else if constexpr (kType == kKvQ8_0) {
      // 1024 + (quant + 128) in a half, less 1152.
      const unsigned biased = words[i / 2] ^ 0x80808080u;
      const unsigned magic = __byte_perm(biased, 0x64646464u, i % 2 == 0 ? 0x4140 : 0x4342);
      return half2_fma(magic, 0x3c003c00u, 0xe480e480u);
    } else {
      // 1024 + nibble, less 1032; 1024 + 16 nibble, divided by 16, less 72.
      const unsigned twice = __byte_perm(words[i / 4], 0, i % 4 * 0x0101u | 0x4040u);
      return half2_fma((twice & 0x00f0000fu) | 0x64006400u, 0x2c003c00u, 0xd480e408u);
    }
  }
};

}  // namespace jllm::device

// The KV cache on the device: reading, appending, and the rotation of keys. schema/kv_layout.h says
// how values lie and how they are rounded.
#pragma once

#include "kernels/device/common.cuh"
#include "schema/kv_layout.h"

namespace jllm::device {

// values[j] = in[lane + 32 j] of a row of kDim (a multiple of 32) elements, rotated by blocks of
// kRotation elements (0: as they are). A whole warp calls it.
template <unsigned kDim, unsigned kRotation>
JLLM_DEVICE void load_row(const float* in, float (&values)[kDim / kWarp]) {
  const unsigned lane = threadIdx.x % kWarp;
#pragma unroll
  for (unsigned j = 0; j < kDim / kWarp; ++j) values[j] = in[lane + j * kWarp];
  if constexpr (kRotation == 0) return;
  static_assert(kRotation == 0 || (kRotation >= kWarp && kDim % kRotation == 0),
                "blocks fill a row");
#pragma unroll
  for (unsigned step = 1; step < kWarp; step *= 2) {
#pragma unroll
    for (unsigned j = 0; j < kDim / kWarp; ++j) {
      const float other = __shfl_xor_sync(kAllLanes, values[j], step);
      values[j] = lane & step ? other - values[j] : values[j] + other;
    }
  }
#pragma unroll
  for (unsigned step = 1; step < kRotation / kWarp; step *= 2) {
#pragma unroll
    for (unsigned j = 0; j < kDim / kWarp; ++j) {
      if (j & step) continue;
      const float a = values[j], b = values[j + step];
      values[j] = a + b;
      values[j + step] = a - b;
    }
  }
  const float factor = 1.0f / sqrtf((float)kRotation);
#pragma unroll
  for (unsigned j = 0; j < kDim / kWarp; ++j) values[j] *= factor;
}

// out[kDim] = in[kDim] rotated like that; out may be in. Nothing happens without a rotation.
template <unsigned kDim, unsigned kRotation>
JLLM_DEVICE void rotate_row(const float* in, float* out) {
  if constexpr (kRotation != 0) {
    float values[kDim / kWarp];
    load_row<kDim, kRotation>(in, values);
#pragma unroll
    for (unsigned j = 0; j < kDim / kWarp; ++j) out[threadIdx.x % kWarp + j * kWarp] = values[j];
  }
}

// kCount bytes that are loaded at once.
template <unsigned kCount>
struct WordsOf;
template <>
struct WordsOf<4> {
  unsigned words[1];
};
template <>
struct alignas(8) WordsOf<8> {
  unsigned words[2];
};
template <>
struct alignas(16) WordsOf<16> {
  unsigned words[4];
};

// A cache of kRows rows of kDim elements.
template <unsigned kType, unsigned long long kRows, unsigned kDim>
struct KvCache {
  static constexpr KvLayout kLayout = kv_layout(kType, kRows, kDim);
  static_assert(kLayout.row != 0, "no cache of this type and head dimension");
  static constexpr bool kQuantised = kv_is_quantised(kType);
  // Elements of a 16-byte load; of two for f32.
  static constexpr unsigned kChunk = kType == kKvQ4_0 ? 32 : kType == kKvQ8_0 ? 16 : 8;

  // out = elements element .. element + kCount - 1 of a row, still to be multiplied by the factor
  // that is returned (1 in plain caches). `element` is a multiple of kCount, kCount is 8, 16 or 32.
  template <unsigned kCount>
  static JLLM_DEVICE float load(const Bytes* cache, unsigned long long row, unsigned element,
                                float (&out)[kCount]) {
    const Bytes* const at = cache + row * kLayout.row;
    if constexpr (kType == kKvF32) {
#pragma unroll
      for (unsigned i = 0; i < kCount; i += 4) {
        const Float4 v = *(const Float4*)(at + (element + i) * 4);
        out[i] = v.x, out[i + 1] = v.y, out[i + 2] = v.z, out[i + 3] = v.w;
      }
      return 1.0f;
    } else if constexpr (kType == kKvF16) {
#pragma unroll
      for (unsigned i = 0; i < kCount; i += 8) {
        const Uint4 v = *(const Uint4*)(at + (element + i) * 2);
        out[i] = low_half(v.x), out[i + 1] = high_half(v.x), out[i + 2] = low_half(v.y);
        out[i + 3] = high_half(v.y), out[i + 4] = low_half(v.z), out[i + 5] = high_half(v.z);
        out[i + 6] = low_half(v.w), out[i + 7] = high_half(v.w);
      }
      return 1.0f;
    } else {
      const unsigned short scale =
          *(const unsigned short*)(cache + kLayout.scales + row * kLayout.scale_row +
                                   element / kKvGroup * 2);
      if constexpr (kType == kKvQ8_0) {
        const auto v = *(const WordsOf<kCount>*)(at + element);
#pragma unroll
        for (unsigned w = 0; w < kCount / 4; ++w) {
          const unsigned bytes = v.words[w] ^ 0x80808080u;  // signed to biased
          float* const to = out + 4 * w;
          to[0] = byte_minus<0>(bytes, 128.0f), to[1] = byte_minus<1>(bytes, 128.0f);
          to[2] = byte_minus<2>(bytes, 128.0f), to[3] = byte_minus<3>(bytes, 128.0f);
        }
      } else {
        const auto v = *(const WordsOf<kCount / 2>*)(at + element / 2);
#pragma unroll
        for (unsigned w = 0; w < kCount / 8; ++w) {
          const unsigned even = v.words[w] & 0x0f0f0f0fu, odd = v.words[w] >> 4 & 0x0f0f0f0fu;
          float* const to = out + 8 * w;
          to[0] = byte_minus<0>(even, 8.0f), to[1] = byte_minus<0>(odd, 8.0f);
          to[2] = byte_minus<1>(even, 8.0f), to[3] = byte_minus<1>(odd, 8.0f);
          to[4] = byte_minus<2>(even, 8.0f), to[5] = byte_minus<2>(odd, 8.0f);
          to[6] = byte_minus<3>(even, 8.0f), to[7] = byte_minus<3>(odd, 8.0f);
        }
      }
      return half_to_float(scale);
    }
  }

  // Starts to bring a row towards the caches.
  static JLLM_DEVICE void prefetch(const Bytes* cache, unsigned long long row) {
#pragma unroll
    for (unsigned long long at = 0; at < kLayout.row; at += 128) {
      prefetch_l2(cache + row * kLayout.row + at);
    }
  }

  // One element; not for quantised caches.
  static JLLM_DEVICE void store(Bytes* cache, unsigned long long row, unsigned element,
                                float value) {
    static_assert(!kQuantised, "a group of 32 has a common scale: store_row()");
    Bytes* const at = cache + row * kLayout.row;
    if constexpr (kType == kKvF32) {
      ((float*)at)[element] = value;
    } else {
      ((unsigned short*)at)[element] = float_to_half(value);
    }
  }

  // A whole row by one warp, in[kDim] f32; with kRotation rotated by blocks of that many elements.
  template <unsigned kRotation>
  static JLLM_DEVICE void store_row(Bytes* cache, unsigned long long row, const float* in) {
    const unsigned lane = threadIdx.x % kWarp;
    if constexpr (!kQuantised) {
      static_assert(kRotation == 0, "only quantised keys are rotated");
      for (unsigned i = lane; i < kDim; i += kWarp) store(cache, row, i, in[i]);
    } else {
      float values[kDim / kWarp];
      load_row<kDim, kRotation>(in, values);
#pragma unroll
      for (unsigned g = 0; g < kDim / kWarp; ++g) store_group(cache, row, g, values[g]);
    }
  }

 private:
  // Group `group` of a row, one element per lane.
  static JLLM_DEVICE void store_group(Bytes* cache, unsigned long long row, unsigned group,
                                      float value) {
    static_assert(kKvGroup == kWarp, "a lane holds one element of a group");
    const unsigned lane = threadIdx.x % kWarp;
    // The sign rotated behind the magnitude: the largest such number is m, or a NaN where there is
    // one.
    const unsigned bits = float_to_bits(value);
    const unsigned top = warp_max_bits(bits << 1 | bits >> 31);
    const float m = bits_to_float(top >> 1 | top << 31);
    const unsigned short scale = float_to_half(kType == kKvQ8_0 ? fabsf(m) / 127.0f : m * -0.125f);
    const float unit = half_to_float(scale);
    const bool usable = fabsf(unit) > 0.0f && fabsf(unit) < __int_as_float(0x7f800000);
    const float steps = usable ? value * (1.0f / unit) : 0.0f;
    Bytes* const at = cache + row * kLayout.row;
    if constexpr (kType == kKvQ8_0) {
      const int quant = __float2int_rn(fminf(fmaxf(steps, -127.0f), 127.0f));
      at[group * kKvGroup + lane] = (Bytes)quant;
    } else {
      const unsigned nibble = (unsigned)__float2int_rn(fminf(fmaxf(steps, -8.0f), 7.0f)) + 8;
      const unsigned next = __shfl_down_sync(kAllLanes, nibble, 1);
      if (lane % 2 == 0) at[(group * kKvGroup + lane) / 2] = (Bytes)(nibble | next << 4);
    }
    if (lane == 0) {
      *(unsigned short*)(cache + kLayout.scales + row * kLayout.scale_row + group * 2) = scale;
    }
  }

  static JLLM_DEVICE unsigned warp_max_bits(unsigned value) {
#pragma unroll
    for (unsigned step = kWarp / 2; step > 0; step /= 2) {
      const unsigned other = __shfl_xor_sync(kAllLanes, value, step);
      value = other > value ? other : value;
    }
    return value;
  }
};

}  // namespace jllm::device

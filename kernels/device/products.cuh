// One unit of weights (weights.cuh) times its part of the vector (activations.cuh).
// Product<mode, type> has
//   Part                     what a lane reads of the image for one unit; rows share it
//   read(image, unit)        reads it
//   multiply(raw, part)      sum over the unit of weight * activation
// Integer products are exact up to the sub-block's scales. High nibbles stay where they are,
// sixteen times their value, until the sub-block's sum is shifted once. Offsets (q - 8, minima) are
// applied to the activations' sums.
#pragma once

#include "kernels/device/activations.cuh"
#include "kernels/device/weights.cuh"

namespace jllm::device {

JLLM_DEVICE int dot4_signed(unsigned weights, unsigned values, int sum) {
  return __dp4a((int)weights, (int)values, sum);
}

template <unsigned kLength, unsigned kType>
struct ExactProduct {
  using W = Weight<kType>;
  using Part = const float*;
  static constexpr bool kHalfMinima = W::kHasMinimum && W::kTwoScales;
  static JLLM_DEVICE Part read(const Bytes* image, unsigned unit) {
    return (const float*)image + padded(unit * W::kUnit);
  }
  template <unsigned kRows>
  static JLLM_DEVICE void multiply(const typename W::Raw (&raw)[kRows], Part at,
                                   float (&out)[kRows]) {
    float low[kRows] = {}, high[kRows] = {};
    float first_sum = 0.0f, second_sum = 0.0f;  // of the activations, kHalfMinima
    for_chunks<W::kUnit / 8>([&](auto chunk) {
      constexpr unsigned kChunk = decltype(chunk)::value;
      const Float4 a = *(const Float4*)(at + W::first(kChunk));
      const Float4 c = *(const Float4*)(at + W::second(kChunk));
      if constexpr (kHalfMinima) first_sum += a.x + a.y + a.z + a.w;
      if constexpr (kHalfMinima) second_sum += c.x + c.y + c.z + c.w;
#pragma unroll
      for (unsigned r = 0; r < kRows; ++r) {
        float v[8];
        W::template values<kChunk>(raw[r], v);
        low[r] += v[0] * a.x, low[r] += v[1] * a.y, low[r] += v[2] * a.z, low[r] += v[3] * a.w;
        high[r] += v[4] * c.x, high[r] += v[5] * c.y, high[r] += v[6] * c.z, high[r] += v[7] * c.w;
      }
    });
#pragma unroll
    for (unsigned r = 0; r < kRows; ++r) {
      if constexpr (W::kTwoScales) {
        out[r] += sum_of_products(W::scale(raw[r], 0), low[r], W::scale(raw[r], 1), high[r]);
      } else {
        out[r] += W::scale(raw[r], 0) * (low[r] + high[r]);
      }
      if constexpr (kHalfMinima) {
        out[r] -=
            sum_of_products(W::minimum(raw[r], 0), first_sum, W::minimum(raw[r], 1), second_sum);
      } else if constexpr (W::kHasMinimum) {
        out[r] -= W::minimum(raw[r], 0) * at[32];
      }
    }
  }
};

// --- Byte images ---

// Sixteen activations.
template <unsigned kMode>
struct Sixteen {
  Uint4 q, r;  // r: kInt8Pair only

  template <unsigned kPlane>
  JLLM_DEVICE void read(const Bytes* at) {
    q = *(const Uint4*)at;
    if constexpr (kMode == kInt8Pair) r = *(const Uint4*)(at + 2 * kPlane);
  }
  // Their products with sixteen bytes of weights, in steps of the image's scale.
  template <typename Dot>
  JLLM_DEVICE int dot(const Uint4& w, const Dot& dot4) const {
    int sum = dot4(w.w, q.w, dot4(w.z, q.z, dot4(w.y, q.y, dot4(w.x, q.x, 0))));
    if constexpr (kMode == kInt8Pair) {
      sum = dot4(w.w, r.w, dot4(w.z, r.z, dot4(w.y, r.y, dot4(w.x, r.x, sum * kPairFactor))));
    }
    return sum;
  }
  JLLM_DEVICE int dot_unsigned(const Uint4& w) const {
    return dot(w, [](unsigned a, unsigned b, int c) { return dot4_unsigned(a, b, c); });
  }
  JLLM_DEVICE int dot_signed(const Uint4& w) const {
    return dot(w, [](unsigned a, unsigned b, int c) { return dot4_signed(a, b, c); });
  }
};

JLLM_DEVICE Uint4 masked(const Uint4& v, unsigned mask) {
  return {v.x & mask, v.y & mask, v.z & mask, v.w & mask};
}

// Types with a unit of 32.
template <unsigned kMode, unsigned kLength, unsigned kType>
struct Product {
  using W = Weight<kType>;
  using Image = ByteImage<kMode, kLength>;
  static constexpr bool kHalves = W::kTwoScales;
  struct Part {
    Sixteen<kMode> low, high;
    Meta meta;
    int first_sum;  // kHalves
  };
  static JLLM_DEVICE Part read(const Bytes* image, unsigned unit) {
    Part part;
    part.low.template read<Image::kPlane>(image + unit * 16);
    part.high.template read<Image::kPlane>(image + Image::kPlane + unit * 16);
    part.meta = ((const Meta*)(image + Image::kMeta))[unit];
    if constexpr (kHalves) part.first_sum = ((const int*)(image + Image::kFirstSums))[unit];
    return part;
  }
  template <unsigned kRows>
  static JLLM_DEVICE void multiply(const typename W::Raw (&raw)[kRows], const Part& part,
                                   float (&out)[kRows]) {
#pragma unroll
    for (unsigned r = 0; r < kRows; ++r) out[r] += one(raw[r], part);
  }

 private:
  static JLLM_DEVICE float one(const typename W::Raw& raw, const Part& part) {
    if constexpr (W::kTwoScales) {
      Uint4 low, high;
      W::bytes(raw, &low, &high);
      const int first = part.low.dot_unsigned(low), second = part.high.dot_unsigned(high);
      const int second_sum = part.meta.sum - part.first_sum;
      if constexpr (W::kHasMinimum) {
        return part.meta.scale * W::lowered(raw, first, second, part.first_sum, second_sum);
      } else {
        const int a = first - W::kOffset * part.first_sum, b = second - W::kOffset * second_sum;
        return W::super(raw) * part.meta.scale *
               sum_of_products((float)a, W::signed_scale(raw, 0), (float)b,
                               W::signed_scale(raw, 1));
      }
    } else if constexpr (W::kHasMinimum) {
      return part.meta.scale * W::lowered(raw, dot(raw, part), part.meta.sum);
    } else {
      const int sum = W::kOffset == 0 ? 0 : W::kOffset * part.meta.sum;
      return W::scale(raw, 0) * part.meta.scale * (float)(dot(raw, part) - sum);
    }
  }
  // Of all 32.
  static JLLM_DEVICE int dot(const typename W::Raw& raw, const Part& part) {
    if constexpr (W::kNibbles) {
      return part.low.dot_unsigned(masked(raw.quants, 0x0f0f0f0fu)) +
             (part.high.dot_unsigned(masked(raw.quants, 0xf0f0f0f0u)) >> 4);
    } else {
      Uint4 low, high;
      W::bytes(raw, &low, &high);
      if constexpr (W::kSigned) return part.low.dot_signed(low) + part.high.dot_signed(high);
      return part.low.dot_unsigned(low) + part.high.dot_unsigned(high);
    }
  }
};

template <unsigned kMode, unsigned kLength>
struct Product<kMode, kLength, kRowQ8_0> {
  using W = Weight<kRowQ8_0>;
  using Image = ByteImage<kMode, kLength>;
  struct Part {
    Sixteen<kMode> values;
    float scale;
  };
  static JLLM_DEVICE Part read(const Bytes* image, unsigned unit) {
    Part part;
    part.values.template read<Image::kPlane>(image + unit % 2 * Image::kPlane + unit / 2 * 16);
    part.scale = ((const Meta*)(image + Image::kMeta))[unit / 2].scale;
    return part;
  }
  template <unsigned kRows>
  static JLLM_DEVICE void multiply(const typename W::Raw (&raw)[kRows], const Part& part,
                                   float (&out)[kRows]) {
#pragma unroll
    for (unsigned r = 0; r < kRows; ++r) {
      out[r] += W::scale(raw[r], 0) * part.scale * (float)part.values.dot_signed(raw[r].quants);
    }
  }
};

template <unsigned kLength, unsigned kType>
struct Product<kExact, kLength, kType> : ExactProduct<kLength, kType> {};
template <unsigned kLength>
struct Product<kExact, kLength, kRowQ8_0> : ExactProduct<kLength, kRowQ8_0> {};

}  // namespace jllm::device

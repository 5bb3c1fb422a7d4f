// Weights on their way into tensor cores: from the row layout, in pieces that lie in shared memory,
// to B fragments of halves. A weight becomes f16(scale * value - minimum) times kFactor, with scale
// and minimum rounded to f16 themselves: a relative error of 2^-11 of each. The factor keeps small
// scales off f16's subnormals; weights reach +-4000, F16 weights stay as they are.
#pragma once

#include "kernels/device/mma.cuh"
#include "kernels/device/quants.cuh"

namespace jllm::device {

constexpr float kWeightFactor = 16.0f;
constexpr unsigned kHalf16 = 0x4c00;                                     // 16 as f16
constexpr unsigned kScaleAndMinus = kHalf16 | (0x8000 | kHalf16) << 16;  // of scale and minimum
constexpr unsigned kMagic = 0x64006400u;  // 1024 twice: integers or-ed into it are added exactly

// f16 of minus an integer below 1024, 1024 more of it: what turns 1024 + q into q - offset.
constexpr unsigned minus_magic(unsigned offset) { return twice(0xe400 + offset); }

// Calls step(Constant<i>) for i = 0 .. kCount - 1.
template <unsigned kValue>
struct Constant {
  static constexpr unsigned value = kValue;
};
template <unsigned kCount, unsigned kFirst = 0, typename Step>
JLLM_DEVICE void repeat(const Step& step) {
  if constexpr (kFirst < kCount) {
    step(Constant<kFirst>());
    repeat<kCount, kFirst + 1>(step);
  }
}

// What a sub-block of 32 weights of a row is, and how it reaches fragments. Lane 4g + t of a column
// (row of weights) g takes weights 4t .. 4t + 3 of each half of the sub-block; its fragment holds
// (4t, 4t + 2) and (4t + 1, 4t + 3), which is the order of a half image.
//   kMain              bytes of quants, a multiple of 16 (or 0)
//   kSide              bytes of further bits
//   kScaleBytes<subs>  bytes of scales in shared memory for this many sub-blocks
//   kScales            entries of a sub-block in the table of scales: of the first and second half
//   kWords             registers that a lane loads
//   copy_scales        starts the copy of a row's scales from weight `first` on
//   raw, entry         these scales, and an entry made of them: the scale twice, or scale and minus
//                      minimum
//   load               the lane's words; main and side are this row's of the sub-block, kPlane the
//                      distance from 16 bytes of quants to the next
//   make<half>         the fragment, from the words and the entries
template <unsigned kType>
struct TileWeight;

struct TileBase {
  static constexpr unsigned kMain = 16, kSide = 0, kScales = 1, kWords = 1;
  static constexpr float kFactor = kWeightFactor;
};

// Two bytes (0 and 2, or 1 and 3) of a word as 1024 + byte.
JLLM_DEVICE unsigned spread_even(unsigned word) { return __byte_perm(word, 0x64646464u, 0x4240); }
JLLM_DEVICE unsigned spread_odd(unsigned word) { return __byte_perm(word, 0x64646464u, 0x4341); }

// b = (two quants less `offset`) * entry, from words of four bytes.
JLLM_DEVICE void make_of_bytes(unsigned word, unsigned offset, unsigned entry, unsigned (&b)[2]) {
  b[0] = half2_mul(half2_add(spread_even(word), minus_magic(offset)), entry);
  b[1] = half2_mul(half2_add(spread_odd(word), minus_magic(offset)), entry);
}

// Two nibbles of a word (bytes 0 and 2), low or high ones, less kOffset. High ones enter as
// 1024 + 16 q.
template <unsigned kHalf, unsigned kOffset>
JLLM_DEVICE unsigned nibbles(unsigned word, unsigned magic) {
  if constexpr (kHalf == 0) {
    return half2_add(and_or<0x000f000fu>(word, magic), minus_magic(kOffset));
  }
  constexpr unsigned kSixteenth = 0x2c00, kMinus64 = 0xd400;
  static_assert(kOffset == 0 || kOffset == 8, "64 and 72 differ by 128 units");
  return half2_fma(and_or<0x00f000f0u>(word, magic), twice(kSixteenth),
                   twice(kMinus64 + (kOffset == 0 ? 0 : 0x80)));
}

// Types with an f16 scale per 32 weights.
template <unsigned kType>
struct TileHalfScales : TileBase {
  template <unsigned kSubs>
  static constexpr unsigned kScaleBytes = 2 * kSubs;
  template <unsigned kSubs, unsigned kLength>
  static JLLM_DEVICE void copy_scales(const Bytes* row, unsigned first, unsigned to,
                                      unsigned size) {
    const Bytes* from = row + row_layout(kType, kLength).scales + first / 16;
    repeat<kSubs / 2>([&](auto i) {  // two each; behind an odd number stands padding
      const bool inside = kLength % (32 * kSubs) == 0 || first + 64 * i.value < kLength;
      copy_async<4, 4 * i.value, 4 * i.value>(to, from, inside ? size / 4 : 0);
    });
  }
  struct Raw {
    const unsigned short* scales;
  };
  static JLLM_DEVICE Raw raw(const Bytes* at, unsigned) { return {(const unsigned short*)at}; }
  static JLLM_DEVICE unsigned entry(const Raw& raw, unsigned index) {
    return half2_mul(twice(raw.scales[index]), twice(kHalf16));
  }
};

// Four nibbles per lane.
struct TileNibbles {
  static constexpr unsigned kSide = 0, kWords = 1;
  template <unsigned kPlane>
  static JLLM_DEVICE void load(const Bytes* main, const Bytes*, unsigned t, unsigned (&words)[1]) {
    words[0] = *(const unsigned*)(main + 4 * t);
  }
};

// Nibbles, and four bytes of fifth bits in the side plane.
struct TileFiveBits {
  static constexpr unsigned kSide = 4, kWords = 2;
  template <unsigned kPlane>
  static JLLM_DEVICE void load(const Bytes* main, const Bytes* side, unsigned t,
                               unsigned (&words)[2]) {
    words[0] = *(const unsigned*)(main + 4 * t);
    words[1] = *(const unsigned*)side >> (4 * t);
  }
  template <unsigned kHalf>
  static JLLM_DEVICE unsigned quants(const unsigned (&words)[2]) {
    const unsigned low = (kHalf == 0 ? words[0] : words[0] >> 4) & 0x0f0f0f0fu;
    return low | spread_bits<4>(words[1] >> (16 * kHalf));
  }
};

// b = quants * scale + what is added, both in an entry; from words of four bytes.
JLLM_DEVICE void make_affine_of_bytes(unsigned word, unsigned entry, unsigned (&b)[2]) {
  const unsigned s = __byte_perm(entry, 0, 0x1010), m = __byte_perm(entry, 0, 0x3232);
  b[0] = half2_fma(half2_add(spread_even(word), minus_magic(0)), s, m);
  b[1] = half2_fma(half2_add(spread_odd(word), minus_magic(0)), s, m);
}

template <unsigned kHalf>
JLLM_DEVICE void make_affine(const unsigned (&words)[1], unsigned entry, unsigned magic,
                             unsigned (&b)[2]) {
  const unsigned s = __byte_perm(entry, 0, 0x1010), m = __byte_perm(entry, 0, 0x3232);
  b[0] = half2_fma(nibbles<kHalf, 0>(words[0], magic), s, m);
  b[1] = half2_fma(nibbles<kHalf, 0>(words[0] >> 8, magic), s, m);
}
template <unsigned kHalf>
JLLM_DEVICE void make_affine(const unsigned (&words)[2], unsigned entry, unsigned,
                             unsigned (&b)[2]) {
  make_affine_of_bytes(TileFiveBits::quants<kHalf>(words), entry, b);
}

template <>
struct TileWeight<kRowQ4_0> : TileHalfScales<kRowQ4_0>, TileNibbles {
  using TileNibbles::kSide;
  using TileNibbles::kWords;
  template <unsigned kHalf>
  static JLLM_DEVICE void make(const unsigned (&words)[1], const unsigned (&entries)[1],
                               unsigned magic, unsigned (&b)[2]) {
    b[0] = half2_mul(nibbles<kHalf, 8>(words[0], magic), entries[0]);
    b[1] = half2_mul(nibbles<kHalf, 8>(words[0] >> 8, magic), entries[0]);
  }
};

template <>
struct TileWeight<kRowQ5_0> : TileHalfScales<kRowQ5_0>, TileFiveBits {
  using TileFiveBits::kSide;
  using TileFiveBits::kWords;
  template <unsigned kHalf>
  static JLLM_DEVICE void make(const unsigned (&words)[2], const unsigned (&entries)[1], unsigned,
                               unsigned (&b)[2]) {
    make_of_bytes(quants<kHalf>(words), 16, entries[0], b);
  }
};

// Types with a scale and a minimum per 32 weights, two f16.
template <unsigned kType>
struct TileFactorPairs : TileBase {
  template <unsigned kSubs>
  static constexpr unsigned kScaleBytes = 4 * kSubs;
  template <unsigned kSubs, unsigned kLength>
  static JLLM_DEVICE void copy_scales(const Bytes* row, unsigned first, unsigned to,
                                      unsigned size) {
    const Bytes* from = row + row_layout(kType, kLength).scales + first / 8;
    repeat<kSubs>([&](auto i) {
      const bool inside = kLength % (32 * kSubs) == 0 || first + 32 * i.value < kLength;
      copy_async<4, 4 * i.value, 4 * i.value>(to, from, inside ? size / 4 : 0);
    });
  }
  struct Raw {
    const unsigned* factors;
  };
  static JLLM_DEVICE Raw raw(const Bytes* at, unsigned) { return {(const unsigned*)at}; }
  static JLLM_DEVICE unsigned entry(const Raw& raw, unsigned index) {
    return half2_mul(raw.factors[index], twice(kHalf16));
  }
};

// Types with a header per 256 weights.
template <unsigned kType>
struct TileHeaders : TileBase {
  template <unsigned kSubs>
  static constexpr unsigned kScaleBytes = 16;
  template <unsigned kSubs, unsigned kLength>
  static JLLM_DEVICE void copy_scales(const Bytes* row, unsigned first, unsigned to,
                                      unsigned size) {
    copy_async<16>(to, row + row_layout(kType, kLength).scales + first / 256 * 16, size);
  }
  struct Raw {
    unsigned factors;  // of scale and minimum
    unsigned long long low, high;
  };
  static JLLM_DEVICE Raw raw(const Bytes* at, unsigned first) {
    const Uint4 h = *(const Uint4*)at;
    const unsigned shift = 6 * (first / 32 % 8);  // a stage does not reach into the next 256
    return {half2_mul(h.x, kScaleAndMinus), ((unsigned long long)h.z << 32 | h.y) >> shift,
            ((unsigned long long)h.w << 32 | h.z) >> shift};
  }
  static JLLM_DEVICE unsigned entry(const Raw& raw, unsigned index) {
    const unsigned shift = 6 * index;
    const unsigned minimum = (unsigned)(raw.high >> shift) & 0x003f0000u;
    const unsigned scale = (unsigned)(raw.low >> shift) & 0x3fu;
    return half2_mul(half2_add(scale | minimum | kMagic, minus_magic(0)), raw.factors);
  }
};

template <typename Factors, typename Quants>
struct TileAffine : Factors, Quants {
  using Quants::kSide;
  using Quants::kWords;
  template <unsigned kHalf>
  static JLLM_DEVICE void make(const unsigned (&words)[kWords], const unsigned (&entries)[1],
                               unsigned magic, unsigned (&b)[2]) {
    make_affine<kHalf>(words, entries[0], magic, b);
  }
};

template <>
struct TileWeight<kRowQ4_1> : TileAffine<TileFactorPairs<kRowQ4_1>, TileNibbles> {};
template <>
struct TileWeight<kRowQ5_1> : TileAffine<TileFactorPairs<kRowQ5_1>, TileFiveBits> {};
template <>
struct TileWeight<kRowQ4_K> : TileAffine<TileHeaders<kRowQ4_K>, TileNibbles> {};
template <>
struct TileWeight<kRowQ5_K> : TileAffine<TileHeaders<kRowQ5_K>, TileFiveBits> {};

// Types with a signed scale per 16 weights and an f16 per 256.
template <unsigned kType>
struct TileSignedScales : TileBase {
  static constexpr unsigned kScales = 2;
  template <unsigned kSubs>
  static constexpr unsigned kScaleBytes = 4 + 2 * kSubs;
  template <unsigned kSubs, unsigned kLength>
  static JLLM_DEVICE void copy_scales(const Bytes* row, unsigned first, unsigned to,
                                      unsigned size) {
    constexpr RowLayout kLayout = row_layout(kType, kLength);
    copy_async<4>(to, row + kLayout.super + first / 512 * 4, size / 4);  // of two superblocks
    const Bytes* from = row + kLayout.scales + first / 16;
    repeat<kSubs / 2>(
        [&](auto i) { copy_async<4, 4 + 4 * i.value, 4 * i.value>(to, from, size / 4); });
  }
  struct Raw {
    float factor;
    const signed char* scales;
  };
  static JLLM_DEVICE Raw raw(const Bytes* at, unsigned first) {
    return {half_to_float(((const unsigned short*)at)[first / 256 % 2]) * kWeightFactor,
            (const signed char*)at + 4};
  }
  static JLLM_DEVICE unsigned entry(const Raw& raw, unsigned index) {
    const float s = raw.factor * (float)raw.scales[index];
    return floats_to_half2(s, s);
  }
};

template <>
struct TileWeight<kRowQ6_K> : TileSignedScales<kRowQ6_K> {
  static constexpr unsigned kSide = 8, kWords = 2;
  template <unsigned kPlane>
  static JLLM_DEVICE void load(const Bytes* main, const Bytes* side, unsigned t,
                               unsigned (&words)[2]) {
    words[0] = *(const unsigned*)(main + 4 * t);
    words[1] = *(const unsigned*)(side + 4 * (t % 2)) >> (2 * (t / 2));
  }
  template <unsigned kHalf>
  static JLLM_DEVICE void make(const unsigned (&words)[2], const unsigned (&entries)[2], unsigned,
                               unsigned (&b)[2]) {
    const unsigned q = kHalf == 0 ? (words[0] & 0x0f0f0f0fu) | (words[1] << 4 & 0x30303030u)
                                  : (words[0] >> 4 & 0x0f0f0f0fu) | (words[1] & 0x30303030u);
    make_of_bytes(q, 32, entries[kHalf], b);
  }
};

// Types with quants of two bits: word t % 2 of the side plane holds the four weights of lane t.
struct TilePairs {
  static constexpr unsigned kMain = 0, kSide = 8, kWords = 1;
  template <unsigned kPlane>
  static JLLM_DEVICE void load(const Bytes*, const Bytes* side, unsigned t, unsigned (&words)[1]) {
    words[0] = *(const unsigned*)(side + 4 * (t % 2)) >> (2 * (t / 2));
  }
  template <unsigned kHalf>
  static JLLM_DEVICE unsigned quants(unsigned word) {
    return word >> (4 * kHalf) & 0x03030303u;
  }
};

template <>
struct TileWeight<kRowQ3_K> : TileSignedScales<kRowQ3_K> {
  static constexpr unsigned kMain = 0, kSide = 12, kWords = 2;
  template <unsigned kPlane>
  static JLLM_DEVICE void load(const Bytes*, const Bytes* side, unsigned t, unsigned (&words)[2]) {
    words[0] = *(const unsigned*)(side + 4 * (t % 2)) >> (2 * (t / 2));
    words[1] = *(const unsigned*)(side + 8) >> (4 * t);
  }
  template <unsigned kHalf>
  static JLLM_DEVICE void make(const unsigned (&words)[2], const unsigned (&entries)[2], unsigned,
                               unsigned (&b)[2]) {
    const unsigned q =
        TilePairs::quants<kHalf>(words[0]) | spread_bits<2>(words[1] >> (16 * kHalf));
    make_of_bytes(q, 4, entries[kHalf], b);
  }
};

template <>
struct TileWeight<kRowQ2_K> : TileBase, TilePairs {
  using TilePairs::kMain;
  using TilePairs::kSide;
  using TilePairs::kWords;
  static constexpr unsigned kScales = 2;
  template <unsigned kSubs>
  static constexpr unsigned kScaleBytes = 4 + 2 * kSubs;
  template <unsigned kSubs, unsigned kLength>
  static JLLM_DEVICE void copy_scales(const Bytes* row, unsigned first, unsigned to,
                                      unsigned size) {
    constexpr RowLayout kLayout = row_layout(kRowQ2_K, kLength);
    copy_async<4>(to, row + kLayout.super + first / 256 * 4, size / 4);
    const Bytes* from = row + kLayout.scales + first / 16;
    repeat<kSubs / 2>(
        [&](auto i) { copy_async<4, 4 + 4 * i.value, 4 * i.value>(to, from, size / 4); });
  }
  struct Raw {
    unsigned factors;  // of scale and minimum
    const Bytes* scales;
  };
  static JLLM_DEVICE Raw raw(const Bytes* at, unsigned) {
    return {half2_mul(*(const unsigned*)at, kScaleAndMinus), at + 4};
  }
  static JLLM_DEVICE unsigned entry(const Raw& raw, unsigned index) {
    const unsigned both = raw.scales[index];
    const unsigned spread = (both & 15u) | (both >> 4) << 16;
    return half2_mul(half2_add(spread | kMagic, minus_magic(0)), raw.factors);
  }
  template <unsigned kHalf>
  static JLLM_DEVICE void make(const unsigned (&words)[1], const unsigned (&entries)[2], unsigned,
                               unsigned (&b)[2]) {
    make_affine_of_bytes(quants<kHalf>(words[0]), entries[kHalf], b);
  }
};

// Types with an f16 scale per kShared weights, 64 or more.
template <unsigned kType, unsigned kShared>
struct TileSharedScales : TileBase {
  template <unsigned kSubs>
  static constexpr unsigned kScaleBytes = 4;
  template <unsigned kSubs, unsigned kLength>
  static JLLM_DEVICE void copy_scales(const Bytes* row, unsigned first, unsigned to,
                                      unsigned size) {  // of two blocks
    static_assert(32 * kSubs <= 2 * kShared);
    copy_async<4>(to, row + row_layout(kType, kLength).scales + first / (2 * kShared) * 4,
                  size / 4);
  }
  struct Raw {
    const unsigned short* scales;
    unsigned first;
  };
  static JLLM_DEVICE Raw raw(const Bytes* at, unsigned first) {
    return {(const unsigned short*)at, first};
  }
  static JLLM_DEVICE unsigned entry(const Raw& raw, unsigned index) {
    return half2_mul(twice(raw.scales[(raw.first + 32 * index) / kShared % 2]), twice(kHalf16));
  }
};

template <unsigned kType, unsigned kShared>
struct TileTernary : TileSharedScales<kType, kShared>, TilePairs {
  using TilePairs::kMain;
  using TilePairs::kSide;
  using TilePairs::kWords;
  template <unsigned kHalf>
  static JLLM_DEVICE void make(const unsigned (&words)[1], const unsigned (&entries)[1], unsigned,
                               unsigned (&b)[2]) {
    make_of_bytes(TilePairs::quants<kHalf>(words[0]), 1, entries[0], b);
  }
};
template <>
struct TileWeight<kRowTQ2_0> : TileTernary<kRowTQ2_0, 256> {};
template <>
struct TileWeight<kRowQ2_0> : TileTernary<kRowQ2_0, 64> {};

// Nibbles that stand for the integers of a table; they are looked up as they are loaded.
template <unsigned kType>
struct TileTable {
  static constexpr unsigned kWords = 2;
  template <unsigned kPlane>
  static JLLM_DEVICE void load(const Bytes* main, const Bytes*, unsigned t, unsigned (&words)[2]) {
    look_up<kType>(*(const unsigned*)(main + 4 * t), &words[0], &words[1]);
  }
  template <unsigned kHalf>
  static JLLM_DEVICE void make(const unsigned (&words)[2], const unsigned (&entries)[1], unsigned,
                               unsigned (&b)[2]) {
    make_of_bytes(words[kHalf] ^ 0x80808080u, 128, entries[0], b);
  }
};

template <>
struct TileWeight<kRowIQ4_NL> : TileHalfScales<kRowIQ4_NL>, TileTable<kRowIQ4_NL> {
  using TileTable<kRowIQ4_NL>::kWords;
};

template <>
struct TileWeight<kRowIQ4_XS> : TileBase, TileTable<kRowIQ4_XS> {
  using TileTable<kRowIQ4_XS>::kWords;
  template <unsigned kSubs>
  static constexpr unsigned kScaleBytes = 8;
  template <unsigned kSubs, unsigned kLength>
  static JLLM_DEVICE void copy_scales(const Bytes* row, unsigned first, unsigned to,
                                      unsigned size) {
    copy_async<8>(to, row + row_layout(kRowIQ4_XS, kLength).scales + first / 256 * 8, size / 2);
  }
  struct Raw {
    float factor;
    unsigned high, low;
  };
  static JLLM_DEVICE Raw raw(const Bytes* at, unsigned first) {
    const Uint2 header = *(const Uint2*)at;
    const unsigned sub_block = first / 32 % 8;  // a stage does not reach into the next 256
    return {low_half(header.x) * kWeightFactor, header.x >> (16 + 2 * sub_block),
            header.y >> (4 * sub_block)};
  }
  static JLLM_DEVICE unsigned entry(const Raw& raw, unsigned index) {
    const unsigned scale = (raw.low >> (4 * index) & 15u) | (raw.high >> (2 * index) & 3u) << 4;
    const float s = raw.factor * byte_minus<0>(scale, 32.0f);
    return floats_to_half2(s, s);
  }
};

template <>
struct TileWeight<kRowMXFP4> : TileBase, TileTable<kRowMXFP4> {
  using TileTable<kRowMXFP4>::kWords;
  template <unsigned kSubs>
  static constexpr unsigned kScaleBytes = 4;
  template <unsigned kSubs, unsigned kLength>
  static JLLM_DEVICE void copy_scales(const Bytes* row, unsigned first, unsigned to,
                                      unsigned size) {  // of four sub-blocks
    copy_async<4>(to, row + row_layout(kRowMXFP4, kLength).scales + first / 128 * 4, size / 4);
  }
  struct Raw {
    const Bytes* exponents;
  };
  static JLLM_DEVICE Raw raw(const Bytes* at, unsigned first) { return {at + first / 32 % 4}; }
  static JLLM_DEVICE unsigned entry(const Raw& raw, unsigned index) {
    const float s = power_of_two(raw.exponents[index]) * kWeightFactor;
    return floats_to_half2(s, s);
  }
};

template <>
struct TileWeight<kRowQ8_0> : TileHalfScales<kRowQ8_0> {
  static constexpr unsigned kMain = 32, kWords = 2;
  template <unsigned kPlane>
  static JLLM_DEVICE void load(const Bytes* main, const Bytes*, unsigned t, unsigned (&words)[2]) {
    words[0] = *(const unsigned*)(main + 4 * t);
    words[1] = *(const unsigned*)(main + kPlane + 4 * t);
  }
  template <unsigned kHalf>
  static JLLM_DEVICE void make(const unsigned (&words)[2], const unsigned (&entries)[1], unsigned,
                               unsigned (&b)[2]) {
    make_of_bytes(words[kHalf] ^ 0x80808080u, 128, entries[0], b);
  }
};

// A unit is four bytes of signs.
template <>
struct TileWeight<kRowQ1_0> : TileSharedScales<kRowQ1_0, 128> {
  static constexpr unsigned kMain = 0, kSide = 4;
  template <unsigned kPlane>
  static JLLM_DEVICE void load(const Bytes*, const Bytes* side, unsigned t, unsigned (&words)[1]) {
    words[0] = ~(*(const unsigned*)side >> (4 * t));  // 1: negative
  }
  template <unsigned kHalf>
  static JLLM_DEVICE void make(const unsigned (&words)[1], const unsigned (&entries)[1], unsigned,
                               unsigned (&b)[2]) {
    const unsigned w = words[0] >> (16 * kHalf);
    b[0] = entries[0] ^ ((w << 15 & 0x8000u) | (w << 29 & 0x80000000u));
    b[1] = entries[0] ^ ((w << 14 & 0x8000u) | (w << 28 & 0x80000000u));
  }
};

// Types of 16 bits: the lane's four weights are two words.
struct TilePlain : TileBase {
  static constexpr unsigned kMain = 64, kScales = 0, kWords = 4;
  template <unsigned kSubs>
  static constexpr unsigned kScaleBytes = 0;
  template <unsigned kPlane>
  static JLLM_DEVICE void load(const Bytes* main, const Bytes*, unsigned t, unsigned (&words)[4]) {
    const Bytes* from = main + t / 2 * kPlane + t % 2 * 8;
    const Uint2 low = *(const Uint2*)from, high = *(const Uint2*)(from + 2 * kPlane);
    words[0] = low.x, words[1] = low.y, words[2] = high.x, words[3] = high.y;
  }
};

template <>
struct TileWeight<kRowF16> : TilePlain {
  static constexpr float kFactor = 1.0f;
  template <unsigned kHalf>
  static JLLM_DEVICE void make(const unsigned (&words)[4], const unsigned (&)[1], unsigned,
                               unsigned (&b)[2]) {
    b[0] = __byte_perm(words[2 * kHalf], words[2 * kHalf + 1], 0x5410);
    b[1] = __byte_perm(words[2 * kHalf], words[2 * kHalf + 1], 0x7632);
  }
};

// Exact from 2^-18 to 4000, off by at most 2^-29 below.
template <>
struct TileWeight<kRowBF16> : TilePlain {
  template <unsigned kHalf>
  static JLLM_DEVICE void make(const unsigned (&words)[4], const unsigned (&)[1], unsigned,
                               unsigned (&b)[2]) {
    const unsigned low = words[2 * kHalf], high = words[2 * kHalf + 1];
    b[0] = floats_to_half2(low_bfloat(low) * kFactor, low_bfloat(high) * kFactor);
    b[1] = floats_to_half2(high_bfloat(low) * kFactor, high_bfloat(high) * kFactor);
  }
};

}  // namespace jllm::device

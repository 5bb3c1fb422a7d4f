// Q2_K to Q6_K: blocks of 256 elements whose sub-block scales are quantised in turn.
#include "compiler/gguf/quants_k.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "compiler/gguf/load.h"
#include "compiler/gguf/quants.h"

namespace jllm::gguf {
namespace {

constexpr int kSuperBlock = 256;
constexpr int kLanes = 8;

// Q4_K: {d; dmin; scales[12]; qs[128]}, eight sub-blocks of 32, w = d sc q - dmin m.
// Q5_K: {d; dmin; scales[12]; qh[32]; qs[128]}, bit j of qh[i] is the fifth of weight i of
// sub-block j.
constexpr int kQ4KQuants = 16;  // offset of qs
constexpr int kQ5KQuants = 48;
constexpr int kQ4KSubBlocks = 8;
constexpr int kQ4KSubBlock = 32;
// Q2_K: {scales[16]; qs[64]; d; dmin}, sixteen sub-blocks of 16, w = d (scale & 15) q - dmin (scale
// >> 4). Q3_K: {hmask[32]; qs[64]; scales[12]; d}, sub-blocks alike, w = d (scale - 32) v.
constexpr int kSmallSubBlocks = 16;
constexpr int kSmallSubBlock = 16;
constexpr int kQ2KQuants = 16;  // offsets in a block
constexpr int kQ2KScale = 80;
constexpr int kQ3KQuants = 32;
constexpr int kQ3KScales = 96;
constexpr int kQ3KScale = 108;
// Q6_K: {ql[128]; qh[64]; scales[16]; d}, sixteen sub-blocks of 16, w = d sc q.
constexpr int kQ6KBytes = 210;
constexpr int kQ6KSubBlocks = 16;
constexpr int kQ6KSubBlock = 16;
constexpr int kQ6KHigh = 128;    // offset of qh
constexpr int kQ6KScales = 192;  // offset of scales
constexpr int kQ6KScale = 208;   // offset of d

struct ScaleMin {
  uint8_t scale;
  uint8_t min;
};

// The 6-bit pairs: of the first four the low 6 bits of a byte, of the last four the nibbles of a
// byte and the top two bits of the bytes of the first four.
ScaleMin unpack_scale_min(const uint8_t* s, int j) {
  if (j < 4) return {static_cast<uint8_t>(s[j] & 63), static_cast<uint8_t>(s[j + 4] & 63)};
  return {static_cast<uint8_t>((s[j + 4] & 15) | (s[j - 4] >> 6) << 4),
          static_cast<uint8_t>(s[j + 4] >> 4 | (s[j] >> 6) << 4)};
}

void pack_scale_mins(const ScaleMin* pairs, uint8_t* s) {
  for (int j = 0; j < 4; ++j) {
    const ScaleMin low = pairs[j];
    const ScaleMin high = pairs[j + 4];
    s[j] = static_cast<uint8_t>(low.scale | (high.scale >> 4) << 6);
    s[j + 4] = static_cast<uint8_t>(low.min | (high.min >> 4) << 6);
    s[j + 8] = static_cast<uint8_t>((high.scale & 15) | (high.min & 15) << 4);
  }
}

float inverse_or_zero(float value) { return value != 0 ? 1.0f / value : 0.0f; }

// Sums over a sub-block, for one rounding of it to integers.
struct AffineSums {
  float weight, q, qq, x, xq;
};

template <bool kWeighted>
AffineSums sum_affine(const float* x, const float* importance, int size, float low, float inverse,
                      float limit) {
  float sums[5][kLanes] = {};
  for (int i = 0; i < size; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float value = x[i + lane];
      const float weight = kWeighted ? importance[i + lane] : 1.0f;
      const float q = round_small(clamp_to((value - low) * inverse, 0, limit));
      if (kWeighted) sums[0][lane] += weight;
      sums[1][lane] += weight * q;
      sums[2][lane] += weight * (q * q);
      sums[3][lane] += weight * value;
      sums[4][lane] += weight * (value * q);
    }
  }
  for (float* sum : sums) {
    for (int lane = 1; lane < kLanes; ++lane) sum[0] += sum[lane];
  }
  return {kWeighted ? sums[0][0] : float(size), sums[1][0], sums[2][0], sums[3][0], sums[4][0]};
}

// Keeps the fit to these sums where it is better than what there was.
void consider(const AffineSums& s, bool signed_min, AffineFit* best, float* best_error) {
  const float determinant = s.weight * s.qq - s.q * s.q;
  if (!(determinant > 0)) return;
  float scale = (s.weight * s.xq - s.x * s.q) / determinant;
  float min = (s.q * s.xq - s.qq * s.x) / determinant;
  if (min < 0 && !signed_min) {
    min = 0;
    scale = s.xq / s.qq;
  }
  // The squared error without its constant term, the sum of x^2.
  const float error = scale * scale * s.qq - 2 * scale * min * s.q + s.weight * min * min -
                      2 * scale * s.xq + 2 * min * s.x;
  if (error >= *best_error) return;
  *best_error = error;
  *best = {scale, min};
}

void quantise_q45_k_block(const float* x, const float* importance, uint8_t* block, bool fifth) {
  const float limit = fifth ? 31 : 15;
  AffineFit fits[kQ4KSubBlocks];
  float largest_scale = 0;
  float largest_min = 0;
  for (int j = 0; j < kQ4KSubBlocks; ++j) {
    // The minimum is never positive: the format subtracts it.
    fits[j] = fit_affine(x + j * kQ4KSubBlock, at(importance, j * kQ4KSubBlock), kQ4KSubBlock,
                         limit, false);
    largest_scale = std::max(largest_scale, fits[j].scale);
    largest_min = std::max(largest_min, fits[j].min);
  }
  const uint16_t d_bits = f32_to_f16(largest_scale / 63);
  const uint16_t dmin_bits = f32_to_f16(largest_min / 63);
  const float d = f16_to_f32(d_bits);
  const float dmin = f16_to_f32(dmin_bits);
  ScaleMin pairs[kQ4KSubBlocks];
  uint8_t integers[kSuperBlock];
  for (int j = 0; j < kQ4KSubBlocks; ++j) {
    const float scale = round_small(clamp_to(fits[j].scale * inverse_or_zero(d), 0, 63));
    const float min = round_small(clamp_to(fits[j].min * inverse_or_zero(dmin), 0, 63));
    pairs[j] = {static_cast<uint8_t>(scale), static_cast<uint8_t>(min)};
    const float inverse = inverse_or_zero(d * scale);
    for (int i = j * kQ4KSubBlock; i < (j + 1) * kQ4KSubBlock; ++i) {
      integers[i] =
          static_cast<uint8_t>(round_small(clamp_to((x[i] + dmin * min) * inverse, 0, limit)));
    }
  }
  std::memcpy(block, &d_bits, sizeof(d_bits));
  std::memcpy(block + 2, &dmin_bits, sizeof(dmin_bits));
  pack_scale_mins(pairs, block + 4);
  uint8_t* qs = block + (fifth ? kQ5KQuants : kQ4KQuants);
  for (int chunk = 0; chunk < 4; ++chunk) {
    for (int i = 0; i < 32; ++i) {
      qs[32 * chunk + i] = static_cast<uint8_t>((integers[64 * chunk + i] & 15) |
                                                (integers[64 * chunk + 32 + i] & 15) << 4);
    }
  }
  if (!fifth) return;
  for (int i = 0; i < 32; ++i) {
    int bits = 0;
    for (int j = 0; j < kQ4KSubBlocks; ++j) bits |= integers[32 * j + i] >> 4 << j;
    block[kQ4KQuants + i] = static_cast<uint8_t>(bits);
  }
}

// Pairs of bits: weights l, l + 32, l + 64 and l + 96 of 128 share a byte.
int pair_at(const uint8_t* qs, int i) { return qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3; }

void store_pairs(const uint8_t* integers, uint8_t* qs) {
  std::memset(qs, 0, kSuperBlock / 4);
  for (int i = 0; i < kSuperBlock; ++i) {
    qs[i / 128 * 32 + i % 32] |= static_cast<uint8_t>((integers[i] & 3) << (i / 32 % 4 * 2));
  }
}

void quantise_q2_k_block(const float* x, const float* importance, uint8_t* block) {
  AffineFit fits[kSmallSubBlocks];
  float largest_scale = 0;
  float largest_min = 0;
  for (int j = 0; j < kSmallSubBlocks; ++j) {
    const int first = j * kSmallSubBlock;
    fits[j] = fit_affine(x + first, at(importance, uint64_t(first)), kSmallSubBlock, 3, false);
    largest_scale = std::max(largest_scale, fits[j].scale);
    largest_min = std::max(largest_min, fits[j].min);
  }
  const uint16_t d_bits = f32_to_f16(largest_scale / 15);
  const uint16_t dmin_bits = f32_to_f16(largest_min / 15);
  const float d = f16_to_f32(d_bits);
  const float dmin = f16_to_f32(dmin_bits);
  uint8_t integers[kSuperBlock];
  for (int j = 0; j < kSmallSubBlocks; ++j) {
    const float scale = round_small(clamp_to(fits[j].scale * inverse_or_zero(d), 0, 15));
    const float min = round_small(clamp_to(fits[j].min * inverse_or_zero(dmin), 0, 15));
    block[j] = static_cast<uint8_t>(static_cast<int>(scale) | static_cast<int>(min) << 4);
    const float inverse = inverse_or_zero(d * scale);
    for (int i = j * kSmallSubBlock; i < (j + 1) * kSmallSubBlock; ++i) {
      integers[i] =
          static_cast<uint8_t>(round_small(clamp_to((x[i] + dmin * min) * inverse, 0, 3)));
    }
  }
  store_pairs(integers, block + kQ2KQuants);
  std::memcpy(block + kQ2KScale, &d_bits, sizeof(d_bits));
  std::memcpy(block + kQ2KScale + 2, &dmin_bits, sizeof(dmin_bits));
}

// The 6-bit scales of Q3_K: low halves in 8 bytes, the upper two bits in 4 more.
int q3_k_scale(const uint8_t* packed, int j) {
  return (packed[j % 8] >> (j / 8 * 4) & 15) | (packed[8 + j % 4] >> (j / 4 * 2) & 3) << 4;
}

void quantise_q3_k_block(const float* x, const float* importance, uint8_t* block) {
  float scales[kSmallSubBlocks];
  float extreme = 0;
  for (int j = 0; j < kSmallSubBlocks; ++j) {
    const int first = j * kSmallSubBlock;
    scales[j] = fit_symmetric_scale(x + first, at(importance, uint64_t(first)), kSmallSubBlock, 4);
    if (std::fabs(scales[j]) > std::fabs(extreme)) extreme = scales[j];
  }
  const uint16_t d_bits = f32_to_f16(extreme / -32);
  const float d = f16_to_f32(d_bits);
  uint8_t integers[kSuperBlock];
  uint8_t* packed = block + kQ3KScales;
  std::memset(packed, 0, 12);
  for (int j = 0; j < kSmallSubBlocks; ++j) {
    const float scale = round_small(clamp_to(scales[j] * inverse_or_zero(d), -32, 31));
    const int stored = static_cast<int>(scale) + 32;
    packed[j % 8] |= static_cast<uint8_t>((stored & 15) << (j / 8 * 4));
    packed[8 + j % 4] |= static_cast<uint8_t>((stored >> 4) << (j / 4 * 2));
    const float inverse = inverse_or_zero(d * scale);
    for (int i = j * kSmallSubBlock; i < (j + 1) * kSmallSubBlock; ++i) {
      integers[i] = static_cast<uint8_t>(round_small(clamp_to(x[i] * inverse, -4, 3)) + 4);
    }
  }
  store_pairs(integers, block + kQ3KQuants);
  std::memcpy(block + kQ3KScale, &d_bits, sizeof(d_bits));
  std::memset(block, 0, 32);
  for (int i = 0; i < kSuperBlock; ++i) {
    block[i % 32] |= static_cast<uint8_t>(integers[i] >> 2 << i / 32);
  }
}

void quantise_q6_k_block(const float* x, const float* importance, uint8_t* block) {
  float scales[kQ6KSubBlocks];
  float extreme = 0;
  for (int j = 0; j < kQ6KSubBlocks; ++j) {
    scales[j] = fit_symmetric_scale(x + j * kQ6KSubBlock, at(importance, j * kQ6KSubBlock),
                                    kQ6KSubBlock, 32);
    if (std::fabs(scales[j]) > std::fabs(extreme)) extreme = scales[j];
  }
  // The extreme scale becomes -128, the integer that has no positive counterpart.
  const uint16_t d_bits = f32_to_f16(extreme / -128);
  const float d = f16_to_f32(d_bits);
  uint8_t integers[kSuperBlock];
  for (int j = 0; j < kQ6KSubBlocks; ++j) {
    const float scale = round_small(clamp_to(scales[j] * inverse_or_zero(d), -128, 127));
    block[kQ6KScales + j] = static_cast<uint8_t>(static_cast<int8_t>(scale));
    const float inverse = inverse_or_zero(d * scale);
    for (int i = j * kQ6KSubBlock; i < (j + 1) * kQ6KSubBlock; ++i) {
      integers[i] = static_cast<uint8_t>(round_small(clamp_to(x[i] * inverse, -32, 31)) + 32);
    }
  }
  std::memcpy(block + kQ6KScale, &d_bits, sizeof(d_bits));
  for (int half = 0; half < 2; ++half) {
    const uint8_t* q = integers + 128 * half;
    for (int i = 0; i < 32; ++i) {
      block[64 * half + i] = static_cast<uint8_t>((q[i] & 15) | (q[i + 64] & 15) << 4);
      block[64 * half + 32 + i] = static_cast<uint8_t>((q[i + 32] & 15) | (q[i + 96] & 15) << 4);
      block[kQ6KHigh + 32 * half + i] = static_cast<uint8_t>(
          q[i] >> 4 | (q[i + 32] >> 4) << 2 | (q[i + 64] >> 4) << 4 | (q[i + 96] >> 4) << 6);
    }
  }
}

}  // namespace

AffineFit fit_affine(const float* x, const float* importance, int size, float limit,
                     bool signed_min) {
  float low = signed_min ? x[0] : 0;
  float high = x[0];
  for (int i = 0; i < size; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  if (!(high > low)) return {0, -low};
  AffineFit best{(high - low) / limit, -low};
  float best_error = INFINITY;
  for (int step = -1; step <= 8; ++step) {
    const float inverse = (limit + 0.2f * static_cast<float>(step)) / (high - low);
    consider(importance != nullptr ? sum_affine<true>(x, importance, size, low, inverse, limit)
                                   : sum_affine<false>(x, nullptr, size, low, inverse, limit),
             signed_min, &best, &best_error);
  }
  if (importance == nullptr) return best;
  // What matters little may be cut off, at either end.
  const float range = high - low;
  for (int below = 0; below < 4; ++below) {
    for (int above = below == 0 ? 1 : 0; above < 4; ++above) {
      const float cut_low = low + 0.1f * static_cast<float>(below) * range;
      const float rest = range * (1 - 0.1f * static_cast<float>(below + above));
      consider(sum_affine<true>(x, importance, size, cut_low, limit / rest, limit), signed_min,
               &best, &best_error);
    }
  }
  return best;
}

void dequantise_q45_k(const uint8_t* blocks, float* out, uint64_t count, WeightType type) {
  const bool fifth = type == WeightType::kQ5_K;
  const uint64_t bytes = block_shape(type).bytes;
  for (uint64_t base = 0; base < count; base += kSuperBlock, blocks += bytes) {
    const float d = f16_to_f32(load<uint16_t>(blocks));
    const float dmin = f16_to_f32(load<uint16_t>(blocks + 2));
    for (int j = 0; j < kQ4KSubBlocks; ++j) {
      const ScaleMin pair = unpack_scale_min(blocks + 4, j);
      const float scale = d * static_cast<float>(pair.scale);
      const float min = dmin * static_cast<float>(pair.min);
      const uint8_t* qs = blocks + (fifth ? kQ5KQuants : kQ4KQuants) + 32 * (j / 2);
      const int shift = 4 * (j % 2);
      float* sub_block = out + base + j * kQ4KSubBlock;
      for (int i = 0; i < kQ4KSubBlock; ++i) {
        const int high = fifth ? blocks[kQ4KQuants + i] >> j & 1 : 0;
        sub_block[i] = scale * static_cast<float>((qs[i] >> shift & 15) | high << 4) - min;
      }
    }
  }
}

void dequantise_q6_k(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t base = 0; base < count; base += kSuperBlock, blocks += kQ6KBytes) {
    const float d = f16_to_f32(load<uint16_t>(blocks + kQ6KScale));
    for (int half = 0; half < 2; ++half) {
      const uint8_t* low = blocks + 64 * half;
      const uint8_t* high = blocks + kQ6KHigh + 32 * half;
      for (int quarter = 0; quarter < 4; ++quarter) {
        const uint8_t* ql = low + 32 * (quarter % 2);
        const int low_shift = 4 * (quarter / 2);
        const int high_shift = 2 * quarter;
        for (int i = 0; i < 32; ++i) {
          const int q = (ql[i] >> low_shift & 15) | (high[i] >> high_shift & 3) << 4;
          const uint8_t scale = blocks[kQ6KScales + 8 * half + 2 * quarter + i / 16];
          const float step = d * static_cast<float>(static_cast<int8_t>(scale));
          out[base + 128 * half + 32 * quarter + i] = step * static_cast<float>(q - 32);
        }
      }
    }
  }
}

void dequantise_q2_k(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t base = 0; base < count; base += kSuperBlock, blocks += 84) {
    const float d = f16_to_f32(load<uint16_t>(blocks + kQ2KScale));
    const float dmin = f16_to_f32(load<uint16_t>(blocks + kQ2KScale + 2));
    for (int i = 0; i < kSuperBlock; ++i) {
      const int pair = blocks[i / kSmallSubBlock];
      const float scale = d * static_cast<float>(pair & 15);
      const float min = dmin * static_cast<float>(pair >> 4);
      out[base + i] = scale * static_cast<float>(pair_at(blocks + kQ2KQuants, i)) - min;
    }
  }
}

void dequantise_q3_k(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t base = 0; base < count; base += kSuperBlock, blocks += 110) {
    const float d = f16_to_f32(load<uint16_t>(blocks + kQ3KScale));
    for (int i = 0; i < kSuperBlock; ++i) {
      const int scale = q3_k_scale(blocks + kQ3KScales, i / kSmallSubBlock) - 32;
      const int high = blocks[i % 32] >> i / 32 & 1;
      const int q = pair_at(blocks + kQ3KQuants, i) | high << 2;
      out[base + i] = d * static_cast<float>(scale) * static_cast<float>(q - 4);
    }
  }
}

void quantise_q2_k(const float* in, const float* importance, uint8_t* blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kSuperBlock, blocks += 84) {
    quantise_q2_k_block(in + i, at(importance, i), blocks);
  }
}

void quantise_q3_k(const float* in, const float* importance, uint8_t* blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kSuperBlock, blocks += 110) {
    quantise_q3_k_block(in + i, at(importance, i), blocks);
  }
}

void quantise_q45_k(const float* in, const float* importance, uint8_t* blocks, uint64_t count,
                    WeightType type) {
  for (uint64_t i = 0; i < count; i += kSuperBlock, blocks += block_shape(type).bytes) {
    quantise_q45_k_block(in + i, at(importance, i), blocks, type == WeightType::kQ5_K);
  }
}

void quantise_q6_k(const float* in, const float* importance, uint8_t* blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kSuperBlock, blocks += kQ6KBytes) {
    quantise_q6_k_block(in + i, at(importance, i), blocks);
  }
}

}  // namespace jllm::gguf

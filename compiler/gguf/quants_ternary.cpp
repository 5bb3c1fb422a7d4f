// TQ1_0, TQ2_0 and Q2_0: integers from -1 on and one scale.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "compiler/gguf/load.h"
#include "compiler/gguf/quants.h"
#include "compiler/gguf/quants_k.h"

namespace jllm::gguf {
namespace {

constexpr int kSuperBlock = 256;
// TQ2_0: {qs[64]; d}, as Q2_K's. TQ1_0: {qs[48]; qh[4]; d}, base 3: five digits to a byte, in the
// last four bytes four. Q2_0: {d; qs[16]}, weights in order. w = d (q - 1).
constexpr int kTQ2Quants = 64;
constexpr int kTQ1Quants = 52;
constexpr int kQ2Block = 64;

float ternary(float x, float inverse) { return round_small(clamp_to(x * inverse, -1, 1)); }

// Scale of {-1, 0, 1}: the largest magnitude, or with importance the best of a search below it.
float fit_ternary_scale(const float* x, const float* importance, int count) {
  float largest = 0;
  for (int i = 0; i < count; ++i) largest = std::max(largest, std::fabs(x[i]));
  if (importance == nullptr || largest == 0) return largest;
  float best_scale = largest, best_gain = 0;
  for (int step = 0; step < 16; ++step) {
    const float inverse = 1.0f / (largest * (1 - 0.05f * static_cast<float>(step)));
    float xq = 0, qq = 0;
    for (int i = 0; i < count; ++i) {
      const float q = ternary(x[i], inverse);
      xq += importance[i] * x[i] * q;
      qq += importance[i] * q * q;
    }
    if (xq * xq > best_gain * qq) {
      best_gain = xq * xq / qq;
      best_scale = xq / qq;
    }
  }
  return best_scale;
}

// The scale as stored; the integers less their least.
uint16_t fit_ternary(const float* x, const float* importance, int count, uint8_t* integers) {
  const uint16_t d_bits = f32_to_f16(fit_ternary_scale(x, importance, count));
  const float d = f16_to_f32(d_bits);
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  for (int i = 0; i < count; ++i) integers[i] = static_cast<uint8_t>(ternary(x[i], inverse) + 1);
  return d_bits;
}

// Calls visit(byte, digit, element) for the digits of a TQ1_0 block, the first of a byte being the
// most significant of five.
template <typename Visit>
void for_digits(const Visit& visit) {
  struct Run {
    int first_byte, bytes, digits, first_element;
  };
  for (const Run& run : {Run{0, 32, 5, 0}, Run{32, 16, 5, 160}, Run{48, 4, 4, 240}}) {
    for (int digit = 0; digit < run.digits; ++digit) {
      for (int m = 0; m < run.bytes; ++m) {
        visit(run.first_byte + m, digit, run.first_element + digit * run.bytes + m);
      }
    }
  }
}

constexpr int kPowers[] = {1, 3, 9, 27, 81};

}  // namespace

void dequantise_tq2_0(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kSuperBlock, blocks += 66) {
    const float d = f16_to_f32(load<uint16_t>(blocks + kTQ2Quants));
    for (int j = 0; j < kSuperBlock; ++j) {
      const int q = blocks[j / 128 * 32 + j % 32] >> (j / 32 % 4 * 2) & 3;
      out[i + j] = d * static_cast<float>(q - 1);
    }
  }
}

void quantise_tq2_0(const float* in, const float* importance, uint8_t* blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kSuperBlock, blocks += 66) {
    uint8_t q[kSuperBlock];
    const uint16_t d = fit_ternary(in + i, at(importance, i), kSuperBlock, q);
    std::memset(blocks, 0, kTQ2Quants);
    for (int j = 0; j < kSuperBlock; ++j) {
      blocks[j / 128 * 32 + j % 32] |= static_cast<uint8_t>(q[j] << (j / 32 % 4 * 2));
    }
    std::memcpy(blocks + kTQ2Quants, &d, sizeof(d));
  }
}

void dequantise_tq1_0(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kSuperBlock, blocks += 54) {
    const float d = f16_to_f32(load<uint16_t>(blocks + kTQ1Quants));
    // A byte is a fraction of 256 with five digits behind the point.
    for_digits([&](int byte, int digit, int element) {
      const int q = (blocks[byte] * kPowers[digit] & 255) * 3 >> 8;
      out[i + static_cast<uint64_t>(element)] = d * static_cast<float>(q - 1);
    });
  }
}

void quantise_tq1_0(const float* in, const float* importance, uint8_t* blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kSuperBlock, blocks += 54) {
    uint8_t q[kSuperBlock];
    const uint16_t d = fit_ternary(in + i, at(importance, i), kSuperBlock, q);
    int numbers[kTQ1Quants] = {};
    for_digits([&](int byte, int digit, int element) {
      numbers[byte] += q[element] * kPowers[4 - digit];
    });
    // Rounded up, so that the digits come out again.
    for (int j = 0; j < kTQ1Quants; ++j) {
      blocks[j] = static_cast<uint8_t>((numbers[j] * 256 + 242) / 243);
    }
    std::memcpy(blocks + kTQ1Quants, &d, sizeof(d));
  }
}

void dequantise_q2_0(const uint8_t* blocks, float* out, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kQ2Block, blocks += 18) {
    const float d = f16_to_f32(load<uint16_t>(blocks));
    for (int j = 0; j < kQ2Block; ++j) {
      const int q = blocks[2 + j / 4] >> (j % 4 * 2) & 3;
      out[i + j] = d * static_cast<float>(q - 1);
    }
  }
}

void quantise_q2_0(const float* in, const float* importance, uint8_t* blocks, uint64_t count) {
  for (uint64_t i = 0; i < count; i += kQ2Block, blocks += 18) {
    uint8_t q[kQ2Block];
    const uint16_t d = fit_ternary(in + i, at(importance, i), kQ2Block, q);
    std::memcpy(blocks, &d, sizeof(d));
    std::memset(blocks + 2, 0, 16);
    for (int j = 0; j < kQ2Block; ++j) {
      blocks[2 + j / 4] |= static_cast<uint8_t>(q[j] << (j % 4 * 2));
    }
  }
}

}  // namespace jllm::gguf

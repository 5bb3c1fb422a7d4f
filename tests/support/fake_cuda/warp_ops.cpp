#include "tests/support/fake_cuda/warp_ops.h"

#include <cstring>
#include <vector>

#include "tests/support/fake_cuda/race.h"
#include "tests/support/fake_cuda/report.h"

namespace jllm::fake {
namespace {

float half_value(unsigned bits) {
  const unsigned exponent = bits >> 10 & 31, mantissa = bits & 1023;
  float value = exponent == 0    ? static_cast<float>(mantissa) * 0x1p-24f
                : exponent == 31 ? (mantissa != 0 ? __builtin_nanf("") : __builtin_inff())
                                 : __uint_as_float((exponent + 112) << 23 | mantissa << 13);
  return bits & 0x8000 ? -value : value;
}

// All 65536 of them: a product converts 400 values.
const float* half_values() {
  static const std::vector<float>* const values = [] {
    auto* made = new std::vector<float>(65536);
    for (unsigned bits = 0; bits < 65536; ++bits) (*made)[bits] = half_value(bits);
    return made;
  }();
  return values->data();
}

float low(unsigned pair, bool bfloat) {
  return bfloat ? __uint_as_float(pair << 16) : half_values()[pair & 0xffff];
}
float high(unsigned pair, bool bfloat) {
  return bfloat ? __uint_as_float(pair & 0xffff0000u) : half_values()[pair >> 16];
}

// Lane 4g + t has of A[16][16] columns 2t, 2t + 1 (+ 8 in words 2, 3) of rows g (+ 8 in words 1,
// 3).
void gather_a(const unsigned* const (&words)[32], bool bfloat, float (&a)[16][16]) {
  for (unsigned lane = 0; lane < 32; ++lane) {
    const unsigned g = lane / 4, t = lane % 4;
    for (unsigned w = 0; w < 4; ++w) {
      float* at = &a[g + w % 2 * 8][2 * t + w / 2 * 8];
      at[0] = low(words[lane][w], bfloat);
      at[1] = high(words[lane][w], bfloat);
    }
  }
}

void multiply(void* const (&arguments)[32], bool bfloat) {
  float a[16][16], b[8][16];
  const unsigned* words[32];
  for (unsigned lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<SimtProduct*>(arguments[lane]);
    words[lane] = mine.a;
    // Lane 4g + t has of B[16][8] rows 2t, 2t + 1 (+ 8 in word 1) of column g.
    for (unsigned w = 0; w < 2; ++w) {
      b[lane / 4][lane % 4 * 2 + 8 * w] = low(mine.b[w], bfloat);
      b[lane / 4][lane % 4 * 2 + 8 * w + 1] = high(mine.b[w], bfloat);
    }
  }
  gather_a(words, bfloat, a);
  for (unsigned lane = 0; lane < 32; ++lane) {
    float* c = static_cast<SimtProduct*>(arguments[lane])->c;
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      double sum = c[i];
      for (unsigned k = 0; k < 16; ++k) {
        sum += static_cast<double>(a[row][k]) * static_cast<double>(b[column][k]);
      }
      c[i] = static_cast<float>(sum);
    }
  }
}

// kernels/device/wgmma.cuh has the layouts.
void multiply_group(void* const (&arguments)[32]) {
  float a[16][16];
  const unsigned* words[32];
  for (unsigned lane = 0; lane < 32; ++lane) {
    words[lane] = static_cast<SimtGroupProduct*>(arguments[lane])->a;
  }
  gather_a(words, false, a);
  const auto& first = *static_cast<SimtGroupProduct*>(arguments[0]);
  const unsigned slot = first.b & ~127u, step = first.b % 128 / 32;
  for (unsigned token = 0; token < first.tokens; ++token) {
    float b[16];
    for (unsigned piece = 0; piece < 2; ++piece) {
      const unsigned place = (2 * step + piece) ^ token % 8;
      const void* at = simt_shared_pointer(slot + token * 128 + place * 16, 16);
      note_access(at, 16, Access::kRead);
      unsigned short halves[8];
      std::memcpy(halves, at, sizeof halves);
      for (unsigned k = 0; k < 8; ++k) b[8 * piece + k] = half_values()[halves[k]];
    }
    for (unsigned row = 0; row < 16; ++row) {
      // Lane 4g + t has of token 8j + 2t + i rows g, g + 8 in d[4j + i], d[4j + 2 + i].
      const unsigned lane = row % 8 * 4 + token % 8 / 2;
      float& d = static_cast<SimtGroupProduct*>(arguments[lane])
                     ->d[token / 8 * 4 + row / 8 * 2 + token % 2];
      double sum = d;
      for (unsigned k = 0; k < 16; ++k) {
        sum += static_cast<double>(a[row][k]) * static_cast<double>(b[k]);
      }
      d = static_cast<float>(sum);
    }
  }
}

// Lanes 8m .. 8m + 7 give the rows of matrix m; lane 4g + t gets elements 2t, 2t + 1 of its row g,
// or of its column g.
void load_matrices(void* const (&arguments)[32]) {
  unsigned short rows[32][8];
  for (unsigned lane = 0; lane < 32; ++lane) {
    std::memcpy(rows[lane], static_cast<SimtMatrices*>(arguments[lane])->row, 16);
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<SimtMatrices*>(arguments[lane]);
    const unsigned g = lane / 4, t = lane % 4;
    for (unsigned m = 0; m < 4; ++m) {
      const unsigned short first =
          mine.transposed ? rows[8 * m + 2 * t][g] : rows[8 * m + g][2 * t];
      const unsigned short second =
          mine.transposed ? rows[8 * m + 2 * t + 1][g] : rows[8 * m + g][2 * t + 1];
      mine.out[m] = first | static_cast<unsigned>(second) << 16;
    }
  }
}

void exchange(SimtCollective kind, unsigned mask, void* const (&arguments)[32]) {
  unsigned ballot = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (arguments[lane] == nullptr) continue;
    ballot |= static_cast<SimtValue*>(arguments[lane])->value != 0 ? 1u << lane : 0;
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (arguments[lane] == nullptr) continue;
    auto& mine = *static_cast<SimtValue*>(arguments[lane]);
    if (kind == kSimtBallot) mine.result = ballot;
    if (kind == kSimtShuffle) {
      const unsigned source = mine.source == kSimtOwnLane ? lane : mine.source;
      if ((mask >> source & 1) == 0) {
        violation("lane %u shuffles from lane %u, which takes no part", lane, source);
        continue;
      }
      mine.result = static_cast<SimtValue*>(arguments[source])->value;
    }
    if (kind == kSimtMatch) {
      mine.result = 0;
      for (unsigned other = 0; other < 32; ++other) {
        if (arguments[other] == nullptr) continue;
        const bool same = static_cast<SimtValue*>(arguments[other])->value == mine.value;
        mine.result |= same ? 1u << other : 0;
      }
    }
  }
}

}  // namespace

void combine(SimtCollective kind, unsigned mask, void* const (&arguments)[32]) {
  switch (kind) {
    case kSimtSync:
      return;
    case kSimtShuffle:
    case kSimtBallot:
    case kSimtMatch:
      return exchange(kind, mask, arguments);
    case kSimtMatrices:
      return load_matrices(arguments);
    case kSimtProductF16:
      return multiply(arguments, false);
    case kSimtProductBf16:
      return multiply(arguments, true);
    case kSimtGroupProduct:
      return multiply_group(arguments);
  }
}

}  // namespace jllm::fake

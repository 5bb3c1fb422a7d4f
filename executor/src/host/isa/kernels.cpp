// The matrix product, attention and the row-wise operations of one instruction set. CMake compiles
// this file once per set, with JLLM_HOST_ISA naming the namespace and flags naming the
// instructions. Sums run in kLanes lanes, each over every kLanes-th element in order, whatever the
// blocking around.
#include "executor/src/host/kernels.h"

#include "executor/src/host/isa/dequantise.h"
#include "executor/src/host/isa/lanes.h"

namespace jllm::host::JLLM_HOST_ISA {
namespace {

// --- Matrix product ---

// Weights are decoded a chunk of a few weight rows at a time, into the first-level cache, and then
// meet every activation row of the block; the partial sums of the block wait in memory between
// chunks.
constexpr uint64_t kChunk = 256;    // elements of a weight row; a multiple of every block
constexpr unsigned kColumns = 4;    // weight rows at a time
constexpr uint64_t kRowBlock = 96;  // activation rows that share a decoded chunk
// Activation rows at a time: kTileRows * kColumns sums and kColumns weights stay in registers.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr unsigned kTileRows = 6;
#else
constexpr unsigned kTileRows = 3;
#endif

struct Panel {
  float weights[kColumns][kChunk];
  Floats sums[kRowBlock][kColumns];
};

// sums[r][c] += in[r] * weights[c] over `count` elements of the chunk.
template <unsigned kRows>
void multiply_tile(const float* in, uint64_t stride, uint64_t count, const float (*weights)[kChunk],
                   Floats (*sums)[kColumns]) {
  Floats sum[kRows][kColumns];
  for (unsigned r = 0; r < kRows; ++r) {
    for (unsigned c = 0; c < kColumns; ++c) sum[r][c] = sums[r][c];
  }
  uint64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Floats weight[kColumns];
    for (unsigned c = 0; c < kColumns; ++c) weight[c] = load(weights[c] + i);
    for (unsigned r = 0; r < kRows; ++r) {
      const Floats value = load(in + r * stride + i);
      for (unsigned c = 0; c < kColumns; ++c) sum[r][c] += value * weight[c];
    }
  }
  if (i < count) {
    for (unsigned r = 0; r < kRows; ++r) {
      const Floats value = load_some(in + r * stride + i, count - i);
      for (unsigned c = 0; c < kColumns; ++c) {
        sum[r][c] += value * load_some(weights[c] + i, count - i);
      }
    }
  }
  for (unsigned r = 0; r < kRows; ++r) {
    for (unsigned c = 0; c < kColumns; ++c) sums[r][c] = sum[r][c];
  }
}

// Asks for memory that the next panel reads: rows are too short for the hardware to learn in time.
void prefetch(const uint8_t* p, uint64_t bytes) {
  constexpr uint64_t kLine = 64;
  for (uint64_t offset = 0; offset < bytes; offset += kLine) __builtin_prefetch(p + offset, 0, 2);
}

// One panel: `columns` <= kColumns weight rows from `column` on, activation rows first .. first +
// rows.
template <WeightType kType>
void multiply_panel(const MatmulPart& part, uint64_t column, unsigned columns, uint64_t first,
                    uint64_t rows, Panel& panel) {
  constexpr BlockShape kShape = block_shape(kType);
  const uint64_t row_bytes = part.k / kShape.elements * kShape.bytes;
  for (uint64_t r = 0; r < rows; ++r) {
    for (unsigned c = 0; c < kColumns; ++c) panel.sums[r][c] = zeros();
  }
  for (uint64_t start = 0; start < part.k; start += kChunk) {
    const uint64_t count = part.k - start < kChunk ? part.k - start : kChunk;
    for (unsigned c = 0; c < columns; ++c) {
      const uint64_t offset = (column + c) * row_bytes + start / kShape.elements * kShape.bytes;
      const uint8_t* blocks = part.weight + offset;
      if (column + c + kColumns < part.end) {
        prefetch(blocks + kColumns * row_bytes, count / kShape.elements * kShape.bytes);
      }
      decode<kType>(blocks, panel.weights[c], count);
    }
    const float* in = part.in + first * part.k + start;
    uint64_t r = 0;
    for (; r + kTileRows <= rows; r += kTileRows) {
      multiply_tile<kTileRows>(in + r * part.k, part.k, count, panel.weights, panel.sums + r);
    }
    for (; r < rows; ++r) {
      multiply_tile<1>(in + r * part.k, part.k, count, panel.weights, panel.sums + r);
    }
  }
  for (uint64_t r = 0; r < rows; ++r) {
    float* out = part.out + (first + r) * part.n + column;
    for (unsigned c = 0; c < columns; ++c) out[c] = sum_of(panel.sums[r][c]);
  }
}

template <WeightType kType>
void multiply(const MatmulPart& part) {
  Panel panel;
  std::memset(panel.weights, 0, sizeof(panel.weights));  // columns beyond the last are computed too
  for (uint64_t first = 0; first < part.rows; first += kRowBlock) {
    const uint64_t rows = part.rows - first < kRowBlock ? part.rows - first : kRowBlock;
    for (uint64_t column = part.begin; column < part.end; column += kColumns) {
      const uint64_t left = part.end - column;
      const unsigned columns = left < kColumns ? static_cast<unsigned>(left) : kColumns;
      multiply_panel<kType>(part, column, columns, first, rows, panel);
    }
  }
}

void matmul(const MatmulPart& part) {
  switch (part.type) {
    case WeightType::kF32:
      return multiply<WeightType::kF32>(part);
    case WeightType::kF16:
      return multiply<WeightType::kF16>(part);
    case WeightType::kBF16:
      return multiply<WeightType::kBF16>(part);
    case WeightType::kQ4_0:
      return multiply<WeightType::kQ4_0>(part);
    case WeightType::kQ5_0:
      return multiply<WeightType::kQ5_0>(part);
    case WeightType::kQ8_0:
      return multiply<WeightType::kQ8_0>(part);
    case WeightType::kQ4_K:
      return multiply<WeightType::kQ4_K>(part);
    case WeightType::kQ6_K:
      return multiply<WeightType::kQ6_K>(part);
  }
}

// --- Attention ---

// A cache of f32 or f16 elements.
template <bool kHalf>
struct Cache {
  static constexpr uint64_t kBytes = kHalf ? 2 : 4;
  const uint8_t* data;

  Floats load_at(uint64_t element) const {
    const uint8_t* p = data + element * kBytes;
    if constexpr (kHalf) return load_f16(p);
    Floats value;
    std::memcpy(&value, p, sizeof(value));
    return value;
  }
  float at(uint64_t element) const {
    const uint8_t* p = data + element * kBytes;
    if constexpr (kHalf) return f16_at(p);
    float value;
    std::memcpy(&value, p, sizeof(value));
    return value;
  }
};

// scores[p] = q . k[p] * scale
template <bool kHalf>
void score(const AttendPart& part) {
  const Cache<kHalf> k{static_cast<const uint8_t*>(part.k)};
  for (uint64_t p = 0; p < part.positions; ++p) {
    const uint64_t row = p * part.head_dim;
    Floats even = zeros(), odd = zeros();
    uint64_t i = 0;
    for (; i + 2 * kLanes <= part.head_dim; i += 2 * kLanes) {
      even += load(part.q + i) * k.load_at(row + i);
      odd += load(part.q + i + kLanes) * k.load_at(row + i + kLanes);
    }
    if (i + kLanes <= part.head_dim) {
      even += load(part.q + i) * k.load_at(row + i);
      i += kLanes;
    }
    float sum = sum_of(even + odd);
    for (; i < part.head_dim; ++i) sum += part.q[i] * k.at(row + i);
    part.scores[p] = sum * part.scale;
  }
}

// Turns scores into exp(score - max) and returns their sum.
float exponentiate(float* scores, uint64_t count) {
  float max = scores[0];
  for (uint64_t i = 1; i < count; ++i) max = scores[i] > max ? scores[i] : max;
  Floats total = zeros();
  uint64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats value = exp_of(load(scores + i) - max);
    store(scores + i, value);
    total += value;
  }
  float sum = sum_of(total);
  if (i < count) {
    const Floats value = exp_of(load_some(scores + i, count - i) - max);
    store_some(scores + i, value, count - i);
    for (; i < count; ++i) sum += scores[i];
  }
  return sum;
}

// out[i] for kVectors vectors from element i on: the weighted mean of v's rows.
template <bool kHalf, unsigned kVectors>
void mix(const AttendPart& part, uint64_t i, float factor) {
  const Cache<kHalf> v{static_cast<const uint8_t*>(part.v)};
  Floats sum[kVectors];
  for (unsigned n = 0; n < kVectors; ++n) sum[n] = zeros();
  for (uint64_t p = 0; p < part.positions; ++p) {
    const Floats weight = all(part.scores[p]);
    for (unsigned n = 0; n < kVectors; ++n) {
      sum[n] += weight * v.load_at(p * part.head_dim + i + n * kLanes);
    }
  }
  for (unsigned n = 0; n < kVectors; ++n) store(part.out + i + n * kLanes, sum[n] * factor);
}

template <bool kHalf>
void mix_all(const AttendPart& part, float factor) {
  uint64_t i = 0;
  for (; i + 4 * kLanes <= part.head_dim; i += 4 * kLanes) mix<kHalf, 4>(part, i, factor);
  for (; i + kLanes <= part.head_dim; i += kLanes) mix<kHalf, 1>(part, i, factor);
  const Cache<kHalf> v{static_cast<const uint8_t*>(part.v)};
  for (; i < part.head_dim; ++i) {
    float sum = 0;
    for (uint64_t p = 0; p < part.positions; ++p) {
      sum += part.scores[p] * v.at(p * part.head_dim + i);
    }
    part.out[i] = sum * factor;
  }
}

void attend(const AttendPart& part) {
  part.k_half ? score<true>(part) : score<false>(part);
  const float factor = 1 / exponentiate(part.scores, part.positions);
  part.v_half ? mix_all<true>(part, factor) : mix_all<false>(part, factor);
}

// --- Row-wise operations ---

void rms_norm(const float* in, const float* weight, float* out, uint64_t dim, float epsilon) {
  Floats squares = zeros();
  uint64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) squares += load(in + i) * load(in + i);
  float sum = sum_of(squares);
  for (; i < dim; ++i) sum += in[i] * in[i];
  const float factor = 1 / __builtin_sqrtf(sum / static_cast<float>(dim) + epsilon);
  for (i = 0; i < dim; ++i) out[i] = in[i] * factor * weight[i];
}

Floats silu(Floats x) { return x / (exp_of(-x) + 1.0f); }

void glu(const float* gate, const float* up, float* out, uint64_t count) {
  uint64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, silu(load(gate + i)) * load(up + i));
  if (i < count) {
    const uint64_t left = count - i;
    store_some(out + i, silu(load_some(gate + i, left)) * load_some(up + i, left), left);
  }
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {dequantise, matmul, attend, rms_norm, glu};

}  // namespace jllm::host::JLLM_HOST_ISA

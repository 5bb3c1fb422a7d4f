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
void multiply_panel(const MatmulPart& part, uint64_t column, unsigned columns, uint64_t first,
                    uint64_t rows, Panel& panel) {
  const BlockShape shape = block_shape(part.type);
  const uint64_t row_bytes = part.k / shape.elements * shape.bytes;
  for (uint64_t r = 0; r < rows; ++r) {
    for (unsigned c = 0; c < kColumns; ++c) panel.sums[r][c] = zeros();
  }
  for (uint64_t start = 0; start < part.k; start += kChunk) {
    const uint64_t count = part.k - start < kChunk ? part.k - start : kChunk;
    for (unsigned c = 0; c < columns; ++c) {
      const uint64_t offset = (column + c) * row_bytes + start / shape.elements * shape.bytes;
      const uint8_t* blocks = part.weight + offset;
      if (column + c + kColumns < part.end) {
        prefetch(blocks + kColumns * row_bytes, count / shape.elements * shape.bytes);
      }
      dequantise(part.type, blocks, panel.weights[c], count);
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

void matmul(const MatmulPart& part) {
  Panel panel;
  std::memset(panel.weights, 0, sizeof(panel.weights));  // columns beyond the last are computed too
  for (uint64_t first = 0; first < part.rows; first += kRowBlock) {
    const uint64_t rows = part.rows - first < kRowBlock ? part.rows - first : kRowBlock;
    for (uint64_t column = part.begin; column < part.end; column += kColumns) {
      const uint64_t left = part.end - column;
      const unsigned columns = left < kColumns ? static_cast<unsigned>(left) : kColumns;
      multiply_panel(part, column, columns, first, rows, panel);
    }
  }
}

// --- Element-wise functions ---

// out[i] = function(in[i]) for vectors of inputs, the last filled up with zeros.
template <typename Function>
void for_vectors(uint64_t count, float* out, const Function& function) {
  uint64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store(out + i, function([i](const float* in) { return load(in + i); }));
  }
  if (i < count) {
    const uint64_t left = count - i;
    store_some(out + i, function([i, left](const float* in) { return load_some(in + i, left); }),
               left);
  }
}

void unary(const float* in, float* out, uint64_t count, UnaryFunction function, float parameter) {
  switch (function) {
    case kScale:
      return for_vectors(count, out, [=](const auto& at) { return at(in) * parameter; });
    case kSoftcap:
      return for_vectors(count, out, [=](const auto& at) { return softcap(at(in), parameter); });
    case kReluSquared:
      return for_vectors(count, out, [=](const auto& at) {
        const Floats x = at(in);
        const Floats positive = x > 0.0f ? x : zeros();
        return positive * positive;
      });
  }
}

// --- Attention ---

// Reads one row of a cache after the other.
template <unsigned kType>
struct Row {
  Row(const CacheRows& cache, uint64_t row)
      : values(cache.values + row * cache.row), scales(cache.scales + row * cache.scale_row) {}

  // kLanes elements from `element` on. Quantised rows consist of whole groups, and these of whole
  // vectors.
  Floats load_at(uint64_t element) const {
    if constexpr (kType == kKvQ8_0) {
      return to_floats(load_s8(values + element)) * scale_at(element);
    } else if constexpr (kType == kKvQ4_0) {
      return to_floats(load_nibbles(values + element / 2) - 8) * scale_at(element);
    } else if constexpr (kType == kKvF16) {
      return load_f16(values + 2 * element);
    } else {
      Floats value;
      std::memcpy(&value, values + 4 * element, sizeof(value));
      return value;
    }
  }
  // Of plain rows, whose ends may be no whole vector.
  float at(uint64_t element) const {
    if constexpr (kType == kKvF16) return f16_at(values + 2 * element);
    float value;
    std::memcpy(&value, values + 4 * element, sizeof(value));
    return value;
  }
  float scale_at(uint64_t element) const { return f16_at(scales + element / kKvGroup * 2); }

  const uint8_t* values;
  const uint8_t* scales;
};

// scores[p] = q . k[p] * scale
template <unsigned kType>
void score(const AttendPart& part) {
  for (uint64_t p = 0; p < part.positions; ++p) {
    const Row<kType> k(part.k, p);
    Floats even = zeros(), odd = zeros();
    uint64_t i = 0;
    for (; i + 2 * kLanes <= part.head_dim; i += 2 * kLanes) {
      even += load(part.q + i) * k.load_at(i);
      odd += load(part.q + i + kLanes) * k.load_at(i + kLanes);
    }
    if (i + kLanes <= part.head_dim) {
      even += load(part.q + i) * k.load_at(i);
      i += kLanes;
    }
    float sum = sum_of(even + odd);
    if constexpr (!kv_is_quantised(kType)) {
      for (; i < part.head_dim; ++i) sum += part.q[i] * k.at(i);
    }
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
template <unsigned kType, unsigned kVectors>
void mix(const AttendPart& part, uint64_t i, float factor) {
  Floats sum[kVectors];
  for (unsigned n = 0; n < kVectors; ++n) sum[n] = zeros();
  for (uint64_t p = 0; p < part.positions; ++p) {
    const Row<kType> v(part.v, p);
    const Floats weight = all(part.scores[p]);
    for (unsigned n = 0; n < kVectors; ++n) sum[n] += weight * v.load_at(i + n * kLanes);
  }
  for (unsigned n = 0; n < kVectors; ++n) store(part.out + i + n * kLanes, sum[n] * factor);
}

template <unsigned kType>
void mix_all(const AttendPart& part, float factor) {
  uint64_t i = 0;
  for (; i + 4 * kLanes <= part.head_dim; i += 4 * kLanes) mix<kType, 4>(part, i, factor);
  for (; i + kLanes <= part.head_dim; i += kLanes) mix<kType, 1>(part, i, factor);
  if constexpr (!kv_is_quantised(kType)) {
    for (; i < part.head_dim; ++i) {
      float sum = 0;
      for (uint64_t p = 0; p < part.positions; ++p) {
        sum += part.scores[p] * Row<kType>(part.v, p).at(i);
      }
      part.out[i] = sum * factor;
    }
  }
}

void score_all(const AttendPart& part) {
  switch (part.k.type) {
    case kKvF32:
      return score<kKvF32>(part);
    case kKvF16:
      return score<kKvF16>(part);
    case kKvQ8_0:
      return score<kKvQ8_0>(part);
    case kKvQ4_0:
      return score<kKvQ4_0>(part);
  }
}

void attend(const AttendPart& part) {
  score_all(part);
  if (part.softcap != 0) unary(part.scores, part.scores, part.positions, kSoftcap, part.softcap);
  const float factor = 1 / exponentiate(part.scores, part.positions);
  switch (part.v.type) {
    case kKvF32:
      return mix_all<kKvF32>(part, factor);
    case kKvF16:
      return mix_all<kKvF16>(part, factor);
    case kKvQ8_0:
      return mix_all<kKvQ8_0>(part, factor);
    case kKvQ4_0:
      return mix_all<kKvQ4_0>(part, factor);
  }
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

void layer_norm(const float* in, const float* weight, const float* bias, float* out, uint64_t dim,
                float epsilon) {
  Floats total = zeros();
  uint64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) total += load(in + i);
  float sum = sum_of(total);
  for (; i < dim; ++i) sum += in[i];
  const float mean = sum / static_cast<float>(dim);
  // Around the mean, so that a large mean costs no digits.
  Floats squares = zeros();
  for (i = 0; i + kLanes <= dim; i += kLanes) {
    const Floats value = load(in + i) - mean;
    squares += value * value;
  }
  sum = sum_of(squares);
  for (; i < dim; ++i) sum += (in[i] - mean) * (in[i] - mean);
  const float factor = 1 / __builtin_sqrtf(sum / static_cast<float>(dim) + epsilon);
  for (i = 0; i < dim; ++i) {
    const float value = (in[i] - mean) * factor * weight[i];
    out[i] = bias != nullptr ? value + bias[i] : value;
  }
}

Floats silu(Floats x) { return x / (exp_of(-x) + 1.0f); }

// tanh(u) = 2 / (1 + exp(-2u)) - 1, which leaves x / (1 + exp(-2u)) without a difference.
Floats gelu(Floats x) {
  constexpr float kTwiceRoot = 1.59576912f;  // 2 sqrt(2 / pi)
  return x / (exp_of((x * x * 0.044715f + 1.0f) * x * -kTwiceRoot) + 1.0f);
}

void glu(const float* gate, const float* up, float* out, uint64_t count, Activation activation) {
  if (activation == kGelu) {
    for_vectors(count, out, [=](const auto& at) { return gelu(at(gate)) * at(up); });
  } else {
    for_vectors(count, out, [=](const auto& at) { return silu(at(gate)) * at(up); });
  }
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {dequantise, matmul, attend, rms_norm, layer_norm, glu, unary};

}  // namespace jllm::host::JLLM_HOST_ISA

// Activations to integers, and their products with panels, of one instruction set. CMake compiles
// this file once per set, as kernels.cpp. A group of 32 products is summed as integers, exactly;
// the groups of a row are then summed as floats, first to last, whatever the blocking around.
#include "executor/src/host/products.h"

#include "executor/src/host/isa/panels.h"

namespace jllm::host::JLLM_HOST_ISA {
namespace {

// --- Activations to integers ---

typedef int8_t SignedBytes __attribute__((vector_size(kLanes)));

float largest_magnitude(const float* in) {
  Floats largest = zeros();
  for (unsigned i = 0; i < kPanelGroup; i += kLanes) {
    const Floats value = load(in + i);
    const Floats magnitude = value < 0.0f ? -value : value;
    largest = magnitude > largest ? magnitude : largest;
  }
  return max_of(largest);
}

// 0, or NaN where a value is infinite or no number.
float poison(const float* in) {
  Floats sum = zeros();
  // NOLINTNEXTLINE(misc-redundant-expression): infinity less infinity is no number.
  for (unsigned i = 0; i < kPanelGroup; i += kLanes) sum += load(in + i) - load(in + i);
  return sum_of(sum);
}

void quantise_group(const float* in, ActivationGroup* out, bool two_planes) {
  constexpr float kTiny = 1e-30f;  // below, 1 / step overflows; zero is as good
  const float steps = two_planes ? 127 * kHighUnit : 127;
  const float largest = largest_magnitude(in);
  const float inverse = largest > kTiny ? steps / largest : 0.0f;
  uint32_t halves[2] = {0, 0};  // wrap where a value is no number: the scale is NaN then
  for (unsigned i = 0; i < kPanelGroup; i += kLanes) {
    // Adding 1.5 * 2^23 rounds to an integer.
    const Floats rounded = (load(in + i) * inverse + 0x1.8p23f) - 0x1.8p23f;
    const Ints value = __builtin_convertvector(rounded, Ints);
    const Ints high = two_planes ? (value + kHighUnit / 2) >> kHighShift : value;
    const Ints low = two_planes ? value - (high << kHighShift) : Ints{};
    const SignedBytes high_bytes = __builtin_convertvector(high, SignedBytes);
    const SignedBytes low_bytes = __builtin_convertvector(low, SignedBytes);
    std::memcpy(out->high + i, &high_bytes, sizeof(high_bytes));
    std::memcpy(out->low + i, &low_bytes, sizeof(low_bytes));
    int32_t lanes[kLanes];
    std::memcpy(lanes, &value, sizeof(lanes));
    for (unsigned lane = 0; lane < kLanes; ++lane)
      halves[i / 16] += static_cast<uint32_t>(lanes[lane]);
  }
  const float scale = largest / steps + poison(in);
  out->scale = scale;
  out->total = static_cast<int32_t>(halves[0] + halves[1]);
  out->sum = scale * static_cast<float>(out->total);
  for (unsigned half = 0; half < 2; ++half) {
    out->half_sums[half] = scale * static_cast<float>(static_cast<int32_t>(halves[half]));
  }
}

void quantise(const QuantisePart& part) {
  const uint64_t groups = part.k / kPanelGroup;
  for (uint64_t i = part.begin; i < part.end; ++i) {
    const uint64_t row = i / groups, group = i % groups;
    quantise_group(part.in + i * kPanelGroup,
                   part.image + image_index(part.rows, groups, row, group), part.planes == 2);
  }
}

// --- Products ---

// Rows that share the unpacking of a group: their sums and the group's steps stay in registers.
#if defined(__AVX512F__)
constexpr unsigned kMaxRows = 16;
#else
constexpr unsigned kMaxRows = 4;
#endif

// What one call multiplies: a panel's rows lane .. lane + kLanes with a few activation rows.
struct Strip {
  const uint8_t* panel;
  const ActivationGroup* in;  // of the first row, group 0
  uint64_t interleave;        // records from one group to the next
  uint64_t records;           // of the panel
  unsigned lane;
  bool two_planes;
};

// The sum of products of steps begin .. end with one row's activations.
template <WeightType kType>
inline Ints sum_steps(const Bytes* steps, const ActivationGroup& in, unsigned begin, unsigned end,
                      bool two_planes) {
  constexpr bool kSigned = kIsSigned<kType>;
  Ints sum = {};
  for (unsigned j = begin; j < end; ++j)
    sum = dot<kSigned>(sum, steps[j], word_at(in.high + 4 * j));
  if (two_planes) {
    sum <<= kHighShift;
    for (unsigned j = begin; j < end; ++j) {
      sum = dot<kSigned>(sum, steps[j], word_at(in.low + 4 * j));
    }
  }
  return sum;
}

// Asks for the part of the next records that group `g` of a record takes: a single row is bound by
// memory, and processors stop at the end of a page.
template <WeightType kType>
inline void prefetch_ahead(const uint8_t* record, unsigned g) {
  constexpr uint64_t kAhead = 4096, kLine = 64;
  constexpr uint64_t kPart = (panel_record_bytes(kType) + kGroups<kType> - 1) / kGroups<kType>;
  for (uint64_t offset = 0; offset < kPart; offset += kLine) {
    __builtin_prefetch(record + kAhead + g * kPart + offset);
  }
}

// Takes off what the weights' offset has added to a sum. The integers of activations that are no
// numbers mean nothing and may wrap; it is their scale that makes the result a NaN.
inline Ints without_offset(Ints sum, const ActivationGroup& in) {
  const uint32_t offset = static_cast<uint32_t>(kSignedOffset) * static_cast<uint32_t>(in.total);
  return (Ints)((UnsignedInts)sum - offset);
}

template <WeightType kType, unsigned kRows>
void multiply_strip(const Strip& strip, Floats* out) {
  constexpr unsigned kPerGroup = kFactors<kType>;
  constexpr unsigned kStepsPerFactor = kSteps / kPerGroup;
  Floats sums[kRows];
  for (unsigned r = 0; r < kRows; ++r) sums[r] = zeros();
  const uint8_t* record = strip.panel;
  const ActivationGroup* in = strip.in;
  for (uint64_t i = 0; i < strip.records; ++i) {
    Floats scales[kMaxFactors], minima[kMaxFactors];
    load_factors<kType>(record, strip.lane, scales, minima);
#pragma GCC unroll 1
    for (unsigned g = 0; g < kGroups<kType>; ++g) {
      if constexpr (kRows == 1) prefetch_ahead<kType>(record, g);
      Bytes steps[kSteps];
      load_group<kType>(record, g, strip.lane, steps);
      for (unsigned r = 0; r < kRows; ++r) {
        for (unsigned f = 0; f < kPerGroup; ++f) {
          Ints sum = sum_steps<kType>(steps, in[r], f * kStepsPerFactor, (f + 1) * kStepsPerFactor,
                                      strip.two_planes);
          if constexpr (kIsSigned<kType>) sum = without_offset(sum, in[r]);
          sums[r] = add_product(sums[r], to_floats(sum), scales[g * kPerGroup + f] * in[r].scale);
          if constexpr (!kIsSigned<kType>) {
            const float all = kPerGroup == 1 ? in[r].sum : in[r].half_sums[f];
            sums[r] = subtract_product(sums[r], minima[g * kPerGroup + f], zeros() + all);
          }
        }
      }
      in += strip.interleave;
    }
    record += panel_record_bytes(kType);
  }
  for (unsigned r = 0; r < kRows; ++r) out[r] = sums[r];
}

// Rows beyond `rows` are computed, from whatever the image holds there, and dropped.
template <WeightType kType>
void multiply_block(const Strip& strip, uint64_t rows, Floats* out) {
  if (rows == 1) return multiply_strip<kType, 1>(strip, out);
  if (kMaxRows == 4 || rows <= 4) return multiply_strip<kType, 4>(strip, out);
  if (rows <= 8) return multiply_strip<kType, 8>(strip, out);
  return multiply_strip<kType, kMaxRows>(strip, out);
}

// Activation rows whose image stays in the second-level cache while all panels pass by.
uint64_t rows_at_a_time(uint64_t k) {
  constexpr uint64_t kCacheBytes = 512 << 10;
  const uint64_t row_bytes = k / kPanelGroup * sizeof(ActivationGroup);
  const uint64_t rows = kCacheBytes / row_bytes / kImageRows * kImageRows;
  return rows > kImageRows ? rows : kImageRows;
}

template <WeightType kType>
void multiply_panel(const ProductPart& part, uint64_t panel, uint64_t first, uint64_t last) {
  const uint64_t groups = part.k / kPanelGroup;
  const uint64_t column = panel * kPanelRows;
  Strip strip = {};
  strip.panel = part.weight + panel * panel_bytes(kType, part.k);
  strip.records = part.k / block_shape(kType).elements;
  strip.interleave = image_interleave(part.image_rows);
  strip.two_planes = part.planes == 2;
  for (uint64_t row = first; row < last; row += kMaxRows) {
    const uint64_t rows = last - row < kMaxRows ? last - row : kMaxRows;
    strip.in = part.image + image_index(part.image_rows, groups, row, 0);
    for (unsigned lane = 0; lane < kPanelRows && column + lane < part.n; lane += kLanes) {
      strip.lane = lane;
      Floats sums[kMaxRows];
      multiply_block<kType>(strip, rows, sums);
      const uint64_t left = part.n - column - lane;
      for (uint64_t r = 0; r < rows; ++r) {
        float* out = part.out + (row + r) * part.n + column + lane;
        if (left >= kLanes) {
          store(out, sums[r]);
        } else {
          store_some(out, sums[r], left);
        }
      }
    }
  }
}

template <WeightType kType>
void multiply_all(const ProductPart& part) {
  const uint64_t at_a_time = rows_at_a_time(part.k);
  for (uint64_t first = 0; first < part.rows; first += at_a_time) {
    const uint64_t last = part.rows - first < at_a_time ? part.rows : first + at_a_time;
    for (uint64_t panel = part.begin; panel < part.end; ++panel) {
      multiply_panel<kType>(part, panel, first, last);
    }
  }
}

void multiply(const ProductPart& part) {
  switch (part.type) {
    case WeightType::kQ4_0:
      return multiply_all<WeightType::kQ4_0>(part);
    case WeightType::kQ5_0:
      return multiply_all<WeightType::kQ5_0>(part);
    case WeightType::kQ4_1:
      return multiply_all<WeightType::kQ4_1>(part);
    case WeightType::kQ5_1:
      return multiply_all<WeightType::kQ5_1>(part);
    case WeightType::kQ8_0:
      return multiply_all<WeightType::kQ8_0>(part);
    case WeightType::kQ4_K:
      return multiply_all<WeightType::kQ4_K>(part);
    case WeightType::kQ5_K:
      return multiply_all<WeightType::kQ5_K>(part);
    case WeightType::kQ6_K:
      return multiply_all<WeightType::kQ6_K>(part);
    case WeightType::kQ1_0:
      return multiply_all<WeightType::kQ1_0>(part);
    case WeightType::kQ2_K:
      return multiply_all<WeightType::kQ2_K>(part);
    case WeightType::kQ3_K:
      return multiply_all<WeightType::kQ3_K>(part);
    case WeightType::kIQ4_NL:
      return multiply_all<WeightType::kIQ4_NL>(part);
    case WeightType::kIQ4_XS:
      return multiply_all<WeightType::kIQ4_XS>(part);
    case WeightType::kMXFP4:
      return multiply_all<WeightType::kMXFP4>(part);
    case WeightType::kTQ2_0:
      return multiply_all<WeightType::kTQ2_0>(part);
    case WeightType::kQ2_0:
      return multiply_all<WeightType::kQ2_0>(part);
    default:
      return;
  }
}

}  // namespace

extern const Products kProducts;
const Products kProducts = {quantise, multiply};

}  // namespace jllm::host::JLLM_HOST_ISA

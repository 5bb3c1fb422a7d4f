// The storage types of tensors, by their GGUF ids, and their block shapes.
// Everything that must agree on "how many bytes are n elements of type T" reads this table.
#pragma once

#include <cstddef>
#include <cstdint>

namespace jllm {

// Values are the type ids of the GGUF format. Only the types that jllm supports have a block shape
// below; the others are named so that errors can name them.
enum class WeightType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kBF16 = 30,
  kTQ1_0 = 34,  // becomes TQ2_0 in a plan
  kTQ2_0 = 35,
  kMXFP4 = 39,
  kQ1_0 = 41,
  kQ2_0 = 42,
};

// Shape of one quantisation block: `elements` weights stored in `bytes` bytes.
struct BlockShape {
  uint32_t elements;
  uint32_t bytes;
};

// Block shape of a supported type, {0, 0} for any other id.
constexpr BlockShape block_shape(WeightType type) {
  switch (type) {
    case WeightType::kF32:
      return {1, 4};
    case WeightType::kF16:
    case WeightType::kBF16:
      return {1, 2};
    case WeightType::kQ4_0:
      return {32, 18};
    case WeightType::kQ4_1:
      return {32, 20};
    case WeightType::kQ5_0:
      return {32, 22};
    case WeightType::kQ5_1:
      return {32, 24};
    case WeightType::kQ8_0:
      return {32, 34};
    case WeightType::kQ2_K:
      return {256, 84};
    case WeightType::kQ3_K:
      return {256, 110};
    case WeightType::kQ4_K:
      return {256, 144};
    case WeightType::kQ5_K:
      return {256, 176};
    case WeightType::kQ6_K:
      return {256, 210};
    case WeightType::kIQ4_NL:
      return {32, 18};
    case WeightType::kIQ4_XS:
      return {256, 136};
    case WeightType::kTQ1_0:
      return {256, 54};
    case WeightType::kTQ2_0:
      return {256, 66};
    case WeightType::kMXFP4:
      return {32, 17};
    case WeightType::kQ1_0:
      return {128, 18};
    case WeightType::kQ2_0:
      return {64, 18};
  }
  return {0, 0};
}

// Lower-case name as users write it ("q4_k"), "unknown" for an unsupported id.
constexpr const char* weight_type_name(WeightType type) {
  switch (type) {
    case WeightType::kF32:
      return "f32";
    case WeightType::kF16:
      return "f16";
    case WeightType::kBF16:
      return "bf16";
    case WeightType::kQ4_0:
      return "q4_0";
    case WeightType::kQ4_1:
      return "q4_1";
    case WeightType::kQ5_0:
      return "q5_0";
    case WeightType::kQ5_1:
      return "q5_1";
    case WeightType::kQ8_0:
      return "q8_0";
    case WeightType::kQ2_K:
      return "q2_k";
    case WeightType::kQ3_K:
      return "q3_k";
    case WeightType::kQ4_K:
      return "q4_k";
    case WeightType::kQ5_K:
      return "q5_k";
    case WeightType::kQ6_K:
      return "q6_k";
    case WeightType::kIQ4_NL:
      return "iq4_nl";
    case WeightType::kIQ4_XS:
      return "iq4_xs";
    case WeightType::kTQ1_0:
      return "tq1_0";
    case WeightType::kTQ2_0:
      return "tq2_0";
    case WeightType::kMXFP4:
      return "mxfp4";
    case WeightType::kQ1_0:
      return "q1_0";
    case WeightType::kQ2_0:
      return "q2_0";
  }
  return "unknown";
}

}  // namespace jllm

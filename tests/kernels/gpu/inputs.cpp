// Random inputs and the tolerances that go with them.
#include "tests/kernels/gpu/inputs.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "compiler/emit/repack.h"
#include "kernels/reference/reference.h"
#include "schema/weight_type.h"

namespace jllm::test {
namespace {

void store_half(uint8_t* at, float value) {
  const uint16_t bits = reference::f32_to_f16(value);
  at[0] = uint8_t(bits);
  at[1] = uint8_t(bits >> 8);
}

// Where a GGUF block keeps its f16 scales: random bits there would be huge or not numbers.
void fix_scales(Random& random, unsigned type, uint8_t* block) {
  const float scale = random.normal(0.01f);
  switch (type) {
    case kRowQ4_0:
    case kRowQ5_0:
    case kRowQ8_0:
    case kRowQ1_0:
    case kRowQ2_0:
      store_half(block, scale);
      break;
    case kRowIQ4_NL:
      store_half(block, scale / 16);
      break;
    case kRowIQ4_XS:
      store_half(block, scale / 512);
      break;
    case kRowMXFP4:
      block[0] = uint8_t(118 + block[0] % 8);  // 2^-10 to 2^-3
      break;
    case kRowTQ2_0:
      store_half(block + 64, scale);
      break;
    case kRowQ3_K:
      store_half(block + 108, scale / 16);
      break;
    case kRowQ2_K:
      store_half(block + 80, scale / 8);
      store_half(block + 82, random.normal(0.01f) / 4);
      break;
    case kRowQ4_1:
    case kRowQ5_1:
      store_half(block, scale);
      store_half(block + 2, random.normal(0.01f) * 8);
      break;
    case kRowQ4_K:
    case kRowQ5_K:
      store_half(block, scale / 32);
      store_half(block + 2, random.normal(0.01f) / 8);
      break;
    case kRowQ6_K:
      store_half(block + 208, scale / 64);
      break;
    default:
      break;
  }
}

}  // namespace

uint64_t run_seed() {
  static const uint64_t seed = [] {
    const char* given = std::getenv("JLLM_TEST_SEED");
    const uint64_t value =
        given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    std::printf("JLLM_TEST_SEED=%llu\n", static_cast<unsigned long long>(value));
    return value;
  }();
  return seed;
}

std::vector<float> Random::normals(size_t count, float deviation) {
  std::vector<float> out(count);
  for (float& value : out) value = normal(deviation);
  return out;
}

std::vector<uint8_t> Random::bytes(size_t count) {
  std::vector<uint8_t> out(count);
  for (uint8_t& byte : out) byte = uint8_t(engine_() >> 24);
  return out;
}

Weights random_weights(Random& random, unsigned type, size_t n, size_t k) {
  const BlockShape shape = block_shape(static_cast<WeightType>(type));
  std::vector<uint8_t> gguf = random.bytes(n * k / shape.elements * shape.bytes);
  for (size_t i = 0; i < n * k / shape.elements; ++i) {
    uint8_t* block = gguf.data() + i * shape.bytes;
    const float value = random.normal(0.05f);
    if (type == kRowF32) {
      std::memcpy(block, &value, 4);
    } else if (type == kRowF16) {
      store_half(block, value);
    } else if (type == kRowBF16) {
      const uint16_t bits = reference::f32_to_bf16(value);
      std::memcpy(block, &bits, 2);
    } else {
      fix_scales(random, type, block);
    }
  }
  Weights out;
  const size_t stride = row_layout(type, k).stride;
  out.bytes.resize(n * stride);
  repack_rows(static_cast<WeightType>(type), gguf.data(), n, k, out.bytes.data());
  for (size_t row = 0; row < n; ++row) {
    const reference::Vector values = reference::dequantise_row(
        type, std::span<const uint8_t>(out.bytes.data() + row * stride, stride), k);
    out.values.insert(out.values.end(), values.begin(), values.end());
  }
  return out;
}

std::vector<std::string> join(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::string define_bits(const char* name, float value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%s_BITS=0x%08xu", name, std::bit_cast<uint32_t>(value));
  return text;
}

StepState make_state(unsigned position, unsigned count, unsigned context) {
  StepState state = {};
  state.position = position;
  state.count = count;
  state.context = context;
  state.top_p = 1;
  state.repeat_penalty = 1;
  return state;
}

float to_half(float value) { return reference::f16_to_f32(reference::f32_to_f16(value)); }

std::vector<uint16_t> half_bits(std::span<const float> values) {
  std::vector<uint16_t> out;
  for (float value : values) out.push_back(reference::f32_to_f16(value));
  return out;
}

void expect_close(std::span<const float> got, std::span<const float> expected,
                  std::span<const double> tolerance, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  ASSERT_EQ(got.size(), tolerance.size()) << what;
  size_t bad = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::fabs(double(got[i]) - expected[i]) <= tolerance[i]) continue;
    if (++bad <= 4) {
      ADD_FAILURE() << what << ": element " << i << " is " << got[i] << ", expected " << expected[i]
                    << " within " << tolerance[i];
    }
  }
  EXPECT_EQ(bad, 0u) << what << ": elements out of tolerance, of " << got.size();
}

std::vector<double> product_norms(std::span<const float> in, std::span<const float> weight,
                                  size_t k) {
  std::vector<double> out;
  for (size_t a = 0; a < in.size(); a += k) {
    for (size_t w = 0; w < weight.size(); w += k) {
      double sum = 0;
      for (size_t i = 0; i < k; ++i) {
        const double product = double(in[a + i]) * weight[w + i];
        sum += product * product;
      }
      out.push_back(std::sqrt(sum));
    }
  }
  return out;
}

bool has_minimum(unsigned type) {
  return type == kRowQ4_1 || type == kRowQ5_1 || type == kRowQ2_K || type == kRowQ4_K ||
         type == kRowQ5_K;
}

double dot_tolerance(unsigned type, size_t k, double norm) {
  const double depth = 32 + double(k) / 32;
  const double terms = has_minimum(type) ? 8 : 1;
  return 8 * terms * std::sqrt(depth) * 0x1p-24 * norm + 1e-30;
}

}  // namespace jllm::test

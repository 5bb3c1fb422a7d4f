// The host's integer products: panels hold the values of their GGUF blocks, activations become the
// nearest integers, and every instruction set multiplies them as float64 does, whatever the number
// of rows and the share.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "compiler/emit/repack.h"
#include "executor/src/host/products.h"
#include "executor/src/host/thread_pool.h"
#include "schema/panel_layout.h"
#include "tests/kernels/host/host_op_runner.h"
#include "tests/kernels/host/weights.h"

namespace jllm::test {
namespace {

using host::ActivationGroup;
using HostProduct = HostOpTest;

constexpr WeightType kTypes[] = {
    WeightType::kQ4_0,   WeightType::kQ4_1,  WeightType::kQ5_0,  WeightType::kQ5_1,
    WeightType::kQ8_0,   WeightType::kQ4_K,  WeightType::kQ5_K,  WeightType::kQ6_K,
    WeightType::kQ1_0,   WeightType::kQ2_K,  WeightType::kQ3_K,  WeightType::kIQ4_NL,
    WeightType::kIQ4_XS, WeightType::kMXFP4, WeightType::kTQ2_0, WeightType::kQ2_0};

void for_each_product_set(const std::function<void(const host::ProductSet&)>& check) {
  unsigned count = 0;
  const host::ProductSet* sets = host::product_sets(&count);
  for (unsigned i = 0; i < count; ++i) {
    if (!sets[i].supported()) continue;
    SCOPED_TRACE(sets[i].name);
    check(sets[i]);
  }
}

std::vector<uint8_t> panels_of(WeightType type, const Weights& weights, uint64_t k) {
  const uint64_t n = weights.values.size() / k;
  std::vector<uint8_t> panels(panel_count(n) * panel_bytes(type, k), 0xee);
  repack_panels(type, weights.blocks.data(), n, k, panels.data());
  return panels;
}

using Image = std::vector<ActivationGroup>;

Image quantise(const host::Products& products, const Vector& in, uint64_t rows, uint64_t planes) {
  const uint64_t k = in.size() / rows;
  Image image(host::image_bytes(rows, k) / sizeof(ActivationGroup));
  products.quantise({in.data(), image.data(), rows, k, planes, 0, rows * k / kPanelGroup});
  return image;
}

int integer(const ActivationGroup& group, uint64_t i, uint64_t planes) {
  return planes == 1 ? group.high[i] : group.high[i] * host::kHighUnit + group.low[i];
}

// What the integers of an image stand for, row by row.
std::vector<double> values_of(const Image& image, uint64_t rows, uint64_t k, uint64_t planes) {
  std::vector<double> values(rows * k);
  for (uint64_t i = 0; i < values.size(); ++i) {
    const ActivationGroup& group =
        image[host::image_index(rows, k / kPanelGroup, i / k, i % k / kPanelGroup)];
    values[i] = double(group.scale) * integer(group, i % kPanelGroup, planes);
  }
  return values;
}

Vector multiply(const host::Products& products, WeightType type, const Image& image,
                const std::vector<uint8_t>& panels, uint64_t rows, uint64_t n, uint64_t k,
                uint64_t planes) {
  Vector out(rows * n);
  products.multiply(
      {image.data(), panels.data(), out.data(), rows, rows, n, k, planes, 0, panel_count(n), type});
  return out;
}

TEST_F(HostProduct, PanelsHoldTheValuesOfTheirBlocks) {
  for (WeightType type : kTypes) {
    const uint64_t k = 2 * 256;
    for (uint64_t n : {1, 15, 16, 17, 40}) {
      SCOPED_TRACE(testing::Message() << weight_type_name(type) << " rows " << n);
      const Weights weights = random_blocks(type, n * k, random_);
      const std::vector<uint8_t> panels = panels_of(type, weights, k);
      Vector row(k);
      for (uint64_t i = 0; i < n; ++i) {
        host::decode_panel_row(type, panels.data(), i, k, row.data());
        for (uint64_t j = 0; j < k; ++j)
          ASSERT_EQ(row[j], weights.values[i * k + j]) << i << ' ' << j;
      }
      for (uint64_t i = n; i < panel_count(n) * kPanelRows; ++i) {
        host::decode_panel_row(type, panels.data(), i, k, row.data());
        for (float value : row) ASSERT_EQ(value, 0) << "padding, row " << i;
      }
    }
  }
}

TEST_F(HostProduct, ActivationsBecomeTheNearestIntegers) {
  const uint64_t rows = 5, k = 96;
  Vector in = random_.vector(rows * k, -3, 3);
  std::fill(in.begin(), in.begin() + kPanelGroup, 0.0f);
  for (uint64_t i = 0; i < kPanelGroup; ++i) in[k + i] *= 1e-36f;  // too small to tell from zero
  for (uint64_t planes : {1, 2}) {
    for_each_product_set([&](const host::ProductSet& set) {
      const Image image = quantise(*set.products, in, rows, planes);
      const std::vector<double> values = values_of(image, rows, k, planes);
      for (uint64_t i = 0; i < in.size(); ++i) {
        const ActivationGroup& group =
            image[host::image_index(rows, k / kPanelGroup, i / k, i % k / kPanelGroup)];
        // Half a step, and the roundings of the step's inverse and of the product, against the
        // largest number of steps.
        const double steps = planes == 1 ? 127 : 127 * host::kHighUnit;
        const double error = group.scale * (0.5 + 4 * kEpsilon * steps);
        ASSERT_LE(std::abs(values[i] - in[i]), std::max(error, 1e-30)) << i;
      }
      for (uint64_t g = 0; g < rows * k / kPanelGroup; ++g) {
        const ActivationGroup& group = image[host::image_index(
            rows, k / kPanelGroup, g * kPanelGroup / k, g % (k / kPanelGroup))];
        int halves[2] = {};
        for (uint64_t i = 0; i < kPanelGroup; ++i) halves[i / 16] += integer(group, i, planes);
        EXPECT_EQ(group.total, halves[0] + halves[1]);
        EXPECT_EQ(group.sum, group.scale * float(group.total));
        EXPECT_EQ(group.half_sums[0], group.scale * float(halves[0]));
        EXPECT_EQ(group.half_sums[1], group.scale * float(halves[1]));
      }
    });
  }
}

TEST_F(HostProduct, EveryInstructionSetMakesTheSameImage) {
  const uint64_t rows = 3, k = 4096;
  const Vector in = random_.vector(rows * k, -7, 7);
  for (uint64_t planes : {1, 2}) {
    const Image expected = quantise(host::products(), in, rows, planes);
    for_each_product_set([&](const host::ProductSet& set) {
      const Image image = quantise(*set.products, in, rows, planes);
      for (uint64_t i = 0; i < rows * k / kPanelGroup; ++i) {
        const uint64_t at =
            host::image_index(rows, k / kPanelGroup, i * kPanelGroup / k, i % (k / kPanelGroup));
        ASSERT_EQ(std::memcmp(&image[at], &expected[at], sizeof(ActivationGroup)), 0) << i;
      }
    });
  }
}

// Rows, outputs and lengths at and around the sizes of blocks of rows, panels and GGUF blocks.
TEST_F(HostProduct, EveryTypeShapeAndInstructionSet) {
  struct Shape {
    uint64_t rows, n, k;
  };
  for (const Shape& shape :
       {Shape{1, 1, 256}, Shape{1, 47, 768}, Shape{2, 17, 32}, Shape{3, 16, 96}, Shape{5, 31, 512},
        Shape{8, 15, 128}, Shape{9, 33, 256}, Shape{16, 20, 256}, Shape{37, 18, 256}}) {
    const Vector in = random_.vector(shape.rows * shape.k);
    for (WeightType type : kTypes) {
      if (shape.k % block_shape(type).elements != 0) continue;
      const Weights weights = random_blocks(type, shape.n * shape.k, random_);
      const std::vector<uint8_t> panels = panels_of(type, weights, shape.k);
      for (uint64_t planes : {1, 2}) {
        SCOPED_TRACE(testing::Message() << weight_type_name(type) << " rows " << shape.rows << " n "
                                        << shape.n << " k " << shape.k << " planes " << planes);
        for_each_product_set([&](const host::ProductSet& set) {
          const Image image = quantise(*set.products, in, shape.rows, planes);
          const std::vector<double> values = values_of(image, shape.rows, shape.k, planes);
          const Vector out =
              multiply(*set.products, type, image, panels, shape.rows, shape.n, shape.k, planes);
          for (uint64_t i = 0; i < out.size(); ++i) {
            const double* a = &values[i / shape.n * shape.k];
            const float* w = &weights.values[i % shape.n * shape.k];
            double sum = 0, magnitude = 0, inputs = 0;
            for (uint64_t j = 0; j < shape.k; ++j) {
              sum += a[j] * w[j];
              magnitude += std::abs(a[j] * w[j]);
              inputs += std::abs(a[j]);
            }
            // Two additions for each of a group's one or two scales, and five roundings of each
            // term. Terms are quant * scale and minimum, not their difference: both are at most
            // 63 * 63 (q4_k's minima) and 128 * 63 (q6_k) times the largest d of 1.
            const double parts = type == WeightType::kQ8_0 ? magnitude : 128 * 63 * inputs;
            const double depth = double(shape.k) / 8 + 5;
            ASSERT_LE(std::abs(out[i] - sum), kEpsilon * depth * (magnitude + parts)) << i;
          }
        });
      }
    }
  }
}

// Steps of 1 in activations and scales: all sums are integers below 2^24 and therefore exact.
TEST_F(HostProduct, EveryInstructionSetGivesTheExactSum) {
  const uint64_t rows = 6, n = 40, k = 256;
  Vector in(rows * k);
  for (float& value : in) value = float(int(random_.integer(0, 254)) - 127);
  for (uint64_t g = 0; g < in.size(); g += kPanelGroup) in[g + g / 32 % 32] = 127;
  for (WeightType type : kTypes) {
    SCOPED_TRACE(weight_type_name(type));
    Weights weights = random_blocks(type, n * k, random_);
    const uint16_t one = gguf::f32_to_f16(1);
    for (size_t block = 0; block < weights.blocks.size(); block += block_shape(type).bytes) {
      for (const size_t offset : half_fields(type)) {
        std::memcpy(&weights.blocks[block + offset], &one, sizeof one);
      }
      if (type == WeightType::kMXFP4) weights.blocks[block] = 128;
      if (type == WeightType::kIQ4_XS) {  // scales of -4 ... -1 and 0 ... 3 in turn, times 127
        std::memset(&weights.blocks[block + 2], 0x99, 2);
        for (size_t s = 4; s < 8; ++s) {
          uint8_t& pair = weights.blocks[block + s];
          pair = uint8_t((pair & 0x3f) | 0x0c);
        }
      }
      // 256 * 127 times 32 * 16, 63 * 15 and 7 * 31 + 63: scales of q6_k within 16, of q4_k any, of
      // q5_k within 7.
      for (size_t s = 4; type == WeightType::kQ5_K && s < 8; ++s) {
        weights.blocks[block + s] &= 0x07;
        weights.blocks[block + s + 8] &= 0xf7;
      }
      for (size_t s = 192; type == WeightType::kQ6_K && s < 208; ++s)
        weights.blocks[block + s] &= 15;
    }
    gguf::dequantise(type, weights.blocks.data(), weights.values.data(), n * k);
    const std::vector<uint8_t> panels = panels_of(type, weights, k);
    for_each_product_set([&](const host::ProductSet& set) {
      const Image image = quantise(*set.products, in, rows, 1);
      const Vector out = multiply(*set.products, type, image, panels, rows, n, k, 1);
      for (uint64_t i = 0; i < out.size(); ++i) {
        double sum = 0;
        for (uint64_t j = 0; j < k; ++j) {
          sum += double(in[i / n * k + j]) * weights.values[i % n * k + j];
        }
        ASSERT_EQ(out[i], sum) << i;
      }
    });
  }
}

// Sets that fuse a product and its addition round alike; only `portable` on x86-64 does not.
TEST_F(HostProduct, FusingInstructionSetsAgreeBitForBit) {
  const uint64_t rows = 19, n = 50, k = 1024;
  const Vector in = random_.vector(rows * k);
  unsigned compared = 0;
  for (WeightType type : kTypes) {
    const std::vector<uint8_t> panels = panels_of(type, random_blocks(type, n * k, random_), k);
    Vector expected;
    for_each_product_set([&](const host::ProductSet& set) {
      if (std::string(set.name) == "portable") return;
      const Image image = quantise(*set.products, in, rows, 2);
      const Vector out = multiply(*set.products, type, image, panels, rows, n, k, 2);
      if (expected.empty()) expected = out;
      ++compared;
      EXPECT_EQ(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)), 0)
          << weight_type_name(type);
    });
  }
  if (compared < 2 * std::size(kTypes)) GTEST_SKIP() << "one such set on this processor";
}

// Speculation verifies several rows at once what decoding computes one by one.
TEST_F(HostProduct, ARowDoesNotDependOnTheRowsBesideIt) {
  const uint64_t n = 35, k = 512, most = 33;
  const Vector in = random_.vector(most * k);
  for (WeightType type : kTypes) {
    const std::vector<uint8_t> panels = panels_of(type, random_blocks(type, n * k, random_), k);
    for_each_product_set([&](const host::ProductSet& set) {
      for (uint64_t planes : {1, 2}) {
        Vector alone;
        for (uint64_t row = 0; row < most; ++row) {
          const Vector single(in.begin() + row * k, in.begin() + (row + 1) * k);
          const Vector out =
              multiply(*set.products, type, quantise(*set.products, single, 1, planes), panels, 1,
                       n, k, planes);
          alone.insert(alone.end(), out.begin(), out.end());
        }
        for (uint64_t rows : {2, 3, 4, 5, 8, 9, 16, 17, 33}) {
          const Vector some(in.begin(), in.begin() + rows * k);
          const Vector out =
              multiply(*set.products, type, quantise(*set.products, some, rows, planes), panels,
                       rows, n, k, planes);
          ASSERT_EQ(std::memcmp(out.data(), alone.data(), out.size() * sizeof(float)), 0)
              << weight_type_name(type) << " rows " << rows << " planes " << planes;
        }
      }
    });
  }
}

struct Operations {
  const StepState* state;
  Vector in;
  std::vector<uint8_t> panels;
  uint64_t rows, n, k;
  WeightType type;

  Vector run(unsigned workers) const {
    Image image(host::image_bytes(rows, k) / sizeof(ActivationGroup));
    Vector out(rows * n, -1);
    run_op("quantise", host::QuantiseArgs{state, in.data(), image.data(), rows, k, 2}, workers);
    run_op("product",
           host::ProductArgs{state, image.data(), panels.data(), out.data(), rows, n, k,
                             uint64_t(type), 2},
           workers);
    return out;
  }
};

TEST_F(HostProduct, SameBitsForAnyShares) {
  const uint64_t rows = 11, n = 70, k = 256;
  const StepState state = state_at(2, 12, 64);  // 10 of 11 rows
  const Vector in = random_.vector(rows * k);
  for (WeightType type : kTypes) {
    SCOPED_TRACE(weight_type_name(type));
    const Operations ops{
        &state, in, panels_of(type, random_blocks(type, n * k, random_), k), rows, n, k, type};
    const Vector out = same_for_all_workers([&](unsigned workers) { return ops.run(workers); });
    for (uint64_t i = 10 * n; i < out.size(); ++i) ASSERT_EQ(out[i], -1) << "a row without a token";
  }
}

// What is no number is not hidden by becoming an integer, and stays in its row.
TEST_F(HostProduct, NotANumberStaysOne) {
  const uint64_t rows = 6, n = 20, k = 256;
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float odd : {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity}) {
    Vector in = random_.vector(rows * k);
    in[2 * k + random_.integer(0, k - 1)] = odd;
    for (WeightType type : kTypes) {
      const std::vector<uint8_t> panels = panels_of(type, random_blocks(type, n * k, random_), k);
      for_each_product_set([&](const host::ProductSet& set) {
        for (uint64_t planes : {1, 2}) {
          const Image image = quantise(*set.products, in, rows, planes);
          const Vector out = multiply(*set.products, type, image, panels, rows, n, k, planes);
          for (uint64_t i = 0; i < out.size(); ++i) {
            ASSERT_EQ(std::isnan(out[i]), i / n == 2)
                << weight_type_name(type) << " planes " << planes << " element " << i;
          }
        }
      });
    }
  }
}

}  // namespace
}  // namespace jllm::test

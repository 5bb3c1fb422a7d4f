// The matrix product of several rows, on tensor cores or in f32.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/reference/reference.h"
#include "tests/kernels/gpu/gpu.h"
#include "tests/kernels/gpu/inputs.h"

namespace jllm::test {
namespace {

class Matmul : public testing::TestWithParam<unsigned> {};

// Relative rounding of one activation (half a unit in the last place), by the arithmetic of the
// type.
double activation_rounding(unsigned type) {
  if (type == kRowF32) return 0;
  return type == kRowBF16 ? 0x1p-17 : 0x1p-12;
}

void check(unsigned type, size_t rows, size_t n, size_t k, bool has_residual, float size,
           unsigned position = 0, size_t valid = ~size_t(0)) {
  Random random(type * 1000 + rows + n + k);
  const Weights weights = random_weights(random, type, n, k);
  auto in = random.normals(rows * k, size);
  // A few elements far larger than the rest, as real models have.
  for (size_t row = 0; row < rows; ++row) in[row * k + random.below(k)] *= 1000;
  const auto residual = random.normals(rows * n, size);
  auto expected = reference::matmul(in, weights.values, k);
  if (has_residual) expected = reference::add(expected, residual);
  auto tolerance = product_norms(in, weights.values, k);
  for (size_t i = 0; i < tolerance.size(); ++i) {
    // Rounded activations: eight standard deviations.
    const double rounding = 8 * activation_rounding(type);
    tolerance[i] = rounding * tolerance[i] + dot_tolerance(type, 4 * k, tolerance[i]) +
                   0x1p-22 * std::fabs(expected[i]);
  }
  const unsigned count = position + unsigned(std::min(rows, valid));
  const Buffer state(std::vector<StepState>{make_state(position, count, count + 1)});
  const Buffer in_buffer(in), weight_buffer(weights.bytes);
  const size_t computed = std::min(rows, std::max<size_t>(valid, 1));
  expected.resize(computed * n);
  tolerance.resize(computed * n);
  for (uint32_t tile : {64u, 128u}) {
    const Buffer residual_buffer(residual), out(rows * n * 4);
    std::vector<Argument> arguments = {state, in_buffer, weight_buffer};
    if (has_residual) arguments.push_back(residual_buffer);
    arguments.insert(arguments.end(), {out, uint32_t(rows), uint32_t(n), uint32_t(k)});
    const std::vector<std::string> defines = {
        define("TYPE", type), define("RESIDUAL", has_residual), define("TILE", tile)};
    launch("matmul", defines, kernels::matmul_shape(uint32_t(rows), n, tile), arguments);
    auto got = out.values();
    const std::string what = "tile " + std::to_string(tile) + " rows " + std::to_string(rows) +
                             " n " + std::to_string(n) + " k " + std::to_string(k) + " size " +
                             std::to_string(size);
    for (size_t i = computed * n; i < got.size(); ++i) {
      ASSERT_TRUE(std::isnan(got[i])) << what << " wrote row " << i / n;
    }
    got.resize(computed * n);
    expect_close(got, expected, tolerance, what);
    if (!has_residual) continue;
    arguments[4] = residual_buffer;  // in place, on a single block
    launch("matmul", defines, {1, 1, 256, 0}, arguments);
    EXPECT_EQ(residual_buffer.values(), out.values()) << what << " in place";
  }
}

TEST_P(Matmul, Shapes) {
  JLLM_NEEDS_GPU();
  const unsigned type = GetParam();
  const bool is_super = type == kRowQ4_K || type == kRowQ6_K || type == kRowQ1_0;
  const bool is_plain = type == kRowF32 || type == kRowF16 || type == kRowBF16;
  const size_t k_small = is_super ? 256 : is_plain ? 172 : 96;
  check(type, 1, 172, is_super ? 512 : 64, false, 1);
  check(type, 5, 37, k_small, true, 1);
  check(type, 33, 513, k_small, false, 1);
  check(type, 64, 64, is_super ? 768 : 128, true, 1);
  check(type, 130, 200, 2048, true, 1);
}

TEST_P(Matmul, AnySizeOfActivations) {
  JLLM_NEEDS_GPU();
  const size_t k = 512;
  check(GetParam(), 9, 70, k, false, 1e6f);   // far beyond the range of f16
  check(GetParam(), 9, 70, k, false, 1e-9f);  // far below it
}

TEST_P(Matmul, SkipsRowsWithoutTokens) {
  JLLM_NEEDS_GPU();
  check(GetParam(), 70, 65, 256, false, 1, 11, 66);
  check(GetParam(), 4, 65, 256, false, 1, 11, 0);  // the head: row 0 is computed
}

INSTANTIATE_TEST_SUITE_P(Types, Matmul, testing::ValuesIn(kAllTypes));

}  // namespace
}  // namespace jllm::test

// The matrix product of several rows with f32 weights.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/reference/reference.h"
#include "tests/kernels/gpu/gpu.h"
#include "tests/kernels/gpu/inputs.h"

namespace jllm::test {
namespace {

void check(size_t rows, size_t n, size_t k, bool has_residual, float size, unsigned position = 0,
           size_t valid = ~size_t(0)) {
  Random random(rows + n + k);
  const Weights weights = random_weights(random, kRowF32, n, k);
  auto in = random.normals(rows * k, size);
  // A few elements far larger than the rest, as real models have.
  for (size_t row = 0; row < rows; ++row) in[row * k + random.below(k)] *= 1000;
  const auto residual = random.normals(rows * n, size);
  auto expected = reference::matmul(in, weights.values, k);
  if (has_residual) expected = reference::add(expected, residual);
  auto tolerance = product_norms(in, weights.values, k);
  for (size_t i = 0; i < tolerance.size(); ++i) {
    tolerance[i] = dot_tolerance(kRowF32, 4 * k, tolerance[i]) + 0x1p-22 * std::fabs(expected[i]);
  }
  const unsigned count = position + unsigned(std::min(rows, valid));
  const Buffer state(std::vector<StepState>{make_state(position, count, count + 1)});
  const Buffer in_buffer(in), weight_buffer(weights.bytes);
  const size_t computed = std::min(rows, std::max<size_t>(valid, 1));
  expected.resize(computed * n);
  tolerance.resize(computed * n);
  const Buffer residual_buffer(residual), out(rows * n * 4);
  std::vector<Argument> arguments = {state, in_buffer, weight_buffer};
  if (has_residual) arguments.push_back(residual_buffer);
  arguments.insert(arguments.end(), {out, uint32_t(rows), uint32_t(n), uint32_t(k)});
  const std::vector<std::string> defines = {define("RESIDUAL", has_residual), "TILE=64"};
  launch("matmul", defines, kernels::matmul_shape(uint32_t(rows), n, 64), arguments);
  auto got = out.values();
  const std::string what =
      "rows " + std::to_string(rows) + " n " + std::to_string(n) + " k " + std::to_string(k);
  for (size_t i = computed * n; i < got.size(); ++i) {
    ASSERT_TRUE(std::isnan(got[i])) << what << " wrote row " << i / n;
  }
  got.resize(computed * n);
  expect_close(got, expected, tolerance, what);
  const Buffer of_small_tiles(rows * n * 4);
  arguments[has_residual ? 4 : 3] = of_small_tiles;
  launch("matmul", {defines[0], "TILE=16"}, kernels::matmul_shape(uint32_t(rows), n, 16),
         arguments);
  // Bytes: what is not written is not a number.
  EXPECT_EQ(of_small_tiles.values<uint32_t>(), out.values<uint32_t>()) << what;
  if (!has_residual) return;
  arguments[4] = residual_buffer;  // in place, on a single block
  launch("matmul", defines, {1, 1, 256, 0}, arguments);
  EXPECT_EQ(residual_buffer.values(), out.values()) << what << " in place";
}

TEST(Matmul, Shapes) {
  JLLM_NEEDS_GPU();
  check(1, 172, 64, false, 1);
  check(5, 37, 172, true, 1);
  check(33, 513, 172, false, 1);
  check(130, 200, 2048, true, 1);
}

TEST(Matmul, AnySizeOfActivations) {
  JLLM_NEEDS_GPU();
  check(9, 70, 512, false, 1e6f);
  check(9, 70, 512, false, 1e-9f);
}

TEST(Matmul, SkipsRowsWithoutTokens) {
  JLLM_NEEDS_GPU();
  check(70, 65, 256, false, 1, 11, 66);
  check(4, 65, 256, false, 1, 11, 0);  // the head: row 0 is computed
}

}  // namespace
}  // namespace jllm::test

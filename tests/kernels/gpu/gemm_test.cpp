// The matrix product of several tokens on tensor cores: every weight type in every tile, shapes
// that fill tiles and shapes that do not, several matrices in a launch, gate and up.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <tuple>

#include "kernels/gemm_shapes.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/gpu/gpu.h"
#include "tests/kernels/gpu/inputs.h"

namespace jllm::test {
namespace {

using kernels::GemmProblem;
using kernels::GemmTile;

// What a product's terms a * w are rounded by, in units of 2^-12 of |a| times the size of the
// weight: half a unit in the last place of an f16 for the activation, and for the weight once or
// more. F16 and BF16 enter as they are, as do the single bits of Q1_0 times their scale.
double roundings(unsigned type) {
  switch (type) {
    case kRowF16:
    case kRowBF16:
    case kRowQ1_0:
      return 1;
    case kRowQ4_0:
    case kRowQ5_0:
    case kRowQ8_0:
    case kRowIQ4_NL:
    case kRowMXFP4:
    case kRowTQ2_0:
    case kRowQ2_0:
      return 2;  // scale * value
    default:
      return 4;  // also the scale; with a minimum that too
  }
}

// The weights' sizes in that sense. What types with minima round, scale * value and the minimum,
// may cancel in the weight, but somewhere in 32 of them one does not.
std::vector<float> sizes_of(unsigned type, const std::vector<float>& values) {
  if (!has_minimum(type)) return values;
  std::vector<float> sizes(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    float largest = 0;
    for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j) {
      largest = std::max(largest, std::fabs(values[j]));
    }
    sizes[i] = largest;
  }
  return sizes;
}

struct Inputs {
  std::vector<float> activations;
  size_t k;
};

// One matrix, its expected product and how far from it a result may be.
struct Matrix {
  Matrix(Random& random, unsigned type_of_it, size_t n_of_it, const Inputs& in)
      : type(type_of_it), n(n_of_it), weights(random_weights(random, type, n, in.k)) {
    expected = reference::matmul(in.activations, weights.values, in.k);
    tolerance = product_norms(in.activations, sizes_of(type, weights.values), in.k);
    for (size_t i = 0; i < tolerance.size(); ++i) {
      double squares = 0;  // of the activations: weights have an absolute error too
      for (size_t j = 0; j < in.k; ++j) {
        const double a = in.activations[i / n * in.k + j];
        squares += a * a;
      }
      // Eight standard deviations.
      tolerance[i] = 8 * (roundings(type) * 0x1p-12 * tolerance[i] + 0x1p-29 * std::sqrt(squares)) +
                     dot_tolerance(type, 4 * in.k, tolerance[i]);
    }
  }

  unsigned type;
  size_t n;
  Weights weights;
  std::vector<float> expected;
  std::vector<double> tolerance;
};

struct Tokens {
  size_t rows;
  float size = 1;
  unsigned position = 0;
  size_t valid = ~size_t(0);
};

Inputs make_inputs(Random& random, const Tokens& tokens, size_t k) {
  Inputs in = {random.normals(tokens.rows * k, tokens.size), k};
  // A few elements far larger than the rest, as real models have.
  for (size_t row = 0; row < tokens.rows; ++row) {
    in.activations[row * k + random.below(k)] *= 1000;
  }
  return in;
}

// Launches the image and the product, with the outputs' buffers (and before them a residual's)
// given.
void run(const GemmTile& tile, const GemmProblem& problem, const Tokens& tokens, const Inputs& in,
         const std::vector<Matrix>& matrices, std::vector<std::string> more,
         const std::vector<const Buffer*>& buffers) {
  const unsigned count = tokens.position + unsigned(std::min(tokens.rows, tokens.valid));
  const Buffer state(std::vector<StepState>{make_state(tokens.position, count, count + 1)});
  const Buffer activations(in.activations);
  const Buffer image(kernels::half_image_bytes(tokens.rows, in.k));
  launch("halves", {define("DIM", in.k)}, kernels::row_shape(uint32_t(tokens.rows), in.k),
         {state, activations, image});
  std::vector<std::unique_ptr<Buffer>> weights;
  std::vector<Argument> arguments = {state, image};
  for (const Matrix& matrix : matrices) {
    weights.push_back(std::make_unique<Buffer>(matrix.weights.bytes));
    arguments.push_back(*weights.back());
  }
  for (const Buffer* buffer : buffers) arguments.push_back(*buffer);
  arguments.push_back(uint32_t(tokens.rows));
  std::vector<std::string> defines = kernels::gemm_defines(tile, problem);
  defines.insert(defines.end(), more.begin(), more.end());
  launch("gemm", defines, kernels::gemm_shape(tile, problem), arguments);
}

// Rows of tokens that do not exist must not be written.
void check_rows(const Buffer& out, const Tokens& tokens, size_t n, std::vector<float> expected,
                std::vector<double> tolerance, const std::string& what) {
  const size_t computed = std::min(tokens.rows, std::max<size_t>(tokens.valid, 1));
  auto got = out.values();
  for (size_t i = computed * n; i < got.size(); ++i) {
    ASSERT_TRUE(std::isnan(got[i])) << what << " wrote row " << i / n;
  }
  got.resize(computed * n);
  expected.resize(computed * n);
  tolerance.resize(computed * n);
  expect_close(got, expected, tolerance, what);
}

GemmProblem problem_of(const Tokens& tokens, size_t k, const std::vector<Matrix>& matrices) {
  GemmProblem problem;
  problem.rows = uint32_t(tokens.rows);
  problem.k = k;
  for (const Matrix& matrix : matrices) {
    problem.types.push_back(matrix.type);
    problem.n.push_back(matrix.n);
  }
  return problem;
}

std::string name_of(const GemmTile& tile) {
  return "tile " + std::to_string(tile.tokens()) + " x " + std::to_string(tile.rows()) +
         (tile.wgmma ? " of groups" : "");
}

void check_one(const GemmTile& tile, unsigned type, const Tokens& tokens, size_t n, size_t k,
               bool has_residual) {
  Random random(type * 1000 + tokens.rows + n + k);
  const Inputs in = make_inputs(random, tokens, k);
  std::vector<Matrix> matrices;
  matrices.emplace_back(random, type, n, in);
  auto expected = matrices[0].expected;
  auto tolerance = matrices[0].tolerance;
  const auto residual = random.normals(tokens.rows * n, tokens.size);
  if (has_residual) {
    expected = reference::add(expected, residual);
    for (size_t i = 0; i < tolerance.size(); ++i) {
      tolerance[i] += 0x1p-22 * std::fabs(expected[i]);
    }
  }
  const GemmProblem problem = problem_of(tokens, k, matrices);
  const std::string what = name_of(tile) + " rows " + std::to_string(tokens.rows) + " n " +
                           std::to_string(n) + " k " + std::to_string(k) + " size " +
                           std::to_string(tokens.size);
  const Buffer out(tokens.rows * n * 4), residual_buffer(residual);
  if (!has_residual) {
    run(tile, problem, tokens, in, matrices, {}, {&out});
    return check_rows(out, tokens, n, expected, tolerance, what);
  }
  run(tile, problem, tokens, in, matrices, {"RESIDUAL=1"}, {&residual_buffer, &out});
  check_rows(out, tokens, n, expected, tolerance, what);
  run(tile, problem, tokens, in, matrices, {"RESIDUAL=1"}, {&residual_buffer, &residual_buffer});
  EXPECT_EQ(residual_buffer.values(), out.values()) << what << " in place";
}

class Gemm : public testing::TestWithParam<std::tuple<unsigned, size_t>> {
 protected:
  unsigned type() const { return std::get<0>(GetParam()); }
  const GemmTile& tile() const { return kernels::gemm_tiles()[std::get<1>(GetParam())]; }
};

TEST_P(Gemm, FillsTiles) {
  JLLM_NEEDS_GPU();
  check_one(tile(), type(), {130}, 256, 1024, true);
}

TEST_P(Gemm, LeavesTilesUnfilled) {
  JLLM_NEEDS_GPU();
  // 160: behind the five blocks of a row of Q5_0 there is hardly any padding.
  const size_t block = block_shape(static_cast<WeightType>(type())).elements;
  const size_t k = block == 1 ? 172 : block == 32 ? 160 : block == 64 ? 192 : block;
  check_one(tile(), type(), {33}, 213, k, true);
  check_one(tile(), type(), {70, 1, 11, 66}, 66, 3 * k, false);
}

std::string gemm_name(const testing::TestParamInfo<std::tuple<unsigned, size_t>>& test) {
  return "type_" + std::to_string(std::get<0>(test.param)) + "_tile_" +
         std::to_string(std::get<1>(test.param));
}

constexpr unsigned kGemmTypes[] = {
    kRowF16,  kRowBF16, kRowQ4_0, kRowQ4_1, kRowQ5_0,   kRowQ5_1,   kRowQ8_0,  kRowQ4_K,  kRowQ5_K,
    kRowQ6_K, kRowQ1_0, kRowQ2_K, kRowQ3_K, kRowIQ4_NL, kRowIQ4_XS, kRowMXFP4, kRowTQ2_0, kRowQ2_0};
INSTANTIATE_TEST_SUITE_P(TypesAndTiles, Gemm,
                         testing::Combine(testing::ValuesIn(kGemmTypes),
                                          testing::Range(size_t(0), kernels::gemm_tiles().size())),
                         gemm_name);

class GemmOfType : public testing::TestWithParam<unsigned> {};

TEST_P(GemmOfType, AnySizeOfActivations) {
  JLLM_NEEDS_GPU();
  for (const GemmTile& tile : {kernels::gemm_tiles().front(), kernels::gemm_tiles().back()}) {
    check_one(tile, GetParam(), {9, 1e6f}, 70, 512, false);   // far beyond the range of f16
    check_one(tile, GetParam(), {9, 1e-9f}, 70, 512, false);  // far below it
  }
}

TEST_P(GemmOfType, TheHeadComputesRowZeroWithoutTokens) {
  JLLM_NEEDS_GPU();
  for (const GemmTile& tile : {kernels::gemm_tiles().front(), kernels::gemm_tiles().back()}) {
    check_one(tile, GetParam(), {4, 1, 11, 0}, 65, 256, false);
  }
}

// Gate and up, of sizes that fill their tiles and not.
TEST_P(GemmOfType, GateAndUp) {
  JLLM_NEEDS_GPU();
  for (const GemmTile& tile : kernels::gemm_tiles()) {
    for (const auto& [n, activation] : {std::pair(size_t(128), kSilu), {83, kGelu}}) {
      const Tokens tokens = {37};
      Random random(GetParam() + n);
      const Inputs in = make_inputs(random, tokens, 512);
      std::vector<Matrix> matrices;
      for (int i = 0; i < 2; ++i) matrices.emplace_back(random, GetParam(), n, in);
      GemmProblem problem = problem_of(tokens, in.k, matrices);
      problem.gated = true;
      if (!kernels::fits(tile, problem)) continue;
      const Buffer out(tokens.rows * n * 4);
      run(tile, problem, tokens, in, matrices, {define("ACTIVATION", activation)}, {&out});
      const auto expected = reference::glu(matrices[0].expected, matrices[1].expected, activation);
      std::vector<double> tolerance;
      for (size_t i = 0; i < expected.size(); ++i) {
        const Matrix &gate = matrices[0], &up = matrices[1];
        // The activations' slope is at most 1.13. The exponent's rounding counts where the result
        // is near 0.
        const double of_gate = 1.13 * gate.tolerance[i], of_up = up.tolerance[i];
        const double g = std::fabs(gate.expected[i]), u = std::fabs(up.expected[i]);
        tolerance.push_back(of_gate * (u + of_up) + g * of_up + 0x1p-16 * std::fabs(expected[i]) +
                            1e-30);
      }
      check_rows(out, tokens, n, expected, tolerance,
                 name_of(tile) + " n " + std::to_string(n) + " gated");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, GemmOfType, testing::ValuesIn(kGemmTypes));

// Matrices of several types and sizes in one launch.
TEST(GemmLaunch, SeveralMatrices) {
  JLLM_NEEDS_GPU();
  const std::vector<std::pair<unsigned, size_t>> lists[] = {
      {{kRowQ4_K, 256}, {kRowQ4_K, 128}, {kRowQ6_K, 128}},
      {{kRowQ4_K, 100}, {kRowQ6_K, 52}, {kRowQ8_0, 36}},
      {{kRowF16, 140}, {kRowF16, 60}},
      {{kRowQ8_0, 64}, {kRowQ4_0, 64}, {kRowQ4_0, 64}}};
  for (const GemmTile& tile : kernels::gemm_tiles()) {
    for (const auto& list : lists) {
      const Tokens tokens = {45};
      Random random(list.size() + list[0].second);
      const Inputs in = make_inputs(random, tokens, 512);
      std::vector<Matrix> matrices;
      std::vector<std::unique_ptr<Buffer>> outs;
      std::vector<const Buffer*> buffers;
      for (const auto& [type, n] : list) {
        matrices.emplace_back(random, type, n, in);
        outs.push_back(std::make_unique<Buffer>(tokens.rows * n * 4));
        buffers.push_back(outs.back().get());
      }
      run(tile, problem_of(tokens, in.k, matrices), tokens, in, matrices, {}, buffers);
      for (size_t i = 0; i < matrices.size(); ++i) {
        check_rows(*outs[i], tokens, matrices[i].n, matrices[i].expected, matrices[i].tolerance,
                   name_of(tile) + " matrix " + std::to_string(i));
      }
    }
  }
}

}  // namespace
}  // namespace jllm::test

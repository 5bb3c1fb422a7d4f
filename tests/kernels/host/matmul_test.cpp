// The matrix product of every weight type and instruction set against the reference, whose weights
// come from the compiler's own decoder.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "compiler/gguf/quants.h"
#include "executor/src/host/kernels.h"
#include "executor/src/host/thread_pool.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/host/host_op_runner.h"
#include "tests/kernels/host/weights.h"

namespace jllm::test {
namespace {

using HostMatmul = HostOpTest;

constexpr WeightType kTypes[] = {
    WeightType::kF32,   WeightType::kF16,   WeightType::kBF16,   WeightType::kQ4_0,
    WeightType::kQ4_1,  WeightType::kQ5_0,  WeightType::kQ5_1,   WeightType::kQ8_0,
    WeightType::kQ4_K,  WeightType::kQ5_K,  WeightType::kQ6_K,   WeightType::kQ1_0,
    WeightType::kQ2_K,  WeightType::kQ3_K,  WeightType::kIQ4_NL, WeightType::kIQ4_XS,
    WeightType::kMXFP4, WeightType::kTQ2_0, WeightType::kQ2_0};

// A decoded weight is a difference of two products (scale and minimum; |parts| <= 4 together where
// the weights are within 1) with four roundings at most on either side.
constexpr double kDecodeError = 4 * 4 * kEpsilon;

// An element sums K products in lanes of every 4th element at least: K / 4 additions in a row, 4
// more across the lanes, one product each; plus the decoder's error on every weight.
double tolerance(const Vector& in, const Vector& weights, uint64_t k, uint64_t row,
                 uint64_t column) {
  double products = 0, inputs = 0;
  for (uint64_t i = 0; i < k; ++i) {
    products += std::abs(double(in[row * k + i]) * weights[column * k + i]);
    inputs += std::abs(in[row * k + i]);
  }
  return kEpsilon * (double(k) / 4 + 6) * products + kDecodeError * inputs;
}

TEST_F(HostMatmul, DecodersOfEveryInstructionSet) {
  const Vector values = random_.vector(8 * 256);
  for (WeightType type : kTypes) {
    SCOPED_TRACE(weight_type_name(type));
    const Weights weights = quantised(type, values);
    for_each_kernel_set([&](const host::Kernels& kernels) {
      Vector out(values.size());
      kernels.dequantise(type, weights.blocks.data(), out.data(), out.size());
      expect_close(out, weights.values, [](size_t) { return kDecodeError; });
    });
  }
}

// Random bits exercise every field of a block; the scales stay finite.
TEST_F(HostMatmul, DecodersOfRandomBlocks) {
  const size_t count = 64 * 256;
  for (WeightType type :
       {WeightType::kQ4_0, WeightType::kQ4_1, WeightType::kQ5_0, WeightType::kQ5_1,
        WeightType::kQ8_0, WeightType::kQ4_K, WeightType::kQ5_K, WeightType::kQ6_K,
        WeightType::kQ1_0, WeightType::kQ2_K, WeightType::kQ3_K, WeightType::kIQ4_NL,
        WeightType::kIQ4_XS, WeightType::kMXFP4, WeightType::kTQ2_0, WeightType::kQ2_0}) {
    SCOPED_TRACE(weight_type_name(type));
    const Weights weights = random_blocks(type, count, random_);
    // The largest part: 63 * 15 (q4_k), 128 * 32 (q6_k), 128 (q8_0); four roundings on either side.
    const double error = 8 * kEpsilon * 128 * 32;
    for_each_kernel_set([&](const host::Kernels& kernels) {
      Vector out(count);
      kernels.dequantise(type, weights.blocks.data(), out.data(), count);
      expect_close(out, weights.values, [&](size_t) { return error; });
    });
  }
}

TEST_F(HostMatmul, EveryTypeShapeAndInstructionSet) {
  struct Shape {
    uint64_t rows, n, k;
  };
  // 64 and 96 elements leave part of a chunk, 97 rows leave a block of activation rows.
  for (const Shape& shape : {Shape{1, 7, 64}, Shape{1, 33, 896}, Shape{5, 6, 96}, Shape{4, 9, 256},
                             Shape{97, 5, 512}, Shape{13, 21, 768}}) {
    const Vector in = random_.vector(shape.rows * shape.k);
    const Vector values = random_.vector(shape.n * shape.k);
    for (WeightType type : kTypes) {
      if (shape.k % block_shape(type).elements != 0) continue;
      SCOPED_TRACE(testing::Message() << weight_type_name(type) << " rows " << shape.rows << " n "
                                      << shape.n << " k " << shape.k);
      const Weights weights = quantised(type, values);
      const Vector expected = reference::matmul(in, weights.values, shape.k);
      for_each_kernel_set([&](const host::Kernels& kernels) {
        Vector out(shape.rows * shape.n);
        kernels.matmul({in.data(), weights.blocks.data(), out.data(), shape.rows, shape.n, shape.k,
                        0, shape.n, type});
        expect_close(out, expected, [&](size_t i) {
          return tolerance(in, weights.values, shape.k, i / shape.n, i % shape.n);
        });
      });
    }
  }
}

TEST_F(HostMatmul, PlainWeightsOfAnyLength) {
  for (uint64_t k : {1, 3, 17, 259, 515}) {
    const uint64_t rows = 3, n = 5;
    const Vector in = random_.vector(rows * k), values = random_.vector(n * k);
    for (WeightType type : {WeightType::kF32, WeightType::kF16, WeightType::kBF16}) {
      SCOPED_TRACE(testing::Message() << weight_type_name(type) << " k " << k);
      const Weights weights = quantised(type, values);
      const Vector expected = reference::matmul(in, weights.values, k);
      for_each_kernel_set([&](const host::Kernels& kernels) {
        Vector out(rows * n);
        kernels.matmul({in.data(), weights.blocks.data(), out.data(), rows, n, k, 0, n, type});
        expect_close(out, expected,
                     [&](size_t i) { return tolerance(in, weights.values, k, i / n, i % n); });
      });
    }
  }
}

TEST_F(HostMatmul, SameBitsForAnyWorkersAndRows) {
  const uint64_t rows = 11, n = 23, k = 512;
  const StepState state = state_at(2, 12, 64);  // 10 of 11 rows
  const Vector in = random_.vector(rows * k), values = random_.vector(n * k);
  for (WeightType type : kTypes) {
    SCOPED_TRACE(weight_type_name(type));
    const Weights weights = quantised(type, values);
    const Vector out = same_for_all_workers([&](unsigned workers) {
      Vector result(rows * n);
      run_op("matmul",
             host::MatmulArgs{&state, in.data(), weights.blocks.data(), result.data(), rows, n, k,
                              uint64_t(type)},
             workers);
      return result;
    });
    // Decode computes one row at a time what prefill computes in blocks.
    for (uint64_t row = 0; row < 10; ++row) {
      Vector single(n);
      run_op("matmul", host::MatmulArgs{&state, in.data() + row * k, weights.blocks.data(),
                                        single.data(), 1, n, k, uint64_t(type)});
      ASSERT_EQ(std::memcmp(single.data(), &out[row * n], n * sizeof(float)), 0) << "row " << row;
    }
  }
}

TEST_F(HostMatmul, SameBitsOnAThreadPool) {
  const uint64_t rows = 9, n = 257, k = 256;
  const StepState state = state_at(0, 9, 64);
  const Vector in = random_.vector(rows * k);
  const Weights weights = quantised(WeightType::kQ4_K, random_.vector(n * k));
  Vector alone(rows * n), together(rows * n);
  host::MatmulArgs args{&state, in.data(), weights.blocks.data(),      alone.data(), rows,
                        n,      k,         uint64_t(WeightType::kQ4_K)};
  run_op("matmul", args);

  args.out = together.data();
  host::ThreadPool pool;
  ASSERT_EQ(pool.start(4), 0);
  pool.run(
      7,
      [](void* context, const host::Worker& worker) {
        host::find_host_op("matmul")->run(static_cast<const uint64_t*>(context), worker);
      },
      &args);
  EXPECT_EQ(std::memcmp(alone.data(), together.data(), alone.size() * sizeof(float)), 0);
}

}  // namespace
}  // namespace jllm::test

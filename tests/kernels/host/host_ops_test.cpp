// The element-wise and row-wise host operations against the reference, at shapes that fill no
// vector.
#include <gtest/gtest.h>

#include <cmath>

#include "compiler/gguf/quants.h"
#include "executor/src/host/half.h"
#include "executor/src/host/kernels.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/host/host_op_runner.h"

namespace jllm::test {
namespace {

using HostOps = HostOpTest;

TEST_F(HostOps, TableKnowsEveryOperationAndNothingElse) {
  for (const char* name : {"embed",         "rms_norm",       "layer_norm", "matmul",
                           "quantise",      "quantise_rows",  "product",    "add_bias",
                           "rope",          "kv_append",      "attention",  "short_conv",
                           "glu",           "unary",          "add",        "route",
                           "expert_matmul", "expert_product", "expert_sum", "finish_chunk",
                           "sample",        "sample_masked",  "draft",      "accept"}) {
    EXPECT_NE(host::find_host_op(name), nullptr) << name;
  }
  EXPECT_EQ(host::find_host_op(""), nullptr);
  EXPECT_EQ(host::find_host_op("matmu"), nullptr);
  EXPECT_EQ(host::find_host_op("matmuls"), nullptr);
}

TEST_F(HostOps, EmbedDecodesTheRowsOfTheNextTokens) {
  const uint64_t dim = 512, vocab = 37, rows = 6;
  const StepState state = state_at(3, 8, 16);  // 5 of 6 rows hold a token
  std::vector<uint32_t> tokens(16);
  for (uint32_t& token : tokens) token = random_.integer(0, vocab - 1);
  const std::vector<uint32_t> next(tokens.begin() + 3, tokens.begin() + 8);
  const Vector values = random_.vector(vocab * dim);
  for (WeightType type :
       {WeightType::kF32, WeightType::kF16, WeightType::kQ8_0, WeightType::kQ6_K}) {
    const BlockShape shape = block_shape(type);
    std::vector<uint8_t> table(vocab * dim / shape.elements * shape.bytes);
    gguf::quantise(type, values.data(), table.data(), values.size());
    Vector decoded(values.size());
    gguf::dequantise(type, table.data(), decoded.data(), decoded.size());
    const Vector out = same_for_all_workers([&](unsigned workers) {
      Vector result(rows * dim);
      run_op("embed",
             host::EmbedArgs{&state, tokens.data(), table.data(), result.data(), rows, dim, vocab,
                             uint64_t(type), 0},
             workers);
      return result;
    });
    // Two products of factors that decode exactly: two roundings.
    expect_close(out, reference::embed(next, decoded, dim), [](size_t) { return 4 * kEpsilon; });
  }
}

TEST_F(HostOps, RmsNorm) {
  for (uint64_t dim : {1, 8, 100, 2048, 4099}) {
    const uint64_t rows = 3;
    const StepState state = state_at(5, 7, 32);  // 2 of 3 rows
    const Vector in = random_.vector(rows * dim, -3, 3), weight = random_.vector(dim);
    const float epsilon = 1e-5f;
    const Vector out = same_for_all_workers([&](unsigned workers) {
      Vector result(rows * dim);
      run_op("rms_norm",
             host::RmsNormArgs{&state, in.data(), weight.data(), result.data(), rows, dim,
                               slot_of(epsilon), 1},
             workers);
      return result;
    });
    const Vector expected =
        reference::rms_norm(reference::Floats(in).first(2 * dim), weight, epsilon);
    // The sum of squares has no cancellation: dim / 4 additions in the shortest lanes plus a few;
    // the square root halves the relative error; then three roundings.
    const double relative = kEpsilon * (double(dim) / 8 + 12);
    expect_close(out, expected, [&](size_t i) { return relative * std::abs(expected[i]); });
  }
}

TEST_F(HostOps, RmsNormOfSingleHeads) {
  const uint64_t rows = 3, heads = 5, dim = 24;
  const StepState state = state_at(5, 7, 32);  // 2 of 3 rows
  const Vector in = random_.vector(rows * heads * dim, -3, 3), weight = random_.vector(dim);
  const Vector out = same_for_all_workers([&](unsigned workers) {
    Vector result(in.size());
    run_op("rms_norm",
           host::RmsNormArgs{&state, in.data(), weight.data(), result.data(), rows, dim,
                             slot_of(1e-6f), heads},
           workers);
    return result;
  });
  const Vector expected =
      reference::rms_norm(reference::Floats(in).first(2 * heads * dim), weight, 1e-6f);
  const double relative = kEpsilon * (double(dim) / 8 + 12);
  expect_close(out, expected, [&](size_t i) { return relative * std::abs(expected[i]); });
  for (size_t i = 2 * heads * dim; i < out.size(); ++i) EXPECT_EQ(out[i], 0) << i;
}

TEST_F(HostOps, LayerNorm) {
  for (uint64_t dim : {8, 100, 2048, 4099}) {
    const uint64_t rows = 3;
    const StepState state = state_at(5, 7, 32);  // 2 of 3 rows
    const Vector in = random_.vector(rows * dim, 2, 8), weight = random_.vector(dim);
    const Vector bias = random_.vector(dim);
    for (const bool has_bias : {false, true}) {
      const Vector out = same_for_all_workers([&](unsigned workers) {
        Vector result(rows * dim);
        run_op(
            "layer_norm",
            host::LayerNormArgs{&state, in.data(), weight.data(), has_bias ? bias.data() : nullptr,
                                result.data(), rows, dim, slot_of(1e-5f)},
            workers);
        return result;
      });
      const Vector expected = reference::layer_norm(reference::Floats(in).first(2 * dim), weight,
                                                    has_bias ? bias : Vector(), 1e-5f);
      // The mean, at most 8, is off by dim / 4 + 4 roundings, and in - mean by one more. The
      // deviation of 6 / sqrt(12) is off by as many of its squares' roundings; 3.5 times the
      // deviation is the largest normed value. Then product and sum.
      const double depth = double(dim) / 4 + 8;
      const double error = kEpsilon * (8 * depth / 1.2 + 3.5 * depth + 8);
      expect_close(out, expected, [&](size_t) { return error; });
    }
  }
}

TEST_F(HostOps, UnaryOfEveryInstructionSet) {
  Vector in = random_.vector(1003, -100, 100);
  in[0] = 1e6f, in[1] = -1e6f, in[2] = 0, in[3] = 1e-6f;
  for_each_kernel_set([&](const host::Kernels& kernels) {
    for (const UnaryFunction function : {kScale, kSoftcap, kReluSquared}) {
      const float parameter = 30;
      const Vector expected = reference::unary(in, function, parameter);
      Vector out = in;
      kernels.unary(out.data(), out.data(), out.size(), function, parameter);
      // One product; or, of the limit, an exp within 2 ulp and its argument (whose error is largest
      // against the result at 2|u| = 1), a difference and a sum, a quotient and a product.
      expect_close(out, expected, [&](size_t i) {
        return kEpsilon * (function == kSoftcap ? 10 * parameter : 2 * std::abs(expected[i]));
      });
    }
  });
}

TEST_F(HostOps, UnaryInPlaceTouchesOnlyRowsWithTokens) {
  const uint64_t rows = 4, n = 33;
  const StepState state = state_at(6, 9, 16);  // 3 of 4 rows
  const Vector in = random_.vector(rows * n, -3, 3);
  const Vector out = same_for_all_workers([&](unsigned workers) {
    Vector result = in;
    run_op("unary", host::UnaryArgs{&state, result.data(), result.data(), rows, n, kReluSquared, 0},
           workers);
    return result;
  });
  Vector expected = reference::unary(reference::Floats(in).first(3 * n), kReluSquared, 0);
  expected.insert(expected.end(), in.begin() + 3 * n, in.end());
  expect_close(out, expected, [&](size_t i) { return 2 * kEpsilon * std::abs(expected[i]); });
}

TEST_F(HostOps, WithoutAStateEveryRowIsComputed) {
  const uint64_t rows = 3, dim = 32;
  const Vector in = random_.vector(rows * dim), ones(dim, 1.0f);
  Vector norm(rows * dim), product(rows);
  run_op("rms_norm",
         host::RmsNormArgs{nullptr, in.data(), ones.data(), norm.data(), rows, dim, 0, 1});
  run_op("matmul", host::MatmulArgs{nullptr, norm.data(), ones.data(), product.data(), rows, 1, dim,
                                    uint64_t(WeightType::kF32)});
  for (uint64_t row = 0; row < rows; ++row) {
    double squares = 0, sum = 0;
    for (uint64_t i = 0; i < dim; ++i) squares += norm[row * dim + i] * norm[row * dim + i];
    for (uint64_t i = 0; i < dim; ++i) sum += norm[row * dim + i];
    EXPECT_NEAR(squares, double(dim), 1e-4);
    EXPECT_NEAR(product[row], sum, 1e-4);
  }
}

TEST_F(HostOps, AddAndAddBiasRoundOnce) {
  const uint64_t rows = 5, n = 77;
  const StepState state = state_at(0, 4, 8);
  const Vector a = random_.vector(rows * n), b = random_.vector(rows * n);
  const Vector bias = random_.vector(n);
  Vector sum = same_for_all_workers([&](unsigned workers) {
    Vector result = a;  // in place
    run_op("add", host::AddArgs{&state, result.data(), b.data(), result.data(), rows, n}, workers);
    return result;
  });
  sum.resize(4 * n);
  Vector expected = reference::add(a, b);
  expected.resize(4 * n);
  EXPECT_EQ(sum, expected);

  Vector biased = same_for_all_workers([&](unsigned workers) {
    Vector result(rows * n);
    run_op("add_bias", host::AddBiasArgs{&state, a.data(), bias.data(), result.data(), rows, n},
           workers);
    return result;
  });
  biased.resize(4 * n);
  expected = reference::add_bias(a, bias);
  expected.resize(4 * n);
  EXPECT_EQ(biased, expected);
}

TEST_F(HostOps, GluOfEveryInstructionSet) {
  const Vector gate = random_.vector(1003, -30, 30), up = random_.vector(1003);
  for_each_kernel_set([&](const host::Kernels& kernels) {
    Vector expected = reference::glu(gate, up);
    Vector out(gate.size());
    kernels.glu(gate.data(), up.data(), out.data(), out.size(), kSilu);
    // exp within 2 ulp (4 half-ulp roundings); sum, quotient and product add one rounding each; one
    // more for the argument's own reduction.
    expect_close(out, expected, [&](size_t i) { return 8 * kEpsilon * std::abs(expected[i]); });

    expected = reference::glu(gate, up, kGelu);
    kernels.glu(gate.data(), up.data(), out.data(), out.size(), kGelu);
    // The argument of exp, with five roundings, reaches 88 before it is cut off: an error of 88 * 5
    // roundings of the result. What is cut off is below 30 exp(-88).
    expect_close(out, expected,
                 [&](size_t i) { return kEpsilon * std::abs(expected[i]) * (8 + 5 * 88) + 2e-37; });
  });
}

TEST_F(HostOps, GluAtExtremesStaysFinite) {
  const Vector gate = {-1e30f, -200, -88, -0.0f, 0, 88, 200, 1e30f}, up(gate.size(), 1);
  for_each_kernel_set([&](const host::Kernels& kernels) {
    Vector out(gate.size());
    for (const Activation activation : {kSilu, kGelu}) {
      kernels.glu(gate.data(), up.data(), out.data(), out.size(), activation);
      for (size_t i = 0; i < gate.size(); ++i) {
        const float wanted = gate[i] > 0 ? gate[i] : 0;
        EXPECT_NEAR(out[i], wanted, 1e-6f * std::abs(gate[i])) << gate[i];
      }
    }
  });
}

TEST_F(HostOps, GluInPlace) {
  const uint64_t rows = 4, n = 33;
  const StepState state = state_at(6, 10, 16);
  const Vector gate = random_.vector(rows * n, -8, 8), up = random_.vector(rows * n);
  const Vector expected = reference::glu(gate, up);
  const Vector out = same_for_all_workers([&](unsigned workers) {
    Vector result = gate;
    run_op("glu", host::GluArgs{&state, result.data(), up.data(), result.data(), rows, n, kSilu},
           workers);
    return result;
  });
  expect_close(out, expected, [&](size_t i) { return 8 * kEpsilon * std::abs(expected[i]); });
}

struct RopeCase {
  uint64_t heads, head_dim, pairs;
  bool neox, in_place;
};

TEST_F(HostOps, RopeOfBothPairings) {
  for (const RopeCase& c : {RopeCase{4, 8, 4, false, true}, RopeCase{3, 64, 32, true, true},
                            RopeCase{5, 80, 16, true, false}, RopeCase{2, 96, 20, false, false}}) {
    const uint64_t rows = 7, size = rows * c.heads * c.head_dim;
    const unsigned position = random_.integer(0, 4000);
    const StepState state = state_at(position, position + 7, 8192);
    const Vector in = random_.vector(size), frequencies = random_.vector(c.pairs, 0, 1);
    const float magnitude = 1.25f;
    const Vector out = same_for_all_workers([&](unsigned workers) {
      Vector result = c.in_place ? in : Vector(size);
      run_op("rope",
             host::RopeArgs{&state, c.in_place ? result.data() : in.data(), frequencies.data(),
                            result.data(), rows, c.heads, c.head_dim, c.pairs, c.neox,
                            slot_of(magnitude)},
             workers);
      return result;
    });
    const Vector expected =
        reference::rope(in, frequencies, c.heads, c.head_dim, c.neox, magnitude, position);
    // Both round the angle alike. |in| <= 1: two terms of at most 1.25, each with a cosine (1 ulp),
    // the magnitude and the product, and one sum.
    expect_close(out, expected, [](size_t) { return 2 * 1.25 * 5 * kEpsilon; });
  }
}

TEST_F(HostOps, KvAppendWritesOnlyTheRowsThatHoldTokens) {
  const uint64_t rows = 4, heads = 3, head_dim = 8, context = 9;
  const StepState state = state_at(5, 8, context);  // 3 of 4 rows
  const Vector in = random_.vector(rows * heads * head_dim, -100, 100);
  const auto valid = reference::Floats(in).first(3 * heads * head_dim);
  const Vector before = random_.vector(heads * context * head_dim);
  Vector expected = before;
  reference::kv_append(valid, expected, heads, head_dim, context, state.position);

  const Vector cache = same_for_all_workers([&](unsigned workers) {
    Vector result = before;
    run_op("kv_append",
           host::KvAppendArgs{&state, in.data(), result.data(), rows, heads, head_dim, context,
                              uint64_t(WeightType::kF32), 0},
           workers);
    return result;
  });
  EXPECT_EQ(cache, expected);

  std::vector<uint16_t> halves(before.size(), 0x1234);
  run_op("kv_append",
         host::KvAppendArgs{&state, in.data(), halves.data(), rows, heads, head_dim, context,
                            uint64_t(WeightType::kF16), 0},
         2);
  for (size_t i = 0; i < halves.size(); ++i) {
    const size_t position = i / head_dim % context;
    const bool written = position >= 5 && position < 8;
    EXPECT_EQ(halves[i], written ? reference::f32_to_f16(expected[i]) : 0x1234) << i;
  }
}

// Chunks of a sequence one after the other, more positions than rows are kept: each result must see
// what the chunks before have left, and nothing of what stood in the memory at first.
TEST_F(HostOps, ShortConvGoesOnAcrossChunks) {
  const uint64_t n = 37, recent_rows = 16;
  for (const uint64_t taps : {1, 2, 3, 4, 16}) {
    const Vector weight = random_.vector(n * taps);
    std::vector<Vector> recent(6, Vector(recent_rows * n, NAN));  // by number of workers
    Vector before;
    unsigned position = 0;
    for (const unsigned valid : {1u, 1u, 2u, 5u, 1u, 21u, 17u, 1u}) {
      const uint64_t rows = 24;
      const StepState state = state_at(position, position + valid, 64);
      const Vector in = random_.vector(rows * 3 * n);
      const Vector out = same_for_all_workers([&](unsigned workers) {
        Vector result(rows * n);
        run_op("short_conv",
               host::ShortConvArgs{&state, in.data(), weight.data(), recent[workers].data(),
                                   result.data(), rows, n, taps, recent_rows},
               workers);
        return result;
      });
      const Vector expected =
          reference::short_conv(reference::Floats(in).first(valid * 3 * n), weight, n, &before);
      // Terms of at most 1, each with two roundings, and a rounding per addition; then c.
      const double bound = double(taps) * (double(taps) + 3) * kEpsilon;
      expect_close(out, expected, [&](size_t) { return bound; });
      for (size_t i = valid * n; i < out.size(); ++i) ASSERT_EQ(out[i], 0) << "wrote row " << i / n;
      position += valid;
    }
  }
}

TEST_F(HostOps, FinishChunkHandsOverTheLastValidRow) {
  const uint64_t rows = 8, dim = 5;
  const Vector in = random_.vector(rows * dim);
  StepState state = state_at(10, 13, 32);
  Vector out(dim);
  const host::FinishChunkArgs args{&state, in.data(), out.data(), rows, dim};
  run_op("finish_chunk", args, 3);
  EXPECT_EQ(state.position, 13u);
  EXPECT_EQ(out, Vector(in.begin() + 2 * dim, in.begin() + 3 * dim));

  state = state_at(0, 32, 32);  // a full chunk
  run_op("finish_chunk", args, 3);
  EXPECT_EQ(state.position, 8u);
  EXPECT_EQ(out, Vector(in.begin() + 7 * dim, in.end()));

  state.done = kEndToken;
  run_op("finish_chunk", args, 1);
  EXPECT_EQ(state.position, 8u);
}

TEST_F(HostOps, HalfConversionsMatchTheReference) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float expected = reference::f16_to_f32(uint16_t(bits));
    const float actual = host::f16_to_f32(uint16_t(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(actual)) << bits;
    } else {
      ASSERT_EQ(slot_of(actual), slot_of(expected)) << bits;
      ASSERT_EQ(host::f32_to_f16(expected), bits);
    }
  }
  for (int i = 0; i < 500000; ++i) {
    // Exponents around the range of f16, any mantissa and sign.
    const uint32_t exponent = random_.integer(127 - 30, 127 + 20);
    const uint32_t sign_mantissa = random_.integer(0, 0xffffffff) & 0x807fffff;
    const float value = std::bit_cast<float>(sign_mantissa | exponent << 23);
    ASSERT_EQ(host::f32_to_f16(value), reference::f32_to_f16(value)) << value;
  }
}

}  // namespace
}  // namespace jllm::test

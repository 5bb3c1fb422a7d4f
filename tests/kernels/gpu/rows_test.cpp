// The general kernels that work row by row: embedding, norm, elementwise, rope, caches, end of a
// chunk.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/gemm_shapes.h"
#include "kernels/reference/reference.h"
#include "schema/kv_layout.h"
#include "tests/kernels/gpu/gpu.h"
#include "tests/kernels/gpu/inputs.h"

namespace jllm::test {
namespace {

using kernels::elementwise_shape;
using kernels::row_shape;

// Absolute and relative tolerance for elementwise results.
std::vector<double> relative(std::span<const float> expected, double factor, double floor) {
  std::vector<double> out;
  for (float value : expected) out.push_back(factor * std::fabs(value) + floor);
  return out;
}

// Rows at and beyond `valid` must be untouched; cuts them off.
void cut(std::vector<float>* got, size_t valid, size_t row) {
  for (size_t i = valid * row; i < got->size(); ++i) {
    ASSERT_TRUE(std::isnan((*got)[i])) << "wrote row " << i / row;
  }
  got->resize(valid * row);
}

// The same of kernels that fill such rows with zeros.
void cut_zeros(std::vector<float>* got, size_t valid, size_t row) {
  for (size_t i = valid * row; i < got->size(); ++i) ASSERT_EQ((*got)[i], 0) << "row " << i / row;
  got->resize(valid * row);
}

constexpr unsigned kRows = 6, kValid = 4, kPosition = 9, kContext = 20;

StepState chunk_state() { return make_state(kPosition, kPosition + kValid, kContext); }

TEST(Rows, EmbedIsExact) {
  JLLM_NEEDS_GPU();
  for (unsigned type : kAllTypes) {
    const bool is_plain = type == kRowF32 || type == kRowF16 || type == kRowBF16;
    for (size_t dim : {size_t(is_plain ? 172 : 256), size_t(768)}) {
      Random random(800 + type + dim);
      const size_t vocab = 50;
      const Weights table = random_weights(random, type, vocab, dim);
      std::vector<uint32_t> tokens(kContext);
      for (uint32_t& token : tokens) token = uint32_t(random.below(vocab));
      const Buffer state(std::vector<StepState>{chunk_state()}), token_buffer(tokens);
      const Buffer table_buffer(table.bytes), out(kRows * dim * 4);
      launch("embed", {define("TYPE", type), define("DIM", dim)}, row_shape(kRows, dim),
             {state, token_buffer, table_buffer, out});
      auto got = out.values();
      cut_zeros(&got, kValid, dim);
      const auto expected = reference::embed(
          std::span<const uint32_t>(tokens).subspan(kPosition, kValid), table.values, dim);
      expect_close(got, expected, relative(expected, has_minimum(type) ? 0x1p-22 : 0, 1e-7),
                   "type " + std::to_string(type));
    }
  }
}

TEST(Rows, RmsNorm) {
  JLLM_NEEDS_GPU();
  for (size_t dim : {size_t(64), size_t(172), size_t(2048), size_t(4100)}) {
    Random random(900 + dim);
    const auto in = random.normals(kRows * dim, 50), weight = random.normals(dim);
    auto expected = reference::rms_norm(in, weight, 1e-6f);
    expected.resize(kValid * dim);
    const Buffer state(std::vector<StepState>{chunk_state()}), in_buffer(in), weight_buffer(weight);
    const Buffer out(in.size() * 4);
    launch("rms_norm", {define("DIM", dim), define_bits("EPSILON", 1e-6f)}, row_shape(kRows, dim),
           {state, in_buffer, weight_buffer, out});
    auto got = out.values();
    cut(&got, kValid, dim);
    expect_close(got, expected, relative(expected, 0x1p-20, 1e-12), std::to_string(dim));
  }
}

TEST(Rows, RmsNormOfSingleHeads) {
  JLLM_NEEDS_GPU();
  const size_t heads = 5, dim = 128;
  Random random(950);
  const auto in = random.normals(kRows * heads * dim, 3), weight = random.normals(dim);
  auto expected = reference::rms_norm(in, weight, 1e-6f);
  expected.resize(kValid * heads * dim);
  const Buffer state(std::vector<StepState>{chunk_state()}), in_buffer(in), weight_buffer(weight);
  const Buffer out(in.size() * 4);
  launch("rms_norm", {define("DIM", dim), define_bits("EPSILON", 1e-6f)},
         row_shape(kRows, dim, heads), {state, in_buffer, weight_buffer, out});
  auto got = out.values();
  cut(&got, kValid, heads * dim);
  expect_close(got, expected, relative(expected, 0x1p-20, 1e-12), "heads");
}

// The halves of an image (kernels/device/half_image.cuh) and its factors, as values again.
std::vector<float> values_of_image(const Buffer& image, size_t rows, size_t dim) {
  const size_t padded = (dim + 15) / 16 * 16;
  const auto bytes = image.values<uint8_t>();
  std::vector<float> out(rows * dim);
  for (size_t row = 0; row < rows; ++row) {
    float factor;
    std::memcpy(&factor, bytes.data() + kRows * padded * 2 + row * 4, 4);
    int exponent;
    EXPECT_EQ(std::frexp(factor, &exponent), 0.5f) << "a power of two";
    for (size_t i = 0; i < padded; ++i) {
      uint16_t half;
      const size_t at = row * padded + i / 16 * 16 + i % 2 * 8 + i % 16 / 2;
      std::memcpy(&half, bytes.data() + at * 2, 2);
      if (i < dim) {
        out[row * dim + i] = reference::f16_to_f32(half) * factor;
      } else {
        EXPECT_EQ(half, 0) << "padding";
      }
    }
  }
  return out;
}

// Half a unit in the last place, or of the smallest half where a row's largest is 2^14 at least.
std::vector<double> half_tolerance(const std::vector<float>& expected, size_t dim, double more) {
  std::vector<double> out;
  for (size_t i = 0; i < expected.size(); ++i) {
    float largest = 0;
    for (size_t j = i / dim * dim; j < i / dim * dim + dim; ++j) {
      largest = std::max(largest, std::fabs(expected[j]));
    }
    out.push_back((0x1p-11 + more) * std::fabs(expected[i]) + 0x1p-38 * largest + 1e-45);
  }
  return out;
}

TEST(Rows, HalfImages) {
  JLLM_NEEDS_GPU();
  for (size_t dim : {size_t(24), size_t(172), size_t(2048), size_t(4100)}) {
    for (float size : {1.0f, 1e9f, 1e-20f}) {
      Random random(960 + dim);
      auto in = random.normals(kRows * dim, size);
      for (size_t row = 0; row < kRows; ++row) in[row * dim + random.below(dim)] *= 1e4f;
      const Buffer state(std::vector<StepState>{chunk_state()}), in_buffer(in);
      const Buffer image(kernels::half_image_bytes(kRows, dim));
      launch("halves", {define("DIM", dim)}, row_shape(kRows, dim), {state, in_buffer, image});
      in.resize(kValid * dim);
      expect_close(values_of_image(image, kValid, dim), in, half_tolerance(in, dim, 0),
                   "halves of " + std::to_string(dim));
    }
    Random random(970 + dim);
    const auto in = random.normals(kRows * dim, 50), weight = random.normals(dim);
    auto expected = reference::rms_norm(in, weight, 1e-6f);
    expected.resize(kValid * dim);
    const Buffer state(std::vector<StepState>{chunk_state()}), in_buffer(in), weight_buffer(weight);
    const Buffer image(kernels::half_image_bytes(kRows, dim));
    launch("rms_norm", {define("DIM", dim), define_bits("EPSILON", 1e-6f), "OUT_HALVES=1"},
           row_shape(kRows, dim), {state, in_buffer, weight_buffer, image});
    expect_close(values_of_image(image, kValid, dim), expected,
                 half_tolerance(expected, dim, 0x1p-20), "norm of " + std::to_string(dim));
  }
}

TEST(Rows, LayerNorm) {
  JLLM_NEEDS_GPU();
  for (size_t dim : {size_t(64), size_t(172), size_t(2048), size_t(4099)}) {
    Random random(970 + dim);
    auto in = random.normals(kRows * dim, 2);
    for (float& value : in) value += 3;  // a mean that the norm must take off
    const auto weight = random.normals(dim), bias = random.normals(dim);
    const Buffer state(std::vector<StepState>{chunk_state()}), in_buffer(in), weight_buffer(weight);
    const Buffer bias_buffer(bias), out(in.size() * 4);
    for (bool has_bias : {false, true}) {
      auto expected =
          reference::layer_norm(in, weight, has_bias ? bias : std::vector<float>(), 1e-5f);
      expected.resize(kValid * dim);
      std::vector<Argument> arguments = {state, in_buffer, weight_buffer, out};
      if (has_bias) arguments.insert(arguments.begin() + 3, bias_buffer);
      launch("layer_norm",
             {define("DIM", dim), define("HAS_BIAS", has_bias), define_bits("EPSILON", 1e-5f)},
             row_shape(kRows, dim), arguments);
      auto got = out.values();
      cut(&got, kValid, dim);
      // in - mean is off by a few roundings of |in| + |mean| <= 16, over a deviation of 2, times a
      // weight of at most 5.
      expect_close(got, expected, relative(expected, 0x1p-20, 5 * 16 / 2 * 0x1p-21),
                   std::to_string(dim));
    }
  }
}

TEST(Rows, Unary) {
  JLLM_NEEDS_GPU();
  const size_t n = 1003;
  Random random(990);
  auto in = random.normals(kRows * n, 40);
  in[0] = 1e6f, in[1] = -1e6f, in[2] = 0;
  const Buffer state(std::vector<StepState>{chunk_state()});
  const float parameter = 30;
  for (UnaryFunction function : {kScale, kSoftcap, kReluSquared}) {
    const Buffer buffer(in);
    launch("unary",
           {define("N", n), define("FUNCTION", function), define_bits("PARAMETER", parameter)},
           elementwise_shape(kRows, n, sm_count()), {state, buffer, buffer});  // in place
    auto expected = reference::unary(in, function, parameter);
    std::copy(in.begin() + kValid * n, in.end(), expected.begin() + kValid * n);
    expect_close(buffer.values(), expected, relative(expected, 0x1p-21, 1e-30),
                 std::to_string(function));
  }
}

TEST(Rows, AddGluAndBias) {
  JLLM_NEEDS_GPU();
  for (size_t n : {size_t(172), size_t(8192)}) {
    Random random(1000 + n);
    auto a = random.normals(kRows * n, 4);
    const auto b = random.normals(kRows * n), bias = random.normals(n);
    a[0] = -1e4f, a[1] = 1e4f;  // where exp overflows
    const Buffer state(std::vector<StepState>{chunk_state()}), a_buffer(a), b_buffer(b);
    const Buffer bias_buffer(bias);
    const auto shape = elementwise_shape(kRows, n, sm_count());
    const auto check = [&](const char* kernel, const Buffer& second, reference::Vector expected,
                           double factor, std::vector<std::string> defines = {}) {
      const Buffer out(a.size() * 4);
      defines.push_back(define("N", n));
      launch(kernel, defines, shape, {state, a_buffer, second, out});
      auto got = out.values();
      cut(&got, kValid, n);
      expected.resize(kValid * n);
      expect_close(got, expected, relative(expected, factor, 1e-30), kernel);
    };
    check("add", b_buffer, reference::add(a, b), 0);
    check("glu", b_buffer, reference::glu(a, b), 0x1p-20, {define("ACTIVATION", kSilu)});
    // exp's argument is rounded seven times, constants included, and up to 88 where the result is
    // no zero: 7 * 88 * 2^-24.
    check("glu", b_buffer, reference::glu(a, b, kGelu), 0x1p-14, {define("ACTIVATION", kGelu)});
    check("add_bias", bias_buffer, reference::add_bias(a, bias), 0);
    // In place, and a state without tokens: row 0 all the same.
    const Buffer idle(std::vector<StepState>{make_state(5, 5, kContext)});
    launch("add", {define("N", n)}, shape, {idle, a_buffer, b_buffer, a_buffer});
    auto expected = reference::add(a, b);
    std::copy(a.begin() + ptrdiff_t(n), a.end(), expected.begin() + ptrdiff_t(n));
    EXPECT_EQ(a_buffer.values(), expected);
  }
}

// Chunks of a sequence one after the other, more positions than rows are kept: each result must see
// what the launches before have left, and nothing of the NaNs that stood in the memory at first.
TEST(Rows, ShortConvGoesOnAcrossChunks) {
  JLLM_NEEDS_GPU();
  const size_t n = 300;
  for (const auto& [taps, kept] : {std::pair{1u, 32u}, {3u, 64u}, {4u, 17u}, {16u, 32u}}) {
    Random random(1050 + taps);
    const auto weight = random.normals(n * taps);
    const Buffer weight_buffer(weight), recent(kept * n * 4);
    reference::Vector before;
    unsigned position = 0;
    for (const auto& [rows, valid] : {std::pair{1u, 1u},
                                      {1u, 1u},
                                      {8u, 5u},
                                      {64u, 64u},
                                      {1u, 1u},
                                      {64u, 33u},
                                      {128u, 128u},
                                      {8u, 8u},
                                      {64u, 49u},
                                      {1u, 1u}}) {
      const auto in = random.normals(rows * 3 * n);
      const Buffer state(std::vector<StepState>{make_state(position, position + valid, 1000)});
      const Buffer in_buffer(in), out(rows * n * 4);
      launch("short_conv",
             {define("N", n), define("TAPS", taps), define("RECENT", kept), define("ROWS", rows),
              define("SEGMENT", kernels::kShortConvSegment)},
             kernels::short_conv_shape(rows, n), {state, in_buffer, weight_buffer, recent, out});
      auto got = out.values();
      cut_zeros(&got, valid, n);
      const auto expected =
          reference::short_conv(reference::Floats(in).first(valid * 3 * n), weight, n, &before);
      // |taps|, |b|, |x| and |c| stay below 7: terms of 343 at most with a rounding each for
      // product and sum, then c.
      expect_close(got, expected, relative(expected, 0x1p-23, 7 * 343.0 * taps * 0x1p-23),
                   std::to_string(taps) + " taps at " + std::to_string(position));
      position += valid;
    }
  }
}

std::vector<float> make_frequencies(unsigned pairs) {
  std::vector<float> out;
  for (unsigned i = 0; i < pairs; ++i) {
    out.push_back(std::pow(500000.0f, -float(i) / float(pairs)));
  }
  return out;
}

TEST(Rows, Rope) {
  JLLM_NEEDS_GPU();
  for (bool neox : {false, true}) {
    for (unsigned position : {0u, 3u, 131000u}) {
      const unsigned heads = 3, head_dim = 24, pairs = 8;
      Random random(1100 + position);
      const auto in = random.normals(kRows * heads * head_dim),
                 frequencies = make_frequencies(pairs);
      auto expected = reference::rope(in, frequencies, heads, head_dim, neox, 1.5f, position);
      const Buffer state(
          std::vector<StepState>{make_state(position, position + kRows, position + 100)});
      const Buffer in_buffer(in), frequency_buffer(frequencies), out(in.size() * 4);
      const std::vector<std::string> defines = {
          define("HEADS", heads), define("HEAD_DIM", head_dim), define("PAIRS", pairs),
          define("NEOX", neox), define_bits("MAGNITUDE", 1.5f)};
      const auto shape = elementwise_shape(kRows, heads * head_dim / 2, sm_count());
      launch("rope", defines, shape, {state, in_buffer, frequency_buffer, out});
      expect_close(out.values(), expected, relative(expected, 0x1p-21, 4e-6), "rope");
      launch("rope", defines, shape, {state, in_buffer, frequency_buffer, in_buffer});
      EXPECT_EQ(in_buffer.values(), out.values()) << "in place";
    }
  }
}

std::vector<float> cache_values(const Buffer& cache, unsigned type) {
  if (type == 0) return cache.values();
  std::vector<float> out;
  for (uint16_t bits : cache.values<uint16_t>()) out.push_back(reference::f16_to_f32(bits));
  return out;
}

// Expects `rows` in the cache from kPosition on, and nothing else in it.
void expect_cache(const Buffer& cache, unsigned type, std::span<const float> rows, unsigned heads,
                  unsigned head_dim, double slack, const char* what) {
  std::vector<float> expected(size_t(heads) * kContext * head_dim, NAN);
  reference::kv_append(rows, expected, heads, head_dim, kContext, kPosition);
  const auto got = cache_values(cache, type);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(expected[i])) {
      ASSERT_TRUE(std::isnan(got[i])) << what << " wrote element " << i;
    } else {
      const float want = type == 1 ? to_half(expected[i]) : expected[i];
      const double rounding = type == 1 && slack > 0 ? 0x1p-10 * std::fabs(want) + 0x1p-24 : 0;
      ASSERT_NEAR(got[i], want, slack + rounding) << what << " element " << i;
    }
  }
}

TEST(Rows, KvAppendStoresTheReferencesBytes) {
  JLLM_NEEDS_GPU();
  const unsigned heads = 3;
  for (unsigned type : {kKvF32, kKvF16, kKvQ8_0, kKvQ4_0}) {
    for (unsigned head_dim : {32u, 40u, 96u, 128u, 256u}) {
      if (kv_is_quantised(type) && head_dim % kKvGroup != 0) continue;
      for (unsigned rotation : {0u, kv_rotation(type, head_dim)}) {
        Random random(1200 + type + head_dim);
        const size_t appended = size_t(kValid) * heads * head_dim;
        auto in = random.normals(kRows * heads * head_dim, 3);
        std::fill_n(in.begin(), 32, 0.0f);  // a group without a scale
        in[40] = 1e-6f;
        const auto values = rotation != 0 ? reference::hadamard(in, rotation) : in;
        std::vector<float> before = random.normals(size_t(heads) * kContext * head_dim);
        std::vector<float> after = before;
        reference::kv_append(std::span<const float>(values).first(appended), after, heads, head_dim,
                             kContext, kPosition);
        const Buffer state(std::vector<StepState>{chunk_state()}), in_buffer(in);
        const Buffer cache(reference::kv_encode(type, before, head_dim));
        launch(
            "kv_append",
            {define("HEADS", heads), define("HEAD_DIM", head_dim), define("CONTEXT", kContext),
             define("KV_TYPE", type), define("ROTATION", rotation)},
            elementwise_shape(kRows, kernels::kv_append_items(type, heads, head_dim), sm_count()),
            {state, in_buffer, cache});
        EXPECT_EQ(cache.values<uint8_t>(), reference::kv_encode(type, after, head_dim))
            << "type " << type << " head_dim " << head_dim << " rotation " << rotation;
      }
    }
  }
}

TEST(Rows, RopeAppend) {
  JLLM_NEEDS_GPU();
  const unsigned heads = 6, kv_heads = 2, head_dim = 32, pairs = 12;
  for (bool neox : {false, true}) {
    for (unsigned type : {0u, 1u}) {
      Random random(1300 + type);
      const size_t q_row = heads * head_dim, kv_row = kv_heads * head_dim;
      const auto q = random.normals(kRows * q_row), k = random.normals(kRows * kv_row);
      const auto v = random.normals(kRows * kv_row), frequencies = make_frequencies(pairs);
      const Buffer state(std::vector<StepState>{chunk_state()}), q_buffer(q), k_buffer(k);
      const Buffer v_buffer(v), frequency_buffer(frequencies);
      const size_t cache_bytes = kv_row * kContext * (type == 0 ? 4 : 2);
      const Buffer k_cache(cache_bytes), v_cache(cache_bytes);
      launch("rope_append",
             {define("HEADS", heads), define("KV_HEADS", kv_heads), define("HEAD_DIM", head_dim),
              define("PAIRS", pairs), define("NEOX", neox), define_bits("MAGNITUDE", 1),
              define("CONTEXT", kContext), define("KV_K_TYPE", type), define("KV_V_TYPE", type)},
             elementwise_shape(kRows, (heads + 2 * kv_heads) * head_dim / 2, sm_count()),
             {state, q_buffer, k_buffer, v_buffer, frequency_buffer, k_cache, v_cache});
      auto expected = reference::rope(q, frequencies, heads, head_dim, neox, 1, kPosition);
      std::copy(q.begin() + kValid * q_row, q.end(), expected.begin() + kValid * q_row);
      expect_close(q_buffer.values(), expected, relative(expected, 0x1p-21, 4e-6), "q");
      const auto rotated = reference::rope(k, frequencies, kv_heads, head_dim, neox, 1, kPosition);
      expect_cache(k_cache, type, std::span<const float>(rotated).first(kValid * kv_row), kv_heads,
                   head_dim, 4e-6, "k");
      expect_cache(v_cache, type, std::span<const float>(v).first(kValid * kv_row), kv_heads,
                   head_dim, 0, "v");
    }
  }
}

TEST(Rows, FinishChunk) {
  JLLM_NEEDS_GPU();
  const size_t dim = 300;
  Random random(1400);
  const auto in = random.normals(kRows * dim);
  for (unsigned valid : {0u, 1u, 4u, 6u, 9u}) {
    const Buffer state(std::vector<StepState>{make_state(kPosition, kPosition + valid, 100)});
    const Buffer in_buffer(in), out(dim * 4);
    launch("finish_chunk", {define("DIM", dim), define("ROWS", kRows)},
           kernels::finish_chunk_shape(), {state, in_buffer, out});
    const unsigned used = std::min(valid, kRows);
    EXPECT_EQ(state.values<StepState>()[0].position, kPosition + used);
    auto got = out.values();
    if (used == 0) {
      cut(&got, 0, dim);
      continue;
    }
    const auto row = in.begin() + ptrdiff_t((used - 1) * dim);
    EXPECT_EQ(got, std::vector<float>(row, row + dim));
  }
}

}  // namespace
}  // namespace jllm::test

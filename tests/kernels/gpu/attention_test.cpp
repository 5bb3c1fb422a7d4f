// Attention of one token (split over blocks) and of several rows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/reference/reference.h"
#include "tests/kernels/gpu/gpu.h"
#include "tests/kernels/gpu/inputs.h"

namespace jllm::test {
namespace {

struct Shape {
  unsigned heads, kv_heads, head_dim, context;
  unsigned k_type, v_type;  // 0 f32, 1 f16
};

constexpr Shape kShapes[] = {
    {8, 4, 8, 70, 0, 0},      // stories260K
    {32, 8, 64, 700, 1, 1},   // Llama 3.2 1B
    {14, 2, 64, 300, 1, 1},   // Qwen 2.5 0.5B: seven query heads per KV head
    {8, 2, 128, 1500, 1, 0},  // Llama 3 8B, fewer heads
    {8, 1, 256, 200, 0, 1},   // one KV head, the largest head
    {4, 4, 80, 200, 1, 1},    // a head that is no power of two
    {16, 1, 40, 130, 0, 0},
};

struct Problem {
  Problem(const Shape& shape_in, size_t rows, uint64_t salt) : shape(shape_in) {
    Random random(salt);
    const size_t cache = size_t(shape.kv_heads) * shape.context * shape.head_dim;
    q = random.normals(rows * shape.heads * shape.head_dim, 2);
    k = random.normals(cache, 1);
    v = random.normals(cache, 1);
    if (shape.k_type == 1) std::transform(k.begin(), k.end(), k.begin(), to_half);
    if (shape.v_type == 1) std::transform(v.begin(), v.end(), v.begin(), to_half);
    scale = 1 / std::sqrt(float(shape.head_dim));
  }

  // Cache bytes with the positions from `used` on poisoned.
  std::vector<uint8_t> cache_bytes(const std::vector<float>& values, unsigned type,
                                   unsigned used) const {
    const size_t size = type == 0 ? 4 : 2;
    std::vector<uint8_t> out(values.size() * size, 0xff);
    const auto halves = half_bits(values);
    const uint8_t* from = type == 0 ? reinterpret_cast<const uint8_t*>(values.data())
                                    : reinterpret_cast<const uint8_t*>(halves.data());
    const size_t row = shape.head_dim * size;
    for (size_t head = 0; head < shape.kv_heads; ++head) {
      const size_t start = head * shape.context * row;
      std::copy_n(from + start, used * row, out.begin() + ptrdiff_t(start));
    }
    return out;
  }

  reference::Vector expected(unsigned position) const {
    return reference::attention(
        q, k, v, {shape.heads, shape.kv_heads, shape.head_dim, shape.context}, scale, position);
  }

  // A score's absolute error (dot product of head_dim terms, about 2 * 3 standard deviations in
  // size) moves a weight by that much relatively, and the output by as much of the largest value.
  std::vector<double> tolerance(size_t count) const {
    const double score = 2.0 * 6 * std::sqrt(double(shape.head_dim)) * scale * 6;
    const double largest = 6;
    return std::vector<double>(count, largest * (16 * 0x1p-24 * score + 0x1p-20));
  }

  std::vector<std::string> defines() const {
    return {define("HEADS", shape.heads),       define("KV_HEADS", shape.kv_heads),
            define("HEAD_DIM", shape.head_dim), define("CONTEXT", shape.context),
            define("KV_K_TYPE", shape.k_type),  define("KV_V_TYPE", shape.v_type),
            define_bits("SCALE", scale)};
  }

  Shape shape;
  std::vector<float> q, k, v;
  float scale;
};

class Attention : public testing::TestWithParam<Shape> {};

TEST_P(Attention, Decode) {
  JLLM_NEEDS_GPU();
  const Shape shape = GetParam();
  const Problem problem(shape, 1, 500 + shape.head_dim);
  for (unsigned splits : {1u, 3u, 16u}) {
    auto defines = problem.defines();
    defines.push_back(define("SPLITS", splits));
    const Buffer q(problem.q);
    Buffer tickets(std::vector<uint32_t>(shape.kv_heads, 0));
    const Buffer partial(
        kernels::attention_decode_partial_bytes(shape.heads, splits, shape.head_dim));
    for (unsigned length : {1u, 2u, 31u, 63u, 64u, 65u, 127u, 128u, 129u, 256u, 257u, 1025u,
                            shape.context - 1, shape.context}) {
      if (length > shape.context) continue;
      const Buffer state(std::vector<StepState>{make_state(length - 1, length, shape.context)});
      const Buffer k(problem.cache_bytes(problem.k, shape.k_type, length));
      const Buffer v(problem.cache_bytes(problem.v, shape.v_type, length));
      const Buffer out(problem.q.size() * 4), again(problem.q.size() * 4);
      for (const Buffer* to : {&out, &again}) {
        launch("attention_decode", defines, kernels::attention_decode_shape(shape.kv_heads, splits),
               {state, q, k, v, *to, partial, tickets});
      }
      const std::string what =
          "splits " + std::to_string(splits) + " length " + std::to_string(length);
      const auto got = out.values();
      expect_close(got, problem.expected(length - 1), problem.tolerance(got.size()), what);
      EXPECT_EQ(again.values(), got) << what << ": not repeatable";
      EXPECT_EQ(tickets.values<uint32_t>(), std::vector<uint32_t>(shape.kv_heads, 0)) << what;
    }
  }
}

TEST_P(Attention, Rows) {
  JLLM_NEEDS_GPU();
  const Shape shape = GetParam();
  const struct {
    unsigned position, rows, valid;
  } cases[] = {{0, 1, 1},  {0, 16, 16},  {0, 64, 50}, {shape.context - 17, 16, 16},
               {33, 8, 8}, {31, 33, 33}, {5, 16, 0}};
  for (const auto& c : cases) {
    const Problem problem(shape, c.rows, 600 + shape.head_dim + c.rows);
    const unsigned end = c.position + c.valid;
    const Buffer state(std::vector<StepState>{make_state(c.position, end, shape.context)});
    const Buffer q(problem.q), out(problem.q.size() * 4);
    const Buffer k(problem.cache_bytes(problem.k, shape.k_type, end));
    const Buffer v(problem.cache_bytes(problem.v, shape.v_type, end));
    launch("attention", problem.defines(),
           kernels::attention_shape(c.rows, shape.heads, shape.kv_heads, shape.head_dim),
           {state, q, k, v, out, c.rows});
    const size_t row = size_t(shape.heads) * shape.head_dim;
    auto got = out.values();
    for (size_t i = c.valid * row; i < got.size(); ++i) {
      ASSERT_TRUE(std::isnan(got[i])) << "wrote row " << i / row;
    }
    got.resize(c.valid * row);
    if (c.valid == 0) continue;
    auto expected = problem.expected(c.position);
    expected.resize(c.valid * row);
    expect_close(got, expected, problem.tolerance(got.size()),
                 "position " + std::to_string(c.position) + " rows " + std::to_string(c.rows));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Attention, testing::ValuesIn(kShapes), [](const auto& test) {
  const Shape& s = test.param;
  return "heads" + std::to_string(s.heads) + "_" + std::to_string(s.kv_heads) + "_dim" +
         std::to_string(s.head_dim) + "_kv" + std::to_string(s.k_type) + std::to_string(s.v_type);
});

TEST(AttentionDecode, LargeScoresStayFinite) {
  JLLM_NEEDS_GPU();
  // Scores in the thousands: softmax must subtract the maximum, also across splits.
  Problem problem({2, 1, 16, 600, 0, 0}, 1, 700);
  problem.scale = 300;
  auto defines = problem.defines();
  defines.push_back("SPLITS=4");
  const Buffer state(std::vector<StepState>{make_state(599, 600, 600)});
  const Buffer q(problem.q), k(problem.k), v(problem.v), out(problem.q.size() * 4);
  const Buffer tickets(std::vector<uint32_t>(1, 0));
  const Buffer partial(kernels::attention_decode_partial_bytes(2, 4, 16));
  launch("attention_decode", defines, kernels::attention_decode_shape(1, 4),
         {state, q, k, v, out, partial, tickets});
  // One position holds nearly all weight; scores near 10^4 carry errors near 10^-2.
  const auto got = out.values();
  expect_close(got, problem.expected(599), std::vector<double>(got.size(), 0.05), "large scores");
}

}  // namespace
}  // namespace jllm::test

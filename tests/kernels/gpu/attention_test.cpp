// Attention of one token (split over blocks) and of several rows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/attention_shapes.h"
#include "kernels/reference/reference.h"
#include "schema/kv_layout.h"
#include "tests/kernels/gpu/gpu.h"
#include "tests/kernels/gpu/inputs.h"

namespace jllm::test {
namespace {

struct Shape {
  unsigned heads, kv_heads, head_dim, context;
  unsigned k_type, v_type;  // kKv...
  unsigned window = 0;
  float softcap = 0;
};

const std::vector<Shape> kShapes = [] {
  std::vector<Shape> shapes = {
      {8, 4, 8, 70, 0, 0},      // stories260K
      {32, 8, 64, 700, 1, 1},   // Llama 3.2 1B
      {14, 2, 64, 300, 1, 1},   // Qwen 2.5 0.5B: seven query heads per KV head
      {8, 2, 128, 1500, 1, 0},  // Llama 3 8B, fewer heads
      {8, 1, 256, 200, 0, 1},   // one KV head, the largest head
      {4, 4, 80, 200, 1, 1},    // a head that is no power of two
      {16, 1, 40, 130, 0, 0},
  };
  for (unsigned k : {kKvF32, kKvF16, kKvQ8_0, kKvQ4_0}) {
    for (unsigned v : {kKvF32, kKvF16, kKvQ8_0, kKvQ4_0}) {
      shapes.push_back({8, 2, 128, 1100, k, v});
    }
  }
  shapes.push_back({8, 4, 256, 300, 1, 1, 100, 5});  // Gemma 2: sliding window and softcap
  shapes.push_back({4, 1, 64, 700, 1, 1, 512, 0});   // Gemma 3: sliding window
  shapes.push_back({6, 2, 96, 140, kKvQ8_0, kKvQ8_0, 33, 0});
  shapes.push_back({8, 2, 128, 300, 0, 0, 0, 3});
  for (unsigned type : {kKvQ8_0, kKvQ4_0}) {
    shapes.push_back({8, 2, 32, 300, type, type});  // 16 positions side by side in a warp
    shapes.push_back({7, 1, 64, 300, type, type});
    shapes.push_back({6, 6, 96, 140, type, type});  // idle lanes, several rotation blocks
    shapes.push_back({8, 1, 256, 200, type, type});
  }
  for (const auto& [group, head_dim] :
       {std::pair{1u, 8u}, {2u, 16u}, {3u, 24u}, {5u, 40u}, {6u, 48u}, {8u, 112u}, {4u, 192u}}) {
    shapes.push_back({2 * group, 2, head_dim, 150, 1, 1});
  }
  return shapes;
}();

struct Problem {
  Problem(const Shape& shape_in, size_t rows, uint64_t salt) : shape(shape_in) {
    Random random(salt);
    const size_t cache = size_t(shape.kv_heads) * shape.context * shape.head_dim;
    q = random.normals(rows * shape.heads * shape.head_dim, 2);
    k_bytes = reference::kv_encode(shape.k_type, random.normals(cache, 1), shape.head_dim);
    v_bytes = reference::kv_encode(shape.v_type, random.normals(cache, 1), shape.head_dim);
    scale = 1 / std::sqrt(float(shape.head_dim));
    rotation = kv_rotation(shape.k_type, shape.head_dim);
  }

  size_t cache_rows() const { return size_t(shape.kv_heads) * shape.context; }

  // Cache bytes with the positions from `used` on poisoned: as floats and as scales NaNs.
  std::vector<uint8_t> poisoned(std::vector<uint8_t> cache, unsigned type, unsigned used) const {
    const KvLayout layout = kv_layout(type, cache_rows(), shape.head_dim);
    for (size_t row = 0; row < cache_rows(); ++row) {
      if (row % shape.context < used) continue;
      const auto poison = [&](size_t at, size_t bytes) {
        std::fill_n(cache.begin() + ptrdiff_t(at), bytes, 0xff);
      };
      poison(row * layout.row, layout.row);
      poison(layout.scales + row * layout.scale_row, layout.scale_row);
    }
    return cache;
  }

  reference::Vector expected(unsigned position) const {
    return attend(position,
                  reference::kv_decode(shape.v_type, v_bytes, cache_rows(), shape.head_dim));
  }
  reference::Vector attend(unsigned position, const std::vector<float>& values) const {
    return reference::attention(
        rotation != 0 ? reference::hadamard(q, rotation) : q,
        reference::kv_decode(shape.k_type, k_bytes, cache_rows(), shape.head_dim), values,
        {shape.heads, shape.kv_heads, shape.head_dim, shape.context, shape.window, shape.softcap},
        scale, position);
  }

  // A score's absolute error (dot product of head_dim terms, about 2 * 3 standard deviations in
  // size) moves a weight by that much relatively, and the output by as much of the largest value.
  std::vector<double> tolerance(size_t count) const {
    const double score = 2.0 * 6 * std::sqrt(double(shape.head_dim)) * scale * 6;
    const double largest = 6;
    return std::vector<double>(count, largest * (16 * 0x1p-24 * score + 0x1p-20));
  }

  // Of the kernel for several rows, which beside caches without f32 rounds queries and weights to
  // f16, and what quants stand for always. A relative rounding error has a deviation of at most
  // 2^-12; a score is as wrong as that of the norm of its terms, of the size of a query: about 2,
  // in short heads at times more. Weights that are wrong by a part of themselves move the output by
  // that part of the values' deviation, for which their second moment stands in.
  struct Rounding {
    double deviation;               // of a weight, as a part of it
    std::vector<double> tolerance;  // eight deviations
    std::vector<double> sizes;      // of the values, by output
  };
  Rounding rounding(unsigned position) const {
    const bool f32 = shape.k_type == kKvF32 || shape.v_type == kKvF32;
    const double of_score = 2 * q_size * (1 + 4 / std::sqrt(double(shape.head_dim)));
    const double score = (f32 ? 0 : 1) + (kv_is_quantised(shape.k_type) ? 1 : 0);
    const double squares =
        score * of_score * of_score + (f32 ? 0 : 1) + (kv_is_quantised(shape.v_type) ? 1 : 0);
    Rounding all = {0x1p-12 * std::sqrt(squares), tolerance(q.size()), {}};
    auto values = reference::kv_decode(shape.v_type, v_bytes, cache_rows(), shape.head_dim);
    for (float& value : values) value *= value;
    for (const float moment : attend(position, values)) all.sizes.push_back(std::sqrt(moment));
    for (size_t i = 0; i < q.size(); ++i) all.tolerance[i] += 8 * all.deviation * all.sizes[i];
    return all;
  }

  std::vector<std::string> defines() const {
    return {define("HEADS", shape.heads),       define("KV_HEADS", shape.kv_heads),
            define("HEAD_DIM", shape.head_dim), define("CONTEXT", shape.context),
            define("KV_K_TYPE", shape.k_type),  define("KV_V_TYPE", shape.v_type),
            define("ROTATION", rotation),       define_bits("SCALE", scale),
            define("WINDOW", shape.window),     define_bits("SOFTCAP", shape.softcap)};
  }

  Shape shape;
  std::vector<float> q;
  std::vector<uint8_t> k_bytes, v_bytes;
  float scale;
  double q_size = 1;  // of the queries times scale, beside the usual
  unsigned rotation;
};

class Attention : public testing::TestWithParam<Shape> {};

// One launch of attention_decode; what it needs beside its operands.
struct Decode {
  Decode(const Shape& s, unsigned splits, unsigned tokens = 1) {
    launch.heads = s.heads;
    launch.kv_heads = s.kv_heads;
    launch.head_dim = s.head_dim;
    launch.splits = splits;
    launch.tokens = tokens;
  }
  std::vector<std::string> defines(const std::vector<std::string>& base, bool append) const {
    auto all = base;
    all.insert(all.end(), {define("SPLITS", launch.splits), define("APPEND", append),
                           define("TOKENS", launch.tokens)});
    return all;
  }
  void run(const std::vector<std::string>& defines, std::vector<Argument> arguments) const {
    const Buffer partial(launch.partial_bytes());
    const std::vector<uint32_t> zeros(launch.ticket_bytes() / 4, 0);
    const Buffer tickets(zeros);
    arguments.insert(arguments.end(), {partial, tickets});
    test::launch("attention_decode", defines, launch.shape(), arguments);
    EXPECT_EQ(tickets.values<uint32_t>(), zeros);
  }
  std::string label() const { return std::to_string(launch.splits) + " splits"; }
  kernels::DecodeAttention launch;
};

// Several ways to share out the positions.
std::vector<Decode> decodes(const Shape& shape, unsigned tokens = 1) {
  std::vector<Decode> all;
  for (unsigned splits : {1u, 3u, 16u, 32u}) all.emplace_back(shape, splits, tokens);
  return all;
}

TEST_P(Attention, Decode) {
  JLLM_NEEDS_GPU();
  const Shape shape = GetParam();
  const Problem problem(shape, 1, 500 + shape.head_dim);
  const Buffer q(problem.q);
  for (const Decode& decode : decodes(shape)) {
    const auto defines = decode.defines(problem.defines(), false);
    for (unsigned length : {1u, 2u, 31u, 63u, 64u, 65u, 127u, 128u, 129u, 256u, 257u, 1025u,
                            shape.context - 1, shape.context}) {
      if (length > shape.context) continue;
      const Buffer state(std::vector<StepState>{make_state(length - 1, length, shape.context)});
      const Buffer k(problem.poisoned(problem.k_bytes, shape.k_type, length));
      const Buffer v(problem.poisoned(problem.v_bytes, shape.v_type, length));
      const Buffer out(problem.q.size() * 4), again(problem.q.size() * 4);
      for (const Buffer* to : {&out, &again}) decode.run(defines, {state, q, k, v, *to});
      const std::string what = decode.label() + " length " + std::to_string(length);
      const auto got = out.values();
      expect_close(got, problem.expected(length - 1), problem.tolerance(got.size()), what);
      EXPECT_EQ(again.values(), got) << what << ": not repeatable";
    }
  }
}

// Row `position` of every head becomes `rows`, which are [kv_heads][head_dim].
std::vector<uint8_t> with_rows(const Problem& problem, unsigned type, std::vector<uint8_t> cache,
                               unsigned position, const std::vector<float>& rows) {
  const Shape& s = problem.shape;
  const KvLayout all = kv_layout(type, problem.cache_rows(), s.head_dim);
  const KvLayout one = kv_layout(type, s.kv_heads, s.head_dim);
  const auto encoded = reference::kv_encode(type, rows, s.head_dim);
  for (size_t head = 0; head < s.kv_heads; ++head) {
    const size_t row = head * s.context + position;
    std::copy_n(encoded.begin() + ptrdiff_t(head * one.row), one.row,
                cache.begin() + ptrdiff_t(row * all.row));
    std::copy_n(encoded.begin() + ptrdiff_t(one.scales + head * one.scale_row), one.scale_row,
                cache.begin() + ptrdiff_t(all.scales + row * all.scale_row));
  }
  return cache;
}

// The token's k and v go into the cache, with the reference's bytes, and are attended to.
TEST_P(Attention, DecodeAppends) {
  JLLM_NEEDS_GPU();
  const Shape shape = GetParam();
  if (!kv_is_quantised(shape.k_type) && !kv_is_quantised(shape.v_type)) {
    GTEST_SKIP() << "qkv appends to plain caches";
  }
  Problem problem(shape, 1, 800 + shape.head_dim);
  Random random(900);
  const auto new_k = random.normals(size_t(shape.kv_heads) * shape.head_dim);
  const auto new_v = random.normals(size_t(shape.kv_heads) * shape.head_dim);
  const auto stored_k =
      problem.rotation != 0 ? reference::hadamard(new_k, problem.rotation) : new_k;
  const Buffer q(problem.q), k_rows(new_k), v_rows(new_v);
  for (const Decode& decode : decodes(shape)) {
    const auto defines = decode.defines(problem.defines(), true);
    for (unsigned position : {0u, 1u, 63u, 64u, 128u, 129u, shape.context - 1, shape.context}) {
      const bool full = position == shape.context;  // a replay past the end: nothing is appended
      const unsigned length = full ? position : position + 1;
      const auto append = [&](unsigned type, std::vector<uint8_t>* bytes,
                              const std::vector<float>& rows) {
        const auto before = problem.poisoned(*bytes, type, full ? length : position);
        if (!full) *bytes = with_rows(problem, type, *bytes, position, rows);
        return before;
      };
      const Buffer k(append(shape.k_type, &problem.k_bytes, stored_k));
      const Buffer v(append(shape.v_type, &problem.v_bytes, new_v));
      const Buffer state(std::vector<StepState>{make_state(position, length, shape.context)});
      const Buffer out(problem.q.size() * 4);
      decode.run(defines, {state, q, k_rows, v_rows, k, v, out});
      const std::string what = decode.label() + " position " + std::to_string(position);
      const auto got = out.values();
      expect_close(got, problem.expected(length - 1), problem.tolerance(got.size()), what);
      EXPECT_EQ(k.values<uint8_t>(), problem.poisoned(problem.k_bytes, shape.k_type, length))
          << what;
      EXPECT_EQ(v.values<uint8_t>(), problem.poisoned(problem.v_bytes, shape.v_type, length))
          << what;
    }
  }
}

// Heads of q and k pass a norm and rope inside the kernel, as in Qwen 3 and Gemma 3.
TEST(AttentionDecode, NormsAndRotatesHeads) {
  JLLM_NEEDS_GPU();
  for (const Shape& shape : {Shape{16, 8, 128, 300, kKvF16, kKvF16},
                             {4, 1, 256, 200, kKvF16, kKvF16, 100},
                             {6, 2, 40, 200, kKvF32, kKvF16},
                             {8, 2, 64, 300, kKvQ8_0, kKvQ8_0},
                             {8, 2, 128, 300, kKvQ4_0, kKvQ4_0}}) {
    const Decode decode(shape, 4);
    for (unsigned position : {0u, 5u, 130u}) {
      const bool neox = position != 5;
      const std::string what = "head of " + std::to_string(shape.head_dim) + ", type " +
                               std::to_string(shape.k_type) + ", position " +
                               std::to_string(position);
      Problem problem(shape, 1, 1100 + shape.head_dim + position);
      Random random(1200 + position);
      const size_t kv_width = size_t(shape.kv_heads) * shape.head_dim;
      const auto k_row = random.normals(kv_width, 3), v_row = random.normals(kv_width);
      auto q_norm = random.normals(shape.head_dim, 0.2f), k_norm = q_norm;
      for (float& weight : q_norm) weight += 1;
      for (float& weight : k_norm) weight = 1 - weight;
      std::vector<float> frequencies(shape.head_dim / 2 - 4);  // the rest is not rotated
      for (size_t i = 0; i < frequencies.size(); ++i) {
        frequencies[i] = std::pow(1e4f, -2 * float(i) / float(shape.head_dim));
      }
      constexpr float kNormEpsilon = 1e-5f, kMagnitude = 1.25f;
      const auto finish = [&](const std::vector<float>& rows, const std::vector<float>& norm,
                              unsigned heads) {
        return reference::rope(reference::rms_norm(rows, norm, kNormEpsilon), frequencies, heads,
                               shape.head_dim, neox, kMagnitude, position);
      };
      auto defines = decode.defines(problem.defines(), true);
      defines.insert(defines.end(),
                     {"HEAD_NORM=1", define("PAIRS", frequencies.size()), define("NEOX", neox),
                      define_bits("MAGNITUDE", kMagnitude), define_bits("EPSILON", kNormEpsilon)});
      const Buffer state(std::vector<StepState>{make_state(position, position + 1, shape.context)});
      const Buffer k(problem.poisoned(problem.k_bytes, shape.k_type, position));
      const Buffer v(problem.poisoned(problem.v_bytes, shape.v_type, position));
      const Buffer q(problem.q), new_k(k_row), new_v(v_row), out(problem.q.size() * 4);
      decode.run(defines, {state, q, new_k, new_v, Buffer(q_norm), Buffer(k_norm),
                           Buffer(frequencies), k, v, out});

      // A last bit of the finished key may decide how it is rounded: the row may be off by one
      // step of its type, and attention is to what it is.
      auto wanted = finish(k_row, k_norm, shape.kv_heads);
      if (problem.rotation != 0) wanted = reference::hadamard(wanted, problem.rotation);
      problem.k_bytes = k.values<uint8_t>();
      problem.v_bytes = with_rows(problem, shape.v_type, problem.v_bytes, position, v_row);
      const auto cache =
          reference::kv_decode(shape.k_type, problem.k_bytes, problem.cache_rows(), shape.head_dim);
      for (size_t head = 0; head < shape.kv_heads; ++head) {
        const float* const row = wanted.data() + head * shape.head_dim;
        float largest = 0;
        for (size_t i = 0; i < shape.head_dim; ++i) largest = std::max(largest, std::fabs(row[i]));
        const double step = shape.k_type == kKvQ8_0   ? 1.0 / 127
                            : shape.k_type == kKvQ4_0 ? 1.0 / 7
                            : shape.k_type == kKvF16  ? 0x1p-10
                                                      : 0x1p-19;
        for (size_t i = 0; i < shape.head_dim; ++i) {
          EXPECT_NEAR(cache[(head * shape.context + position) * shape.head_dim + i], row[i],
                      1.01 * step * largest)
              << what << " element " << i;
        }
      }
      EXPECT_EQ(v.values<uint8_t>(), problem.poisoned(problem.v_bytes, shape.v_type, position + 1))
          << what;
      problem.q = finish(problem.q, q_norm, shape.heads);
      // The query's own roundings (norm, weight, rotation) are some units more in every product.
      auto tolerance = problem.tolerance(problem.q.size());
      for (double& t : tolerance) t *= 2;
      expect_close(out.values(), problem.expected(position), tolerance, what);
    }
  }
}

// Tokens of one launch get the very bits that launches of their own give them, also where the last
// rows carry no token and hold NaNs, as the cache behind the tokens does.
TEST_P(Attention, DecodesTokensTogether) {
  JLLM_NEEDS_GPU();
  const Shape shape = GetParam();
  const size_t row = size_t(shape.heads) * shape.head_dim;
  for (const auto& [rows, tokens] : {std::pair(2u, 2u), std::pair(2u, 1u), std::pair(4u, 4u),
                                     std::pair(8u, 8u), std::pair(8u, 5u)}) {
    const Problem problem(shape, rows, 1000 + shape.head_dim + rows);
    std::vector<float> queries = problem.q;
    std::fill(queries.begin() + ptrdiff_t(tokens * row), queries.end(), NAN);
    const Buffer q(queries);
    const auto together = decodes(shape, rows), single = decodes(shape);
    for (size_t i = 0; i < together.size(); ++i) {
      for (unsigned position : {0u, 61u, 126u, shape.context - tokens}) {
        if (position + tokens > shape.context) continue;
        const auto state_of = [&](unsigned from, unsigned to) {
          return Buffer(std::vector<StepState>{make_state(from, to, shape.context)});
        };
        const Buffer k(problem.poisoned(problem.k_bytes, shape.k_type, position + tokens));
        const Buffer v(problem.poisoned(problem.v_bytes, shape.v_type, position + tokens));
        const Buffer out(problem.q.size() * 4);
        together[i].run(together[i].defines(problem.defines(), false),
                        {state_of(position, position + tokens), q, k, v, out});
        const auto got = out.values();
        for (unsigned token = 0; token < tokens; ++token) {
          const auto part = [&](const std::vector<float>& of) {
            return std::vector<float>(of.begin() + ptrdiff_t(token * row),
                                      of.begin() + ptrdiff_t((token + 1) * row));
          };
          const unsigned length = position + token + 1;
          const Buffer own_q(part(problem.q)), own(row * 4);
          single[i].run(single[i].defines(problem.defines(), false),
                        {state_of(length - 1, length), own_q, k, v, own});
          EXPECT_EQ(part(got), own.values())
              << single[i].label() << " position " << position << " token " << token << " of "
              << tokens << " in " << rows << " rows";
        }
      }
    }
  }
}

// What attention_tile() chooses on devices of any size, each once.
std::vector<kernels::AttentionTile> tiles_for(const kernels::AttentionProblem& problem) {
  std::vector<kernels::AttentionTile> all;
  for (uint32_t sms = 1; sms <= 1024; sms *= 2) {
    const kernels::AttentionTile tile = kernels::attention_tile(problem, sms);
    const auto same = [&](const kernels::AttentionTile& other) {
      return kernels::attention_defines(other, problem) ==
             kernels::attention_defines(tile, problem);
    };
    if (std::none_of(all.begin(), all.end(), same)) all.push_back(tile);
  }
  return all;
}

struct Chunk {
  unsigned position, rows, valid;
};

// Every tile for these rows against the reference: each value, and all of them together.
void check_rows(const Problem& problem, const Chunk& chunk) {
  const Shape& shape = problem.shape;
  const unsigned end = chunk.position + chunk.valid;
  const Buffer state(std::vector<StepState>{make_state(chunk.position, end, shape.context)});
  const Buffer q(problem.q);
  const Buffer k(problem.poisoned(problem.k_bytes, shape.k_type, end));
  const Buffer v(problem.poisoned(problem.v_bytes, shape.v_type, end));
  const size_t row = size_t(shape.heads) * shape.head_dim, computed = chunk.valid * row;
  Problem stored = problem;
  stored.q.resize(computed);
  const auto expected = stored.expected(chunk.position);
  const Problem::Rounding rounding = stored.rounding(chunk.position);
  const kernels::AttentionProblem tiled = {chunk.rows,     shape.heads,  shape.kv_heads,
                                           shape.head_dim, shape.k_type, shape.v_type};
  for (const kernels::AttentionTile& tile : tiles_for(tiled)) {
    std::string what = "position " + std::to_string(chunk.position) + " rows " +
                       std::to_string(chunk.rows) + " of " + std::to_string(chunk.valid);
    auto defines = problem.defines();
    for (const std::string& more : kernels::attention_defines(tile, tiled)) {
      defines.push_back(more);
      what += " " + more;
    }
    const Buffer out(problem.q.size() * 4);
    launch("attention", defines, kernels::attention_shape(tile, tiled),
           {state, q, k, v, out, chunk.rows});
    auto got = out.values();
    for (size_t i = computed; i < got.size(); ++i) {
      ASSERT_TRUE(std::isnan(got[i])) << what << " wrote row " << i / row;
    }
    got.resize(computed);
    expect_close(got, expected, rounding.tolerance, what);
    double errors = 0, allowed = 0;
    for (size_t i = 0; i < computed; ++i) {
      const double error = double(got[i]) - expected[i];
      errors += error * error;
      const double exact = rounding.tolerance[i] / 8 - rounding.deviation * rounding.sizes[i];
      allowed += std::pow(rounding.deviation * rounding.sizes[i] + exact, 2);
    }
    EXPECT_LE(errors, allowed) << what << ": all outputs together";
  }
}

TEST_P(Attention, Rows) {
  JLLM_NEEDS_GPU();
  const Shape shape = GetParam();
  const Chunk chunks[] = {{0, 1, 1},
                          {0, 16, 16},
                          {0, 64, 50},
                          {shape.context - 17, 16, 16},
                          {shape.context - 5, 16, 5},
                          {33, 8, 8},
                          {31, 33, 33},
                          {5, 16, 0},
                          {0, 512, 512},
                          {130, 300, 291}};
  for (const Chunk& chunk : chunks) {
    if (chunk.position + chunk.valid > shape.context) continue;
    check_rows(Problem(shape, chunk.rows, 600 + shape.head_dim + chunk.rows), chunk);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Attention, testing::ValuesIn(kShapes), [](const auto& test) {
  const Shape& s = test.param;
  return "heads" + std::to_string(s.heads) + "_" + std::to_string(s.kv_heads) + "_dim" +
         std::to_string(s.head_dim) + "_kv" + std::to_string(s.k_type) + std::to_string(s.v_type) +
         "_context" + std::to_string(s.context);
});

// Queries far beyond the range of f16, against keys as small, in blocks of one part and of several.
TEST(AttentionRows, LargeQueries) {
  JLLM_NEEDS_GPU();
  for (const float softcap : {0.0f, 3.0f}) {
    const Shape shape = {8, 2, 64, 300, kKvF16, kKvF16, 0, softcap};
    for (const unsigned rows : {20u, 200u}) {
      Problem problem(shape, rows, 1300 + rows);
      constexpr float kFactor = 0x1p18f;
      for (float& value : problem.q) value *= kFactor;
      Random random(1301);
      problem.k_bytes = reference::kv_encode(
          kKvF16, random.normals(problem.cache_rows() * shape.head_dim, 1 / kFactor),
          shape.head_dim);
      // Scores of the usual size times 8, that their queries leave the range.
      problem.scale *= 8, problem.q_size *= 8;
      check_rows(problem, {77, rows, rows});
    }
  }
}

TEST(AttentionDecode, LargeScoresStayFinite) {
  JLLM_NEEDS_GPU();
  // Scores in the thousands: softmax must subtract the maximum, also across splits.
  const Shape shape = {2, 1, 16, 600, 0, 0};
  Problem problem(shape, 1, 700);
  problem.scale = 300;
  const Buffer state(std::vector<StepState>{make_state(599, 600, 600)});
  const Buffer q(problem.q), k(problem.k_bytes), v(problem.v_bytes), out(problem.q.size() * 4);
  const Decode decode(shape, 4);
  decode.run(decode.defines(problem.defines(), false), {state, q, k, v, out});
  // One position holds nearly all weight; scores near 10^4 carry errors near 10^-2.
  const auto got = out.values();
  expect_close(got, problem.expected(599), std::vector<double>(got.size(), 0.05), "large scores");
}

}  // namespace
}  // namespace jllm::test

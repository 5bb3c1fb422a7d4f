// Several tokens by one launch of the decode kernels: each has the bits that it has alone, whatever
// the others are. Speculation rests on that.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernels/gemv_shapes.h"
#include "tests/kernels/gpu/gpu.h"
#include "tests/kernels/gpu/images.h"
#include "tests/kernels/gpu/inputs.h"

namespace jllm::test {
namespace {

using kernels::GemvProblem;
using kernels::GemvVariant;

constexpr float kEpsilon = 1e-5f;
constexpr uint32_t kNewest = 90;  // shared memory of a launch as there; the tests' rows are short

struct TokensCase {
  unsigned type;
  Activations mode;
  uint32_t tokens;
};

std::vector<TokensCase> all_cases() {
  std::vector<TokensCase> out;
  for (const unsigned type : kAllTypes) {
    for (const Activations mode : kAllModes) {
      if (mode != Activations::kExact && !kernels::has_int8_products(type)) continue;
      for (const uint32_t tokens : {2u, 3u, 4u, 8u}) out.push_back({type, mode, tokens});
    }
  }
  return out;
}

class Tokens : public testing::TestWithParam<TokensCase> {
 protected:
  struct Launch {
    std::vector<std::string> defines;
    kernels::LaunchShape shape;
  };
  // The kernel for one token as the catalogue has it, and for all of them.
  Launch prepare(const char* kernel, std::vector<unsigned> types, size_t k, size_t n,
                 uint32_t tokens) const {
    GemvProblem problem = {kernel, std::move(types), GetParam().mode, k, n};
    const GemvVariant single = kernels::choose_variant(problem, sm_count());
    problem.tokens = tokens;
    EXPECT_EQ(kernels::tokens_per_launch(problem, kNewest), tokens);
    const GemvVariant variant = kernels::with_tokens(problem, single, sm_count());
    EXPECT_EQ(variant.split, single.split);
    return {kernels::gemv_defines(problem, variant),
            kernels::gemv_shape(problem, variant, sm_count())};
  }

  // Rows whose units do not fill a warp's steps, and ones that do.
  static constexpr size_t kLengths[] = {768, 4096};
};

// Row `row` of a buffer of rows.
template <typename T>
std::vector<T> row_of(const std::vector<T>& all, size_t row, size_t width) {
  return {all.begin() + row * width, all.begin() + (row + 1) * width};
}

TEST_P(Tokens, MatmulAdd) {
  JLLM_NEEDS_GPU();
  const auto [type, mode, tokens] = GetParam();
  Random random(900 + type + tokens);
  for (const size_t k : kLengths) {
    const size_t n = 1028;
    const Weights weights = random_weights(random, type, n, k);
    const std::vector<float> in = random.normals(tokens * k), residual = random.normals(tokens * n);
    const Buffer weight_buffer(weights.bytes), in_buffer(in), residual_buffer(residual),
        out(tokens * n * 4);
    const std::vector<std::string> defines = {define("TYPE", type), define("K", k), define("N", n),
                                              "HAS_BIAS=0"};
    const Launch all = prepare("matmul_add", {type}, k, n, tokens);
    launch("matmul_add", join(defines, all.defines), all.shape,
           {in_buffer, weight_buffer, residual_buffer, out});
    const std::vector<float> together = out.values();
    const Launch one = prepare("matmul_add", {type}, k, n, 1);
    for (size_t t = 0; t < tokens; ++t) {
      const Buffer own_in(row_of(in, t, k)), own_residual(row_of(residual, t, n)), own_out(n * 4);
      launch("matmul_add", join(defines, one.defines), one.shape,
             {own_in, weight_buffer, own_residual, own_out});
      EXPECT_EQ(own_out.values(), row_of(together, t, n)) << "token " << t << ", k " << k;
    }
    // In two launches: the second begins behind the first's tokens.
    const Buffer parts(tokens * n * 4);
    const uint32_t first = tokens / 2;
    for (const auto& [begin, count] : {std::pair(0u, first), std::pair(first, tokens - first)}) {
      const Launch part = prepare("matmul_add", {type}, k, n, count);
      launch("matmul_add", join(join(defines, part.defines), {define("FIRST_TOKEN", begin)}),
             part.shape, {in_buffer, weight_buffer, residual_buffer, parts});
    }
    EXPECT_EQ(parts.values(), together);
  }
}

TEST_P(Tokens, GateUpAndItsImage) {
  JLLM_NEEDS_GPU();
  const auto [type, mode, tokens] = GetParam();
  Random random(930 + type + tokens);
  const size_t k = kLengths[0], n = 1056;
  const Weights gate = random_weights(random, type, n, k), up = random_weights(random, type, n, k);
  const std::vector<float> x = random.normals(tokens * k), norm = random.normals(k);
  const Buffer gate_buffer(gate.bytes), up_buffer(up.bytes), x_buffer(x), norm_buffer(norm);
  const Launch all = prepare("gate_up", {type, type}, k, n, tokens);
  const Launch one = prepare("gate_up", {type, type}, k, n, 1);
  for (const Activations image : kAllModes) {
    const std::vector<std::string> defines = {define("GATE_TYPE", type),
                                              define("UP_TYPE", type),
                                              define("K", k),
                                              define("N", n),
                                              "ACTIVATION=0",
                                              define_bits("EPSILON", kEpsilon),
                                              define("OUT_IMAGE", static_cast<uint64_t>(image))};
    const size_t bytes =
        image == Activations::kExact ? n * sizeof(float) : kernels::image_bytes(image, n);
    const Buffer out(tokens * bytes);
    launch("gate_up", join(defines, all.defines), all.shape,
           {x_buffer, norm_buffer, gate_buffer, up_buffer, out});
    const std::vector<uint8_t> together = out.values<uint8_t>();
    for (size_t t = 0; t < tokens; ++t) {
      const Buffer own_x(row_of(x, t, k)), own_out(bytes);
      launch("gate_up", join(defines, one.defines), one.shape,
             {own_x, norm_buffer, gate_buffer, up_buffer, own_out});
      EXPECT_EQ(own_out.values<uint8_t>(), row_of(together, t, bytes)) << "token " << t;
    }
  }
}

TEST_P(Tokens, Head) {
  JLLM_NEEDS_GPU();
  const auto [type, mode, tokens] = GetParam();
  Random random(960 + type + tokens);
  const size_t k = kLengths[1], n = 1537;
  const Weights weights = random_weights(random, type, n, k);
  const std::vector<float> x = random.normals(tokens * k), norm = random.normals(k);
  const Launch all = prepare("head", {type}, k, n, tokens);
  const Launch one = prepare("head", {type}, k, n, 1);
  const std::vector<std::string> defines = {define("TYPE", type), define("K", k), define("N", n),
                                            define_bits("EPSILON", kEpsilon), "TOPS=1"};
  const Buffer weight_buffer(weights.bytes), x_buffer(x), norm_buffer(norm), out(tokens * n * 4),
      tops(tokens * all.shape.grid_x * sizeof(uint64_t));
  launch("head", join(defines, all.defines), all.shape,
         {x_buffer, norm_buffer, weight_buffer, out, tops});
  const std::vector<float> together = out.values();
  const std::vector<uint64_t> ranks = tops.values<uint64_t>();
  for (size_t t = 0; t < tokens; ++t) {
    const Buffer own_x(row_of(x, t, k)), own_out(n * 4),
        own_tops(one.shape.grid_x * sizeof(uint64_t));
    launch("head", join(defines, one.defines), one.shape,
           {own_x, norm_buffer, weight_buffer, own_out, own_tops});
    EXPECT_EQ(own_out.values(), row_of(together, t, n)) << "token " << t;
    const std::vector<uint64_t> own_ranks = own_tops.values<uint64_t>();
    const std::vector<uint64_t> its_ranks = row_of(ranks, t, all.shape.grid_x);
    EXPECT_EQ(*std::max_element(its_ranks.begin(), its_ranks.end()),
              *std::max_element(own_ranks.begin(), own_ranks.end()));
  }
}

TEST_P(Tokens, Qkv) {
  JLLM_NEEDS_GPU();
  const auto [type, mode, tokens] = GetParam();
  Random random(990 + type + tokens);
  const size_t k = kLengths[0];
  const unsigned heads = 6, kv_heads = 2, head_dim = 64, context = 40;
  const size_t q_rows = heads * head_dim, kv_rows = kv_heads * head_dim;
  const Weights wq = random_weights(random, type, q_rows, k),
                wk = random_weights(random, type, kv_rows, k),
                wv = random_weights(random, type, kv_rows, k);
  const std::vector<float> x = random.normals(tokens * k);
  const Buffer x_buffer(x), norm(random.normals(k)), wq_buffer(wq.bytes), wk_buffer(wk.bytes),
      wv_buffer(wv.bytes), bq(random.normals(q_rows)), bk(random.normals(kv_rows)),
      bv(random.normals(kv_rows)), frequencies(random.normals(head_dim / 2));
  const Launch all = prepare("qkv", {type, type, type}, k, q_rows + 2 * kv_rows, tokens);
  const Launch one = prepare("qkv", {type, type, type}, k, q_rows + 2 * kv_rows, 1);
  // In the middle of the cache, and so that the last token has no place in it.
  for (const unsigned position : {33u - tokens, context - tokens + 1}) {
    for (const bool append : {true, false}) {
      const std::vector<std::string> defines = {define("K", k),
                                                define("Q_TYPE", type),
                                                define("K_TYPE", type),
                                                define("V_TYPE", type),
                                                define("HEADS", heads),
                                                define("KV_HEADS", kv_heads),
                                                "PAIRS=32",
                                                define("HEAD_DIM", head_dim),
                                                define("CONTEXT", context),
                                                "NEOX=1",
                                                "HAS_BIAS=1",
                                                define("APPEND", append),
                                                define("KV_K_TYPE", append),
                                                define("KV_V_TYPE", append),
                                                define_bits("EPSILON", kEpsilon),
                                                define_bits("MAGNITUDE", 1.0f)};
      const size_t element = append ? 2 : 4, places = append ? context : tokens;
      const auto run = [&](const Launch& how, const Buffer& in, unsigned at, const Buffer& q,
                           const Buffer& keys, const Buffer& values) {
        const Buffer state(std::vector<StepState>{make_state(at, at + 1, context)});
        launch("qkv", join(defines, how.defines), how.shape,
               {state, in, norm, wq_buffer, wk_buffer, wv_buffer, bq, bk, bv, frequencies, q, keys,
                values});
      };
      const Buffer q(tokens * q_rows * 4), keys(places * kv_rows * element),
          values(places * kv_rows * element);
      run(all, x_buffer, position, q, keys, values);
      // One by one, into one cache, or into rows of their own.
      const Buffer own_keys(append ? keys.bytes() : kv_rows * 4),
          own_values(append ? keys.bytes() : kv_rows * 4);
      for (size_t t = 0; t < tokens; ++t) {
        const Buffer own_x(row_of(x, t, k)), own_q(q_rows * 4);
        run(one, own_x, static_cast<unsigned>(position + t), own_q, own_keys, own_values);
        EXPECT_EQ(own_q.values<uint32_t>(), row_of(q.values<uint32_t>(), t, q_rows));
        if (append) continue;
        EXPECT_EQ(own_keys.values<uint32_t>(), row_of(keys.values<uint32_t>(), t, kv_rows));
        EXPECT_EQ(own_values.values<uint32_t>(), row_of(values.values<uint32_t>(), t, kv_rows));
      }
      if (!append) continue;
      EXPECT_EQ(own_keys.values<uint16_t>(), keys.values<uint16_t>());
      EXPECT_EQ(own_values.values<uint16_t>(), values.values<uint16_t>());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Tokens, testing::ValuesIn(all_cases()), [](const auto& test) {
  return "type" + std::to_string(test.param.type) + "_mode" +
         std::to_string(static_cast<unsigned>(test.param.mode)) + "_tokens" +
         std::to_string(test.param.tokens);
});

}  // namespace
}  // namespace jllm::test

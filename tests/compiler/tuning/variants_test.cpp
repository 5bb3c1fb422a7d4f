// Variants of the matrix-vector kernels: which there are, what the cost model makes of them, and
// that every model's every launch has one.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "compiler/synth/shapes.h"
#include "kernels/gemv_shapes.h"
#include "schema/row_layout.h"

namespace jllm::kernels {
namespace {

constexpr unsigned kTypes[] = {kRowF32,    kRowF16,   kRowBF16,  kRowQ4_0, kRowQ4_1,
                               kRowQ5_0,   kRowQ5_1,  kRowQ8_0,  kRowQ4_K, kRowQ5_K,
                               kRowQ6_K,   kRowQ1_0,  kRowQ2_K,  kRowQ3_K, kRowIQ4_NL,
                               kRowIQ4_XS, kRowMXFP4, kRowTQ2_0, kRowQ2_0};
constexpr uint32_t kSmCounts[] = {4, 8, 16, 132};

// The launches of every model that synth knows, in every type and mode.
std::vector<GemvProblem> all_problems() {
  std::vector<GemvProblem> out;
  for (const synth::ModelShape& shape : synth::model_shapes()) {
    const uint64_t e = shape.embedding_length, f = shape.feed_forward_length;
    const uint64_t q = uint64_t{shape.head_count} * shape.head_dim;
    const uint64_t kv = uint64_t{shape.head_count_kv} * shape.head_dim;
    for (const unsigned type : kTypes) {
      for (const Activations mode :
           {Activations::kExact, Activations::kInt8, Activations::kInt8Pair}) {
        if (mode != Activations::kExact && !has_int8_products(type)) continue;
        out.push_back({"qkv", {type, type, type}, mode, e, q + 2 * kv});
        out.push_back({"matmul_add", {type}, mode, q, e});
        out.push_back({"gate_up", {type, type}, mode, e, f});
        out.push_back({"matmul_add", {type}, mode, f, e});
        out.push_back({"head", {type}, mode, e, shape.vocab_size});
      }
    }
    out.push_back({"qkv", {kRowQ4_K, kRowQ4_K, kRowQ6_K}, Activations::kInt8Pair, e, q + 2 * kv});
  }
  return out;
}

std::string text_of(const GemvProblem& p) {
  return p.kernel + " type " + std::to_string(p.types[0]) + " " + std::to_string(p.n) + "x" +
         std::to_string(p.k);
}

TEST(GemvVariants, EveryLaunchOfEveryModelHasSome) {
  for (const GemvProblem& problem : all_problems()) {
    const std::vector<GemvVariant> variants = legal_variants(problem);
    ASSERT_FALSE(variants.empty()) << text_of(problem);
    for (size_t i = 0; i < variants.size(); ++i) {
      EXPECT_EQ(why_illegal(problem, variants[i]), "") << text_of(problem);
      EXPECT_EQ(std::find(variants.begin(), variants.begin() + i, variants[i]),
                variants.begin() + i)
          << text_of(problem) << " has one twice";
    }
    for (const uint32_t sm_count : kSmCounts) {
      const GemvVariant chosen = choose_variant(problem, sm_count);
      EXPECT_NE(std::find(variants.begin(), variants.end(), chosen), variants.end())
          << text_of(problem);
      for (const GemvVariant& v : variants) {
        if (v.in_flight > chosen.in_flight) continue;  // the model does not ask for more than usual
        EXPECT_LE(cost(problem, chosen, sm_count), cost(problem, v, sm_count)) << text_of(problem);
      }
    }
  }
}

TEST(GemvVariants, MoreInFlightDiffersInNothingElse) {
  for (const GemvProblem& problem : all_problems()) {
    const GemvVariant chosen = choose_variant(problem, 132);
    std::set<uint32_t> seen = {chosen.in_flight};
    for (GemvVariant v : in_flight_variants(problem, chosen)) {
      EXPECT_EQ(why_illegal(problem, v), "") << text_of(problem);
      EXPECT_TRUE(seen.insert(v.in_flight).second) << text_of(problem);
      v.in_flight = chosen.in_flight;
      EXPECT_EQ(v, chosen);
    }
  }
}

// Whatever is more work costs more, for the same variant; more multiprocessors do not.
TEST(GemvVariants, CostFollowsTheWork) {
  for (const GemvProblem& problem : all_problems()) {
    for (const GemvVariant& v : legal_variants(problem)) {
      GemvProblem more = problem;
      more.n = 2 * problem.n;
      EXPECT_GE(cost(more, v, 8), cost(problem, v, 8)) << text_of(problem);
      more = problem;
      more.k = 2 * problem.k;
      EXPECT_GT(cost(more, v, 8), cost(problem, v, 8)) << text_of(problem);
      EXPECT_GT(cost(problem, v, 8), 0);
      EXPECT_GE(cost(problem, v, 8), cost(problem, v, 16) * (1 - 1e-9)) << text_of(problem);
    }
  }
}

// What was measured and must not be forgotten when the model is fitted again: few multiprocessors
// want pairs of rows, many warps and no split; many want work that divides evenly.
TEST(GemvVariants, ChoicesThatWereMeasured) {
  const auto choose = [](const char* kernel, std::vector<unsigned> types, uint64_t k, uint64_t n,
                         uint32_t sm_count) {
    return choose_variant({kernel, std::move(types), Activations::kInt8Pair, k, n}, sm_count);
  };
  for (const auto& [k, n] :
       {std::pair<uint64_t, uint64_t>(8192, 2048), {4096, 4096}, {14336, 4096}}) {
    const GemvVariant v = choose("matmul_add", {kRowQ4_K}, k, n, 8);
    EXPECT_GE(v.rows, 2u) << k;
    EXPECT_EQ(v.split, 1u) << k;
    EXPECT_EQ(v.threads * v.blocks, 1024u) << k;
  }
  for (const auto& [k, n] : {std::pair<uint64_t, uint64_t>(3072, 3072), {8192, 3072}}) {
    const GemvProblem problem = {"matmul_add", {kRowQ4_K}, Activations::kInt8Pair, k, n};
    const GemvVariant v = choose_variant(problem, 132);
    EXPECT_EQ(v.threads * v.blocks, 768u) << k;  // 3072 = 128 * 24
  }
}

TEST(GemvVariants, SaysWhyNot) {
  const GemvProblem gate = {"gate_up", {kRowQ4_K, kRowQ4_K}, Activations::kInt8Pair, 2048, 8192};
  EXPECT_NE(why_illegal(gate, {512, 2, 2, 2, 4}).find("does not split"), std::string::npos);
  EXPECT_NE(why_illegal(gate, {384, 2, 2, 1, 4}).find("multiple of that"), std::string::npos);
  EXPECT_EQ(why_illegal(gate, {1024, 1, 2, 1, 4}), "");
  const GemvProblem qkv = {
      "qkv", {kRowQ4_K, kRowQ4_K, kRowQ4_K}, Activations::kInt8Pair, 2048, 3072};
  EXPECT_NE(why_illegal(qkv, {512, 2, 1, 1, 4}).find("rotary pair"), std::string::npos);
  EXPECT_NE(why_illegal(qkv, {512, 2, 2, 4, 4}).find("too short for a split of 4"),
            std::string::npos);
  const GemvProblem odd = {"head", {kRowF16}, Activations::kExact, 896, 151643};
  EXPECT_NE(why_illegal(odd, {512, 2, 4, 1, 4}).find("do not divide 151643"), std::string::npos);
  EXPECT_EQ(why_illegal(odd, {512, 2, 2, 1, 4}), "");  // a last pair may be half there
}

TEST(GemvVariants, MacrosNameWhatIsNotTheDefault) {
  const GemvProblem problem = {"matmul_add", {kRowQ4_K}, Activations::kInt8Pair, 8192, 2048};
  using Defines = std::vector<std::string>;
  EXPECT_EQ(gemv_defines(problem, {512, 2, 2, 1, 4}), Defines({"ACTIVATIONS=2"}));
  EXPECT_EQ(
      gemv_defines(problem, {1024, 1, 1, 4, 2}),
      Defines({"ACTIVATIONS=2", "THREADS=1024", "BLOCKS=1", "ROWS=1", "SPLIT=4", "IN_FLIGHT=2"}));
}

// Every row has a warp, and no block is without work.
TEST(GemvVariants, GridsCoverTheRows) {
  for (const GemvProblem& problem : all_problems()) {
    for (const GemvVariant& v : legal_variants(problem)) {
      for (const uint32_t sm_count : kSmCounts) {
        const LaunchShape shape = gemv_shape(problem, v, sm_count);
        EXPECT_EQ(shape.block, v.threads);
        EXPECT_LE(shape.grid_x, v.blocks * sm_count) << text_of(problem);
        const uint64_t rows_of_block = problem.kernel == "gate_up"
                                           ? std::max<uint64_t>(32, v.threads / 32 * v.rows)
                                           : v.threads / 32 / v.split * v.rows;
        EXPECT_LT((shape.grid_x - 1) * rows_of_block, problem.n) << text_of(problem);
        if (shape.grid_x < v.blocks * sm_count) {
          EXPECT_GE(shape.grid_x * rows_of_block, problem.n) << text_of(problem);
        }
      }
    }
  }
}

}  // namespace
}  // namespace jllm::kernels

// The kernels of a mixture of experts: routing, lists and sums against the reference; products
// against the ordinary kernels, which are given each slot's vector and its expert's matrix, bit for
// bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/gemm_shapes.h"
#include "kernels/gemv_shapes.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/gpu/gpu.h"
#include "tests/kernels/gpu/images.h"
#include "tests/kernels/gpu/inputs.h"

namespace jllm::test {
namespace {

constexpr unsigned kRows = 6, kValid = 4, kPosition = 9, kContext = 20;

StepState chunk_state() { return make_state(kPosition, kPosition + kValid, kContext); }

TEST(Experts, RouteChoosesTheLargestAndWeighsThem) {
  JLLM_NEEDS_GPU();
  const std::pair<size_t, size_t> shapes[] = {{8, 2},   {40, 8},   {64, 8},
                                              {128, 8}, {512, 32}, {3, 3}};
  for (const auto& [experts, slots] : shapes) {
    Random random(1200 + experts);
    auto logits = random.normals(kRows * experts, 3);
    for (float& logit : logits) logit = std::round(logit * 4) / 4;  // many are equal
    const Buffer state(std::vector<StepState>{chunk_state()}), logit_buffer(logits);
    for (const bool renormalise : {false, true}) {
      const reference::Routes expected = reference::route(
          std::span<const float>(logits).first(kValid * experts), experts, slots, renormalise);
      const Buffer chosen(kRows * slots * 4), weights(kRows * slots * 4);
      launch(
          "route",
          {define("EXPERTS", experts), define("SLOTS", slots), define("RENORMALISE", renormalise)},
          kernels::route_shape(kRows), {state, logit_buffer, chosen, weights});
      auto got = chosen.values<uint32_t>();
      for (size_t i = kValid * slots; i < got.size(); ++i) EXPECT_EQ(got[i], 0xffffffffu) << i;
      got.resize(kValid * slots);
      EXPECT_EQ(got, expected.chosen) << experts << " experts";
      std::vector<double> tolerance;
      for (const float weight : expected.weights) tolerance.push_back(0x1p-20 * weight);
      expect_close(std::span<const float>(weights.values()).first(kValid * slots), expected.weights,
                   tolerance, std::to_string(experts) + " experts");
    }
  }
}

TEST(Experts, RouteChoosesDifferentExpertsWhateverTheLogits) {
  JLLM_NEEDS_GPU();
  const size_t experts = 40, slots = 3;
  const Buffer state(std::vector<StepState>{chunk_state()});
  for (const float logit : {NAN, -NAN, -INFINITY, INFINITY}) {
    const Buffer logits(std::vector<float>(kRows * experts, logit));
    const Buffer chosen(kRows * slots * 4), weights(kRows * slots * 4);
    launch("route", {define("EXPERTS", experts), define("SLOTS", slots), "RENORMALISE=1"},
           kernels::route_shape(kRows), {state, logits, chosen, weights});
    const auto got = chosen.values<uint32_t>();
    for (size_t i = 0; i < kValid * slots; ++i) EXPECT_EQ(got[i], i % slots) << logit;
    EXPECT_TRUE(std::isnan(weights.values()[0])) << logit;
  }
}

TEST(Experts, SumWeighsTheSlots) {
  JLLM_NEEDS_GPU();
  const size_t slots = 8, n = 1030;
  Random random(1210);
  const auto in = random.normals(kRows * slots * n), weights = random.normals(kRows * slots);
  const auto residual = random.normals(kRows * n);
  const auto sum =
      reference::expert_sum(std::span<const float>(in).first(kValid * slots * n),
                            std::span<const float>(weights).first(kValid * slots), slots);
  const Buffer state(std::vector<StepState>{chunk_state()}), in_buffer(in), weight_buffer(weights);
  for (const bool has_residual : {false, true}) {
    const auto first_rows = std::span<const float>(residual).first(kValid * n);
    const auto expected = has_residual ? reference::add(first_rows, sum) : sum;
    const Buffer out(residual);  // the residual is replaced by the result
    std::vector<Argument> arguments = {state, in_buffer, weight_buffer, out};
    if (has_residual) arguments.push_back(out);
    launch("expert_sum", {define("N", n), define("SLOTS", slots), define("RESIDUAL", has_residual)},
           kernels::elementwise_shape(kRows, n, sm_count()), arguments);
    const auto got = out.values();
    // Nine roundings of sums below 32.
    expect_close(std::span<const float>(got).first(kValid * n), expected,
                 std::vector<double>(expected.size(), 9 * 32 * 0x1p-24), "sum");
    for (size_t i = kValid * n; i < got.size(); ++i) ASSERT_EQ(got[i], residual[i]) << i;
  }
}

struct ProductCase {
  unsigned type;
  bool gated, per_slot;
};

std::vector<ProductCase> product_cases() {
  std::vector<ProductCase> out;
  for (const unsigned type : kAllTypes) {
    for (const bool gated : {false, true}) out.push_back({type, gated, !gated});
  }
  return out;
}

class ExpertProducts : public testing::TestWithParam<ProductCase> {
 protected:
  static constexpr size_t kExperts = 6, kSlots = 3, kK = 512, kN = 96;

  ExpertProducts() : random_(1220 + GetParam().type) {
    const unsigned type = GetParam().type;
    in_ = random_.normals(kRows * (GetParam().per_slot ? kSlots : 1) * kK);
    for (size_t i = 0; i < kRows * kSlots; ++i) {
      chosen_.push_back(uint32_t(random_.below(kExperts - 1)));  // the last is idle
    }
    for (int i = 0; i < (GetParam().gated ? 2 : 1); ++i) {
      weights_.push_back(random_weights(random_, type, kExperts * kN, kK).bytes);
    }
  }

  std::vector<float> vector_of(size_t slot) const {
    const size_t at = (GetParam().per_slot ? slot : slot / kSlots) * kK;
    return {in_.begin() + at, in_.begin() + at + kK};
  }
  std::vector<uint8_t> matrix_of(size_t part, size_t expert) const {
    const size_t bytes = weights_[part].size() / kExperts;
    const auto from = weights_[part].begin() + expert * bytes;
    return {from, from + bytes};
  }
  std::vector<unsigned> types() const {
    return std::vector<unsigned>(weights_.size(), GetParam().type);
  }
  // Rows of slots without a token must be untouched.
  void expect_untouched(const std::vector<float>& got) const {
    for (size_t i = kValid * kSlots * kN; i < got.size(); ++i) {
      ASSERT_TRUE(std::isnan(got[i])) << "wrote slot " << i / kN;
    }
  }

  Random random_;
  std::vector<float> in_;
  std::vector<uint32_t> chosen_;
  std::vector<std::vector<uint8_t>> weights_;
};

TEST_P(ExpertProducts, SlotBySlotAreTheOrdinaryOnes) {
  JLLM_NEEDS_GPU();
  const auto [type, gated, per_slot] = GetParam();
  for (const Activations mode : kAllModes) {
    if (mode != Activations::kExact && !kernels::has_int8_products(type)) continue;
    const kernels::GemvProblem problem = {"expert_matmul", types(), mode, kK, kN};
    const kernels::GemvVariant variant =
        kernels::choose_expert_variant(problem, kSlots, sm_count());
    std::vector<std::string> defines =
        join({define("TYPE", type), define("K", kK), define("N", kN), define("SLOTS", kSlots),
              define("IN_PER_SLOT", per_slot)},
             kernels::gemv_defines(problem, variant));
    if (gated) {
      defines = join(defines, {define("UP_TYPE", type), define("ACTIVATION", kSilu)});
    }
    const Buffer state(std::vector<StepState>{chunk_state()}), in(in_), chosen(chosen_);
    const Buffer weight(weights_[0]), up(weights_.back()), out(kRows * kSlots * kN * 4);
    std::vector<Argument> arguments = {state, in, chosen, weight, out};
    if (gated) arguments.insert(arguments.end() - 1, up);
    launch("expert_matmul", defines,
           kernels::expert_matmul_shape(problem, variant, kRows * kSlots, sm_count()), arguments);
    const auto got = out.values();
    expect_untouched(got);
    kernels::GemvProblem single = problem;
    single.kernel = "matmul_add";
    for (size_t slot = 0; slot < kValid * kSlots; ++slot) {
      std::vector<std::vector<float>> products;
      for (size_t part = 0; part < weights_.size(); ++part) {
        const Buffer vector(vector_of(slot)), matrix(matrix_of(part, chosen_[slot]));
        const Buffer product(kN * 4);
        launch("matmul_add",
               join({define("TYPE", type), define("K", kK), define("N", kN), "HAS_BIAS=0",
                     "RESIDUAL=0"},
                    kernels::gemv_defines(single, variant)),
               kernels::gemv_shape(single, variant, sm_count()), {vector, matrix, product});
        products.push_back(product.values());
      }
      const auto own = std::span<const float>(got).subspan(slot * kN, kN);
      if (!gated) {
        for (size_t i = 0; i < kN; ++i) ASSERT_EQ(own[i], products[0][i]) << slot << ' ' << i;
        continue;
      }
      const auto expected = reference::glu(products[0], products[1]);
      std::vector<double> tolerance;
      for (const float value : expected) tolerance.push_back(0x1p-20 * std::fabs(value) + 1e-30);
      expect_close(own, expected, tolerance, "slot " + std::to_string(slot));
    }
  }
}

TEST_P(ExpertProducts, ExpertByExpertAreTheOrdinaryOnes) {
  JLLM_NEEDS_GPU();
  const auto [type, gated, per_slot] = GetParam();
  if (!kernels::has_gemm(type)) return;  // these go slot by slot
  const uint32_t rows = kRows * kSlots;
  const kernels::GemmProblem problem = {
      rows, kK, types(), std::vector<uint64_t>(weights_.size(), kN), gated, kExperts};
  const Buffer state(std::vector<StepState>{chunk_state()}), in(in_), chosen(chosen_);
  const Buffer weight(weights_[0]), up(weights_.back());
  const std::vector<std::string> activation =
      gated ? std::vector<std::string>{define("ACTIVATION", kSilu)} : std::vector<std::string>{};
  for (const kernels::GemmTile& tile : kernels::gemm_tiles()) {
    if (!kernels::fits(tile, problem)) continue;
    SCOPED_TRACE(std::to_string(tile.tokens()) + " x " + std::to_string(tile.rows()));
    const uint32_t tiles = kernels::expert_tiles(tile, problem);
    const Buffer sources(rows * 4), tile_buffer(tiles * 12);
    launch("expert_lists",
           {define("EXPERTS", kExperts), define("SLOTS", kSlots), define("TILE", tile.tokens()),
            define("TILES", tiles)},
           kernels::expert_lists_shape(), {state, chosen, sources, tile_buffer, uint32_t{kRows}});
    const Buffer image(kernels::half_image_bytes(rows, kK)), out(rows * kN * 4);
    launch("halves", {define("DIM", kK), define("SLOTS", kSlots), define("IN_PER_SLOT", per_slot)},
           kernels::row_shape(rows, kK), {state, in, sources, image});
    std::vector<Argument> arguments = {state, image, sources, tile_buffer, weight, out, rows};
    if (gated) arguments.insert(arguments.end() - 2, up);
    launch("gemm", join(kernels::gemm_defines(tile, problem), activation),
           kernels::gemm_shape(tile, problem), arguments);
    const auto got = out.values();
    expect_untouched(got);

    for (uint32_t expert = 0; expert < kExperts; ++expert) {
      std::vector<float> own;  // the expert's vectors, in the order of the slots
      std::vector<size_t> slots;
      for (size_t slot = 0; slot < kValid * kSlots; ++slot) {
        if (chosen_[slot] != expert) continue;
        const auto vector = vector_of(slot);
        own.insert(own.end(), vector.begin(), vector.end());
        slots.push_back(slot);
      }
      if (slots.empty()) continue;
      const auto count = uint32_t(slots.size());
      kernels::GemmProblem single = problem;
      single.rows = count;
      single.experts = 0;
      const Buffer all(std::vector<StepState>{make_state(0, count, kContext)}), own_buffer(own);
      const Buffer own_image(kernels::half_image_bytes(count, kK)), product(count * kN * 4);
      launch("halves", {define("DIM", kK)}, kernels::row_shape(count, kK),
             {all, own_buffer, own_image});
      const Buffer own_weight(matrix_of(0, expert)), own_up(matrix_of(weights_.size() - 1, expert));
      std::vector<Argument> plain = {all, own_image, own_weight, product, count};
      if (gated) plain.insert(plain.end() - 2, own_up);
      launch("gemm", join(kernels::gemm_defines(tile, single), activation),
             kernels::gemm_shape(tile, single), plain);
      const auto expected = product.values();
      for (size_t i = 0; i < slots.size(); ++i) {
        for (size_t j = 0; j < kN; ++j) {
          ASSERT_EQ(got[slots[i] * kN + j], expected[i * kN + j]) << "slot " << slots[i];
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, ExpertProducts, testing::ValuesIn(product_cases()),
                         [](const auto& test) {
                           return std::to_string(test.param.type) +
                                  (test.param.gated ? "_gated" : "");
                         });

}  // namespace
}  // namespace jllm::test

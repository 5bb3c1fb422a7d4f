// The host operations of a mixture of experts: routing and sums against the reference, products
// against the ordinary product of each slot's vector with its expert's matrix, bit for bit.
#include <gtest/gtest.h>

#include <cmath>

#include "compiler/emit/repack.h"
#include "kernels/reference/reference.h"
#include "schema/panel_layout.h"
#include "tests/kernels/host/host_op_runner.h"
#include "tests/kernels/host/weights.h"

namespace jllm::test {
namespace {

using HostExperts = HostOpTest;

constexpr uint64_t kRows = 5, kValid = 4;  // 4 of 5 rows hold a token

StepState state_of_rows() { return state_at(2, 2 + kValid, 16); }

struct Routed {
  std::vector<uint32_t> chosen;
  Vector weights;
};

Routed route(const Vector& logits, uint64_t experts, uint64_t slots, bool renormalise,
             unsigned workers) {
  const StepState state = state_of_rows();
  Routed out = {std::vector<uint32_t>(kRows * slots, 77), Vector(kRows * slots)};
  run_op("route",
         host::RouteArgs{&state, logits.data(), out.chosen.data(), out.weights.data(), kRows,
                         experts, slots, uint64_t(renormalise)},
         workers);
  return out;
}

TEST_F(HostExperts, RouteChoosesTheLargestAndWeighsThem) {
  const uint64_t shapes[][2] = {{8, 2}, {64, 8}, {128, 8}, {3, 3}, {1, 1}};
  for (const auto& [experts, slots] : shapes) {
    Vector logits = random_.vector(kRows * experts, -6, 6);
    for (float& logit : logits) logit = std::round(logit * 4) / 4;  // many are equal
    for (const bool renormalise : {false, true}) {
      const reference::Routes expected = reference::route(
          reference::Floats(logits).first(kValid * experts), experts, slots, renormalise);
      std::vector<uint32_t> chosen;
      const Vector weights = same_for_all_workers([&](unsigned workers) {
        Routed got = route(logits, experts, slots, renormalise, workers);
        chosen = got.chosen;
        return got.weights;
      });
      for (size_t i = 0; i < expected.chosen.size(); ++i) {
        EXPECT_EQ(chosen[i], expected.chosen[i]) << experts << " experts, slot " << i;
      }
      for (size_t i = expected.chosen.size(); i < chosen.size(); ++i) EXPECT_EQ(chosen[i], 77u);
      // The difference is exact (quarters); exp to 2 units, sums of positive terms, a division.
      expect_close(weights, expected.weights, [&](size_t i) {
        return kEpsilon * (double(experts) + 8) * expected.weights[i];
      });
    }
  }
}

TEST_F(HostExperts, RouteChoosesDifferentExpertsWhateverTheLogits) {
  const uint64_t experts = 8, slots = 3;
  for (const float logit : {NAN, -INFINITY, INFINITY}) {
    const Routed got = route(Vector(kRows * experts, logit), experts, slots, true, 1);
    for (uint64_t row = 0; row < kValid; ++row) {
      for (uint64_t i = 0; i < slots; ++i) EXPECT_EQ(got.chosen[row * slots + i], i) << logit;
      EXPECT_TRUE(std::isnan(got.weights[row * slots])) << logit;
    }
  }
}

TEST_F(HostExperts, SumWeighsTheSlots) {
  const uint64_t slots = 3, n = 37;
  const StepState state = state_of_rows();
  const Vector in = random_.vector(kRows * slots * n),
               weights = random_.vector(kRows * slots, 0, 1);
  const Vector out = same_for_all_workers([&](unsigned workers) {
    Vector result(kRows * n);
    run_op("expert_sum",
           host::ExpertSumArgs{&state, in.data(), weights.data(), result.data(), kRows, slots, n},
           workers);
    return result;
  });
  const Vector expected =
      reference::expert_sum(reference::Floats(in).first(kValid * slots * n),
                            reference::Floats(weights).first(kValid * slots), slots);
  expect_close(out, expected, [](size_t) { return 2 * slots * kEpsilon; });
  for (size_t i = kValid * n; i < out.size(); ++i) EXPECT_EQ(out[i], 0) << i;
}

class HostExpertProducts : public HostOpTest {
 protected:
  static constexpr uint64_t kExperts = 6, kSlots = 3, kK = 512, kN = 48;

  void SetUp() override {
    HostOpTest::SetUp();
    for (uint32_t& expert : chosen_) expert = random_.integer(0, kExperts - 1);
  }

  // In rows of its own: what the ordinary operation makes of the vector of `slot` and its expert.
  Vector vector_of(const Vector& in, uint64_t slot, bool shared) const {
    const uint64_t at = (shared ? slot / kSlots : slot) * kK;
    return {in.begin() + at, in.begin() + at + kK};
  }

  void expect_products(const Vector& out, const Vector& in, bool shared,
                       const std::function<Vector(const Vector& in, uint64_t expert)>& product) {
    for (uint64_t slot = 0; slot < kValid * kSlots; ++slot) {
      const Vector expected = product(vector_of(in, slot, shared), chosen_[slot]);
      for (uint64_t i = 0; i < kN; ++i) ASSERT_EQ(out[slot * kN + i], expected[i]) << slot;
    }
    for (size_t i = kValid * kSlots * kN; i < out.size(); ++i) ASSERT_EQ(out[i], 0) << i;
  }

  StepState state_ = state_of_rows();
  std::vector<uint32_t> chosen_ = std::vector<uint32_t>(kRows * kSlots);
};

TEST_F(HostExpertProducts, OfBlocksAreTheOrdinaryOnes) {
  for (const WeightType type : {WeightType::kF32, WeightType::kBF16, WeightType::kQ4_K}) {
    const Weights weights = quantised(type, random_.vector(kExperts * kN * kK));
    const uint64_t expert_bytes = weights.blocks.size() / kExperts;
    for (const bool shared : {false, true}) {
      const Vector in = random_.vector(kRows * (shared ? 1 : kSlots) * kK);
      const Vector out = same_for_all_workers([&](unsigned workers) {
        Vector result(kRows * kSlots * kN);
        run_op("expert_matmul",
               host::ExpertMatmulArgs{&state_, in.data(), chosen_.data(), weights.blocks.data(),
                                      result.data(), kRows, kSlots, kN, kK, uint64_t(type),
                                      kExperts, shared},
               workers);
        return result;
      });
      expect_products(out, in, shared, [&](const Vector& vector, uint64_t expert) {
        Vector result(kN);
        run_op("matmul", host::MatmulArgs{nullptr, vector.data(),
                                          weights.blocks.data() + expert * expert_bytes,
                                          result.data(), 1, kN, kK, uint64_t(type)});
        return result;
      });
    }
  }
}

TEST_F(HostExpertProducts, OfPanelsAreTheOrdinaryOnes) {
  for (const WeightType type : {WeightType::kQ4_0, WeightType::kQ8_0, WeightType::kQ6_K}) {
    const Weights weights = random_blocks(type, kExperts * kN * kK, random_);
    const uint64_t block_bytes = weights.blocks.size() / kExperts;
    const uint64_t expert_bytes = panel_count(kN) * panel_bytes(type, kK);
    std::vector<uint8_t> panels(kExperts * expert_bytes);
    for (uint64_t e = 0; e < kExperts; ++e) {
      repack_panels(type, weights.blocks.data() + e * block_bytes, kN, kK,
                    panels.data() + e * expert_bytes);
    }
    for (const uint64_t planes : {1, 2}) {
      for (const bool shared : {false, true}) {
        const Vector in = random_.vector(kRows * (shared ? 1 : kSlots) * kK);
        const Vector out = same_for_all_workers([&](unsigned workers) {
          std::vector<host::ActivationGroup> image(in.size() / kPanelGroup);
          run_op("quantise_rows",
                 host::QuantiseArgs{&state_, in.data(), image.data(), kRows, in.size() / kRows,
                                    planes},
                 workers);
          Vector result(kRows * kSlots * kN);
          run_op("expert_product",
                 host::ExpertProductArgs{&state_, image.data(), chosen_.data(), panels.data(),
                                         result.data(), kRows, kSlots, kN, kK, uint64_t(type),
                                         kExperts, shared, planes},
                 workers);
          return result;
        });
        expect_products(out, in, shared, [&](const Vector& vector, uint64_t expert) {
          std::vector<host::ActivationGroup> image(kK / kPanelGroup);
          run_op("quantise",
                 host::QuantiseArgs{nullptr, vector.data(), image.data(), 1, kK, planes});
          Vector result(kN);
          run_op("product",
                 host::ProductArgs{nullptr, image.data(), panels.data() + expert * expert_bytes,
                                   result.data(), 1, kN, kK, uint64_t(type), planes});
          return result;
        });
      }
    }
  }
}

}  // namespace
}  // namespace jllm::test

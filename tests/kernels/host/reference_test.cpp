// The reference itself, against published and hand-computed values: everything else is held to it.
#include "kernels/reference/reference.h"

#include <gtest/gtest.h>

#include <cmath>

#include "compiler/gguf/quants.h"
#include "schema/row_layout.h"
#include "tests/kernels/host/host_op_runner.h"

namespace jllm::reference {
namespace {

using Words = std::array<uint32_t, 4>;

// Known answers of the authors' Random123 distribution (philox4x32, 10 rounds).
TEST(Reference, PhiloxMatchesItsKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox({ones, ones, ones, ones}, {ones, ones}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Reference, ShortConvMultipliesTheGatedPositions) {
  // b * x of two positions in front: 3 and 5. Then b = 2, c = 10, x = 7.
  Vector before = {3, 5};
  EXPECT_EQ(short_conv(Vector{2, 10, 7}, Vector{1, 100, 10000}, 1, &before),
            (Vector{10 * (1 * 3 + 100 * 5 + 10000 * 14)}));
  EXPECT_EQ(before, (Vector{3, 5, 14}));
  Vector nothing;  // the first of a sequence, and the next
  EXPECT_EQ(short_conv(Vector{2, 10, 7, 1, 1, 1}, Vector{1, 100, 10000}, 1, &nothing),
            (Vector{1400000, 11400}));
}

TEST(Reference, HalvesRoundToNearestEven) {
  EXPECT_EQ(f32_to_f16(1.0f), 0x3c00);
  EXPECT_EQ(f32_to_f16(1 + 0x1p-11f), 0x3c00);  // a tie goes to the even neighbour
  EXPECT_EQ(f32_to_f16(1 + 0x3p-11f), 0x3c02);
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(-0x1p-24f), 0x8001);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0x0000);
  EXPECT_EQ(f16_to_f32(0x03ff), 1023 * 0x1p-24f);
  EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(NAN))));
  EXPECT_EQ(f32_to_bf16(1 + 0x1p-8f), 0x3f80);
  EXPECT_EQ(f32_to_bf16(1 + 0x3p-8f), 0x3f82);
  EXPECT_EQ(bf16_to_f32(0xc000), -2.0f);
}

// A plane row built by hand for one type; the repacker's own tests cover the rest against this
// decoder.
TEST(Reference, DequantisesAHandMadeRow) {
  // q4_k, one block of 256: nibbles 128 B, then d = 0.5, dmin = 2, scales 1 .. 8, minima 8 .. 1.
  std::vector<uint8_t> row(row_layout(kRowQ4_K, 256).stride);
  ASSERT_EQ(row.size(), 144u);
  for (size_t j = 0; j < 128; ++j) row[j] = uint8_t(j % 16 | (15 - j % 16) << 4);
  const uint8_t header[4] = {0x00, 0x38, 0x00, 0x40};
  std::copy(header, header + 4, row.begin() + 128);
  for (unsigned s = 0; s < 8; ++s) {
    for (unsigned bit = 0; bit < 6; ++bit) {
      const unsigned scale_bit = 6 * s + bit, minimum_bit = 48 + 6 * s + bit;
      row[132 + scale_bit / 8] |= uint8_t(((s + 1) >> bit & 1) << scale_bit % 8);
      row[132 + minimum_bit / 8] |= uint8_t(((8 - s) >> bit & 1) << minimum_bit % 8);
    }
  }
  const Vector out = dequantise_row(kRowQ4_K, row, 256);
  for (unsigned w = 0; w < 256; ++w) {
    const unsigned quant = w % 32 < 16 ? w % 16 : 15 - w % 16, s = w / 32;
    EXPECT_EQ(out[w], 0.5f * float(s + 1) * float(quant) - 2.0f * float(8 - s)) << w;
  }
}

TEST(Reference, AttentionOfOnePositionIsItsValue) {
  const Vector q = {1, 2}, k = {3, 4, 0, 0}, v = {5, 6, 0, 0};
  EXPECT_EQ(attention(q, k, v, {1, 1, 2, 2}, 1.0f, 0), (Vector{5, 6}));
}

TEST(Reference, RopeTurnsAQuarter) {
  const Vector in = {1, 2, 3, 4}, frequencies = {1.57079633f};
  const Vector norm = rope(in, frequencies, 1, 4, false, 1, 1);
  const Vector neox = rope(in, frequencies, 1, 4, true, 2, 1);
  const Vector norm_wanted = {-2, 1, 3, 4}, neox_wanted = {-4, 2, 3, 4};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(norm[i], norm_wanted[i], 1e-6);
    EXPECT_NEAR(neox[i], neox_wanted[i], 1e-6);
  }
}

TEST(Reference, ThresholdsByHand) {
  // Softmax weights 8 : 4 : 2 : 1 : 1.
  const float ln2 = 0.6931472f;
  const Vector logits = {0, 3 * ln2, ln2, 2 * ln2, 0};
  StepState state = test::state_at(0, 1, 8);
  EXPECT_EQ(survivor_threshold(state, logits), -INFINITY);
  state.top_k = 2;
  EXPECT_EQ(survivor_threshold(state, logits), 2 * ln2);
  state.top_k = 4;
  EXPECT_EQ(survivor_threshold(state, logits), 0);  // the fifth ties with the fourth
  state.top_k = 0;
  state.top_p = 0.6f;
  EXPECT_EQ(survivor_threshold(state, logits), 2 * ln2);
  state.top_p = 0.45f;
  EXPECT_EQ(survivor_threshold(state, logits), 3 * ln2);
  state.top_k = 2;  // 8 : 4 among the survivors
  state.top_p = 0.6f;
  EXPECT_EQ(survivor_threshold(state, logits), 3 * ln2);
  state.top_p = 1;
  state.top_k = 0;
  state.min_p = 0.2f;
  EXPECT_NEAR(survivor_threshold(state, logits), 3 * ln2 + std::log(0.2f), 1e-6);
  state.min_p = 2;
  EXPECT_EQ(survivor_threshold(state, logits), 3 * ln2);
}

}  // namespace
}  // namespace jllm::reference

// Rotary frequencies against independent formulas: divisors, linear scaling, YaRN, long and short
// factors; scaling methods that are not supported are refused by name.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "compiler/model/model.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm::model {
namespace {

using gguf::TempFolder;
using gguf::value_of;
using gguf::Writer;

constexpr uint32_t kContext = 128;

Rope rope_of(const TinyLlama& tiny, uint32_t context = kContext) {
  const TempFolder folder;
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  const Model model = value_of(load(file));
  return value_of(make_rope(model, context));
}

std::vector<float> frequencies_of(const TinyLlama& tiny) { return rope_of(tiny).frequencies; }

std::pair<ExitCode, std::string> error_of(const TinyLlama& tiny) {
  const TempFolder folder;
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  llvm::Expected<Model> model = load(file);
  if (!model) return take_error(model.takeError());
  llvm::Expected<Rope> rope = make_rope(*model, kContext);
  if (rope) return {ExitCode::kDone, ""};
  return take_error(rope.takeError());
}

// base^(-2i/n) as a product of logarithms in long double. The compiler computes in double (error of
// a few 2^-53) and rounds to float once, so the two floats are equal or neighbours.
void expect_frequencies(const std::vector<float>& got, float base, uint32_t n,
                        const std::vector<double>& divisors) {
  ASSERT_EQ(got.size(), n / 2);
  for (uint32_t i = 0; i < n / 2; ++i) {
    const long double exact =
        std::exp(-std::log(static_cast<long double>(base)) * 2 * i / n) / divisors[i];
    const auto nearest = static_cast<float>(exact);
    EXPECT_GE(got[i], std::nextafter(nearest, 0.0f)) << i;
    EXPECT_LE(got[i], std::nextafter(nearest, 1e9f)) << i;
  }
}

TEST(Rope, FrequenciesFollowTheFormula) {
  TinyLlama tiny;
  tiny.head_dim = 64;
  for (const float base : {10000.0f, 500000.0f, 100000.0f, 1000000.0f}) {
    tiny.rope_base = base;
    expect_frequencies(frequencies_of(tiny), base, 64, std::vector<double>(32, 1.0));
  }
}

TEST(Rope, OnlyTheRotatedPartOfAHeadHasFrequencies) {
  TinyLlama tiny;
  tiny.without = {"rope.dimension_count"};
  tiny.more_keys = [](Writer& w) { w.set_u32("llama.rope.dimension_count", 8); };
  expect_frequencies(frequencies_of(tiny), 10000, 8, std::vector<double>(4, 1.0));
}

TEST(Rope, TheRopeFreqsTensorDivides) {
  TinyLlama tiny;
  tiny.rope_factors = {1, 1, 1.5f, 2, 3, 8, 32, 32};
  expect_frequencies(frequencies_of(tiny), 10000, 16,
                     {tiny.rope_factors.begin(), tiny.rope_factors.end()});
}

TEST(Rope, LinearScalingDivides) {
  TinyLlama tiny;
  tiny.more_keys = [](Writer& w) {
    w.set_string("llama.rope.scaling.type", "linear");
    w.set_f32("llama.rope.scaling.factor", 4.0f);
  };
  expect_frequencies(frequencies_of(tiny), 10000, 16, std::vector<double>(8, 4.0));
}

TEST(Rope, TheOldLinearScalingKeyDivides) {
  TinyLlama tiny;
  tiny.more_keys = [](Writer& w) { w.set_f32("llama.rope.scale_linear", 2.0f); };
  expect_frequencies(frequencies_of(tiny), 10000, 16, std::vector<double>(8, 2.0));
}

TEST(Rope, AFactorWithoutScalingMeansNothing) {
  TinyLlama tiny;
  tiny.more_keys = [](Writer& w) {
    w.set_string("llama.rope.scaling.type", "none");
    w.set_f32("llama.rope.scaling.factor", 4.0f);
  };
  expect_frequencies(frequencies_of(tiny), 10000, 16, std::vector<double>(8, 1.0));
}

// Files of models that were published before the methods had names.
TEST(Rope, AFactorAloneIsLinear) {
  TinyLlama tiny;
  tiny.more_keys = [](Writer& w) { w.set_f32("llama.rope.scaling.factor", 4.0f); };
  expect_frequencies(frequencies_of(tiny), 10000, 16, std::vector<double>(8, 4.0));
}

// The ramp, worked out by hand for 64 rotated elements, base 10000, trained for 4096 positions:
// 32 turns are made by pair 64 ln(4096 / (32 * 2 pi)) / (2 ln 10000) = 10.47 and 1 turn by 22.51,
// so that pairs up to 10 stay and pairs from 23 on are four times slower.
TEST(Rope, YarnBlendsBetweenFastAndSlowPairs) {
  TinyLlama tiny;
  tiny.head_dim = 64;
  tiny.more_keys = [](Writer& w) {
    w.set_string("llama.rope.scaling.type", "yarn");
    w.set_f32("llama.rope.scaling.factor", 4.0f);
    w.set_u32("llama.rope.scaling.original_context_length", 4096);
  };
  const Rope rope = rope_of(tiny);
  std::vector<double> divisors;
  for (int pair = 0; pair < 32; ++pair) {
    const double slowed = std::clamp((pair - 10) / 13.0, 0.0, 1.0);
    divisors.push_back(1 / (slowed / 4 + (1 - slowed)));
  }
  expect_frequencies(rope.frequencies, 10000, 64, divisors);
  EXPECT_FLOAT_EQ(rope.magnitude, 1.1386294f);  // 1 + 0.1 ln 4
}

TEST(Rope, LongFactorsApplyBeyondTheOriginalContext) {
  TinyLlama tiny;
  tiny.more_keys = [](Writer& w) {
    w.set_u32("llama.rope.scaling.original_context_length", 100);
    w.set_f32("llama.rope.scaling.attn_factor", 1.25f);
    const auto factors = [&](const char* name, float factor) {
      std::vector<uint8_t> bytes(8 * sizeof(float));
      for (size_t i = 0; i < 8; ++i) std::memcpy(&bytes[4 * i], &factor, 4);
      w.add_tensor(name, {8}, WeightType::kF32, bytes);
    };
    factors("rope_factors_long.weight", 7);
    factors("rope_factors_short.weight", 1.5f);
  };
  expect_frequencies(rope_of(tiny, 100).frequencies, 10000, 16, std::vector<double>(8, 1.5));
  expect_frequencies(rope_of(tiny, 101).frequencies, 10000, 16, std::vector<double>(8, 7));
  EXPECT_EQ(rope_of(tiny, 100).magnitude, 1.25f);
  EXPECT_EQ(rope_of(tiny, 101).magnitude, 1.25f);
}

TEST(Rope, OtherScalingMethodsAreRefusedByName) {
  for (const char* method : {"dynamic", "ntk"}) {
    TinyLlama tiny;
    tiny.more_keys = [&](Writer& w) { w.set_string("llama.rope.scaling.type", method); };
    const auto [code, text] = error_of(tiny);
    EXPECT_EQ(code, ExitCode::kUnsupported);
    EXPECT_NE(text.find("rope scaling '" + std::string(method) + "'"), std::string::npos) << text;
  }
}

TEST(Rope, AFactorThatIsNotPositiveIsInvalid) {
  for (const float factor : {0.0f, -2.0f, std::nanf("")}) {
    TinyLlama tiny;
    tiny.more_keys = [&](Writer& w) {
      w.set_string("llama.rope.scaling.type", "linear");
      w.set_f32("llama.rope.scaling.factor", factor);
    };
    const auto [code, text] = error_of(tiny);
    EXPECT_EQ(code, ExitCode::kInvalidFile);
    EXPECT_NE(text.find("is not positive"), std::string::npos) << text;
  }
}

TEST(Rope, DivisorsMustMatchTheRotatedPairs) {
  TinyLlama tiny;
  tiny.rope_factors.assign(7, 1.0f);
  const auto [code, text] = error_of(tiny);
  EXPECT_EQ(code, ExitCode::kInvalidFile);
  EXPECT_NE(text.find("rope_freqs.weight is not 8 f32 values"), std::string::npos) << text;
}

}  // namespace
}  // namespace jllm::model

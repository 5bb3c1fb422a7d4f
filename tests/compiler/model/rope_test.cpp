// model::rope_frequencies against an independent formula, with divisors and linear scaling; scaling
// methods that are not supported are refused by name.
#include <gtest/gtest.h>

#include <cmath>

#include "compiler/model/model.h"
#include "tests/compiler/gguf/raw_gguf.h"
#include "tests/compiler/model/tiny_llama.h"

namespace jllm::model {
namespace {

using gguf::TempFolder;
using gguf::value_of;
using gguf::Writer;

std::vector<float> frequencies_of(const TinyLlama& tiny) {
  const TempFolder folder;
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  const Model model = value_of(load(file));
  return value_of(rope_frequencies(model));
}

std::pair<ExitCode, std::string> error_of(const TinyLlama& tiny) {
  const TempFolder folder;
  const gguf::File file = write_and_open(tiny, folder.file("m.gguf"));
  const Model model = value_of(load(file));
  llvm::Expected<std::vector<float>> frequencies = rope_frequencies(model);
  if (frequencies) return {ExitCode::kDone, ""};
  return take_error(frequencies.takeError());
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

TEST(Rope, OtherScalingMethodsAreRefusedByName) {
  for (const char* method : {"yarn", "longrope", "dynamic"}) {
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

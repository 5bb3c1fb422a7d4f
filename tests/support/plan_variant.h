// What tests of slots, prefixes and drafts go through: plans of one tiny shape in which one thing
// or two differ from the plain one.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "tests/support/recipe.h"

namespace jllm::test {

struct PlanVariant {
  const char* name;  // of the test's case
  const char* like = "tinyllama";
  const char* type = "q4_k_m";
  uint32_t slots = 1;
  uint32_t speculate = 0;
  std::optional<WeightType> kv = std::nullopt;
  uint32_t layers = 2;
  uint32_t ffn = 256;
  uint32_t context = 128;
  bool fuse = true;

  // Rows are whole blocks of every format, a prompt is several chunks, and a window, where the
  // architecture has one, ends within the context.
  PlanRecipe recipe() const;
};

inline void PrintTo(const PlanVariant& variant, std::ostream* os) { *os << variant.name; }

// Names the cases of INSTANTIATE_TEST_SUITE_P.
inline std::string variant_name(const testing::TestParamInfo<PlanVariant>& test) {
  return test.param.name;
}

}  // namespace jllm::test

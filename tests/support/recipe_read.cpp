// Recipes where there is no compiler: the plans that the same tests of a build with one have kept.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/files.h"
#include "tests/support/recipe.h"

namespace jllm::test {

std::vector<uint8_t> plan_bytes(const PlanRecipe& recipe) {
  const char* folder = std::getenv("JLLM_TEST_PLANS");
  std::vector<uint8_t> bytes;
  if (folder != nullptr) bytes = read_file(folder + ("/" + recipe.file_name()));
  if (bytes.empty()) {
    ADD_FAILURE() << "there is no " << recipe.file_name() << ": run the tests of a build with the "
                  << "compiler first, with JLLM_TEST_PLANS naming the same folder";
    std::abort();  // every test behind it would read a plan that is none
  }
  return bytes;
}

}  // namespace jllm::test

// Plans of every released format version, as the programs of that time wrote them: they open, their
// layout is proved, and they generate the tokens that those programs generated.
// tests/golden/plans/make.sh made them.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "schema/prefix.h"
#include "tests/e2e/cli/process.h"

namespace jllm {
namespace {

std::string golden(const std::string& name) { return std::string(JLLM_GOLDEN_PLANS) + "/" + name; }

class GoldenPlan : public testing::TestWithParam<uint16_t> {
 protected:
  std::string name() const { return "plan-1." + std::to_string(GetParam()); }
  std::string path() const { return golden(name() + ".jllm"); }
};

TEST_P(GoldenPlan, IsOfItsVersion) {
  const std::vector<uint8_t> bytes = test::read_file(path());
  ASSERT_GT(bytes.size(), sizeof(PlanPrefix));
  PlanPrefix prefix;
  std::memcpy(&prefix, bytes.data(), sizeof prefix);
  EXPECT_EQ(prefix.major, 1);
  EXPECT_EQ(prefix.minor, GetParam());
}

TEST_P(GoldenPlan, GeneratesTheTokensOfItsTime) {
  const test::ProcessResult result = test::jllm({"run", path(), "-p", "Once upon", "-n", "24", "-t",
                                                 "0", "--ignore-end", "--threads", "1", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  std::istringstream recorded(test::read_text(golden(name() + ".tokens")));
  const std::vector<uint32_t> expected{std::istream_iterator<uint32_t>(recorded), {}};
  ASSERT_EQ(expected.size(), 24u);
  EXPECT_EQ(nlohmann::json::parse(result.out).at("tokens").get<std::vector<uint32_t>>(), expected);
}

TEST_P(GoldenPlan, ItsLayoutIsProved) {
  const test::ProcessResult result = test::jllmc({"inspect", path(), "--verify"});
  EXPECT_EQ(result.code, 0) << result.out << result.err;
}

INSTANTIATE_TEST_SUITE_P(Versions, GoldenPlan, testing::Values(0, 1, 2),
                         [](const testing::TestParamInfo<uint16_t>& version) {
                           return "V1_" + std::to_string(version.param);
                         });

// A version that is not the newest any more has been released: it needs its plan and its schema.
TEST(GoldenPlans, EveryEarlierVersionHasOne) {
  for (uint16_t minor = 0; minor < kPlanMinor; ++minor) {
    const std::string version = "plan-1." + std::to_string(minor);
    EXPECT_TRUE(std::filesystem::exists(golden(version + ".jllm"))) << version;
    EXPECT_TRUE(std::filesystem::exists(JLLM_RELEASED_SCHEMAS "/" + version + ".fbs")) << version;
  }
}

}  // namespace
}  // namespace jllm

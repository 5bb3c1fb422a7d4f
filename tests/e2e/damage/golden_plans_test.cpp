// Plans of every released format version, as the programs of that time wrote them: they open, their
// layout is proved, and they generate the tokens that those programs generated. Those with weights
// in a file of their own do, too, and their signatures hold.
// tests/golden/plans/make.sh made them.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "schema/prefix.h"
#include "tests/e2e/cli/process.h"
#include "tools/plan_file/signature.h"

namespace jllm {
namespace {

std::string golden(const std::string& name) { return std::string(JLLM_GOLDEN_PLANS) + "/" + name; }

class GoldenPlan : public testing::TestWithParam<uint16_t> {
 protected:
  std::string name() const { return "plan-1." + std::to_string(GetParam()); }
  std::string path() const { return golden(name() + ".jllm"); }
  void expect_tokens_of_its_time(const std::vector<std::string>& plan) const {
    std::vector<std::string> arguments = {"run", "-p",           "Once upon", "-n", "24",    "-t",
                                          "0",   "--ignore-end", "--threads", "1",  "--json"};
    arguments.insert(arguments.end(), plan.begin(), plan.end());
    const test::ProcessResult result = test::jllm(arguments);
    ASSERT_EQ(result.code, 0) << result.err;
    std::istringstream recorded(test::read_text(golden(name() + ".tokens")));
    const std::vector<uint32_t> expected{std::istream_iterator<uint32_t>(recorded), {}};
    ASSERT_EQ(expected.size(), 24u);
    EXPECT_EQ(nlohmann::json::parse(result.out).at("tokens").get<std::vector<uint32_t>>(),
              expected);
  }
};

class SplitGoldenPlan : public GoldenPlan {};

TEST_P(GoldenPlan, IsOfItsVersion) {
  const std::vector<uint8_t> bytes = test::read_file(path());
  ASSERT_GT(bytes.size(), sizeof(PlanPrefix));
  PlanPrefix prefix;
  std::memcpy(&prefix, bytes.data(), sizeof prefix);
  EXPECT_EQ(prefix.major, 1);
  EXPECT_EQ(prefix.minor, GetParam());
}

TEST_P(GoldenPlan, GeneratesTheTokensOfItsTime) { expect_tokens_of_its_time({path()}); }

TEST_P(SplitGoldenPlan, GeneratesTheSameSignedOrNot) {
  const std::string split = golden("split-1." + std::to_string(GetParam()));
  expect_tokens_of_its_time({split + ".jllm"});
  if (!tool::can_sign()) GTEST_SKIP() << "built without libsodium";
  expect_tokens_of_its_time({split + ".jllm", "--trusted-key", split + ".pub"});
}

TEST_P(GoldenPlan, ItsLayoutIsProved) {
  const test::ProcessResult result = test::jllmc({"inspect", path(), "--verify"});
  EXPECT_EQ(result.code, 0) << result.out << result.err;
}

// Every version that has such a plan in the folder: earlier ones must, the newest once it is
// released.
std::vector<uint16_t> golden_versions(const std::string& kind) {
  std::vector<uint16_t> versions;
  for (uint16_t minor = 0; minor <= kPlanMinor; ++minor) {
    if (std::filesystem::exists(golden(kind + "-1." + std::to_string(minor) + ".jllm"))) {
      versions.push_back(minor);
    }
  }
  return versions;
}

std::string version_name(const testing::TestParamInfo<uint16_t>& version) {
  return "V1_" + std::to_string(version.param);
}

INSTANTIATE_TEST_SUITE_P(Versions, GoldenPlan, testing::ValuesIn(golden_versions("plan")),
                         version_name);
INSTANTIATE_TEST_SUITE_P(Versions, SplitGoldenPlan, testing::ValuesIn(golden_versions("split")),
                         version_name);

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

// jllm run and jllm chat on a device that runs out of memory or gets hot: a /proc and /sys of the
// test's own says so.
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/e2e/cli/process.h"
#include "tests/platform/fake_sysfs.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using nlohmann::json;
using test::expect_failure;
using test::jllm;
using test::Process;
using test::ProcessResult;

constexpr uint32_t kContext = 1 << 16;  // a run takes as long as a test needs

class Care : public testing::Test {
 protected:
  Care() : sysfs_(test::jetpack_layouts()[2]) {
    static const std::vector<uint8_t> bytes = [] {
      synth::SynthOptions model = test::tiny_model();
      model.context = kContext;
      CompileOptions options;
      options.plan.context = kContext;
      options.chat_format = "chatml";
      return test::plan_bytes(model, options);
    }();
    test::write_file(plan(), bytes.data(), bytes.size());
    options_.environment = {"JLLM_SYSFS_ROOT=" + sysfs_.root()};
  }
  std::string plan() const { return dir_.file("model.jllm"); }
  std::vector<std::string> run_command(std::vector<std::string> more) const {
    std::vector<std::string> words = {"run", plan(), "-t", "0", "--ignore-end", "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  test::TempDir dir_;
  test::FakeSysfs sysfs_;
  test::ProcessOptions options_;
};

TEST_F(Care, MemoryThatRunsOutEndsARunInOrder) {
  Process process(JLLM_PROGRAM, run_command({"-p", "a", "--memory-floor", "1G"}), options_);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (process.output().empty() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  sysfs_.set_available_mib(1023);
  const ProcessResult result = process.wait();
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("[device care: 1023 MiB of memory are left, less than the floor of "
                            "1024 MiB: stopping]"),
            std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find("ended by: memory"), std::string::npos) << result.err;
}

TEST_F(Care, AHotChipSlowsARunDownAndIsReported) {
  sysfs_.set_zone("gpu-thermal", "91000");
  const ProcessResult result = jllm(run_command({"-p", "a", "-n", "4", "--json"}), options_);
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find(
                "[device care: gpu-thermal at 91.0 degrees: pausing 50 ms before each token]"),
            std::string::npos)
      << result.err;
  const json document = json::parse(result.out);
  EXPECT_EQ(document.at("finish_reason"), "length");
  const json& care = document.at("device_care");
  EXPECT_EQ(care.at("pauses"), 4);
  EXPECT_EQ(care.at("hottest_celsius"), 91.0);
  EXPECT_EQ(care.at("lowest_available_bytes"), uint64_t{5000} << 20);
  // Three of the pauses lie between the first token and the last.
  EXPECT_LT(document.at("decode_tok_s").get<double>(), 3 / 0.15);
}

TEST_F(Care, OffAndOtherStepsLeaveItAtFullSpeed) {
  sysfs_.set_zone("gpu-thermal", "91000");
  for (const char* thermal : {"off", "92,95"}) {
    const ProcessResult result =
        jllm(run_command({"-p", "a", "-n", "4", "--json", "--thermal", thermal}), options_);
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(json::parse(result.out).at("device_care").at("pauses"), 0) << thermal;
    EXPECT_EQ(result.err, "");
  }
}

TEST_F(Care, APlanThatWouldTakeTheLastMemoryIsNotLoaded) {
  sysfs_.set_available_mib(70);
  const ProcessResult result = jllm(run_command({"-n", "1"}), options_);
  expect_failure(result, 3, {"70 are available", "--memory-floor 64M", "--memory-floor 0"});
  EXPECT_EQ(jllm(run_command({"-n", "1", "--memory-floor", "0"}), options_).code, 0);
}

TEST_F(Care, AConversationOutlivesALackOfMemory) {
  test::ProcessOptions options = options_;
  options.input = "hello\nand more\n";
  Process process(JLLM_PROGRAM,
                  {"chat", plan(), "--ignore-end", "--threads", "1", "--memory-floor", "1G"},
                  options);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (process.output().empty() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  // The first answer ends, the second message is not even read, and the conversation goes on.
  sysfs_.set_available_mib(1023);
  const ProcessResult result = process.wait();
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("less than the floor of 1024 MiB: stopping]"), std::string::npos)
      << result.err;
}

TEST_F(Care, WrongOptionsAreUsageErrors) {
  expect_failure(jllm(run_command({"--memory-floor", "lots"})), 2,
                 {"--memory-floor lots", "64M, 1.5G or 0"});
  expect_failure(jllm(run_command({"--thermal", "90,80"})), 2,
                 {"--thermal 90,80", "ascending temperatures"});
}

TEST_F(Care, HelpNamesTheOptions) {
  for (const char* command : {"run", "chat"}) {
    const ProcessResult help = jllm({command, "--help"});
    EXPECT_NE(help.out.find("--memory-floor"), std::string::npos) << command;
    EXPECT_NE(help.out.find("--thermal"), std::string::npos) << command;
  }
}

}  // namespace
}  // namespace jllm

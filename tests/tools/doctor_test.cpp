// The target file that `jllm doctor` writes is one that jllmc reads, with the device's own figures.
#include <gtest/gtest.h>

#include "compiler/support/error.h"
#include "compiler/target/target.h"
#include "tests/support/files.h"
#include "tests/support/gpu.h"
#include "tools/jllm/device_facts.h"
#include "tools/jllm/session.h"

namespace jllm::tool {
namespace {

// An Orin Nano 8GB in its 25 W mode, as its driver describes it.
DeviceFacts orin() {
  DeviceFacts facts;
  facts.name = "Orin";
  facts.compute_capability = 87;
  facts.driver_version = 12060;
  facts.sm_count = 8;
  facts.shared_per_sm = 164 << 10;
  facts.shared_per_block = 163 << 10;
  facts.l2 = 2 << 20;
  facts.clock_khz = 918000;
  facts.memory_khz = 3199000;
  facts.bus_bits = 128;
  facts.integrated = true;
  facts.total_memory = uint64_t{7618} << 20;
  facts.available_memory = uint64_t{6600} << 20;
  facts.context_memory = uint64_t{150} << 20;
  return facts;
}

target::Target read_back(const std::string& json) {
  const test::TempDir folder;
  const std::string path = folder.file("mine.json");
  test::write_text(path, json);
  llvm::Expected<target::Target> target = target::find(path);
  if (target) return *target;
  ADD_FAILURE() << take_error(target.takeError()).second;
  return {};
}

TEST(Doctor, TargetFileIsReadBackWithTheDevicesFigures) {
  const target::Target target = read_back(target_json(orin(), "my-orin", 0));
  EXPECT_EQ(target.compute_capability, 87u);
  EXPECT_EQ(target.sm_count, 8u);
  EXPECT_EQ(target.max_cuda_major, 12u);
  EXPECT_EQ(target.visible_bytes, uint64_t{7618} << 20);
  EXPECT_EQ(target.budget_bytes, uint64_t{6300} << 20);  // 6600 less the 300 MiB reserve
  EXPECT_EQ(target.context_bytes, uint64_t{150} << 20);
  // 2 x 3.199 GHz x 16 bytes = 102.4 GB/s, planned with 0.75 of it.
  EXPECT_NEAR(target.bandwidth_gbps, 0.75 * 2 * 3.199 * 16, 0.1);
}

TEST(Doctor, AGivenBandwidthReplacesTheDriversAndNoneIsAnError) {
  DeviceFacts facts = orin();
  facts.memory_khz = 0;
  EXPECT_NEAR(read_back(target_json(facts, "x", 68)).bandwidth_gbps, 0.75 * 68, 1e-9);
  try {
    target_json(facts, "x", 0);
    ADD_FAILURE() << "a target without a bandwidth was written";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.code, kUsage);
  }
}

TEST(Doctor, TheDeviceAtHandMakesAValidTarget) {
  JLLM_NEEDS_GPU();
  const DeviceFacts facts = read_device_facts(0);
  const target::Target target = read_back(target_json(facts, "here", 0));
  EXPECT_EQ("sm_" + std::to_string(target.compute_capability), test::gpu_target());
  EXPECT_GT(target.budget_bytes, 0u);
}

TEST(Doctor, WithoutADriverTheReasonIsSaid) {
  if (test::no_gpu_reason().empty()) GTEST_SKIP() << "there is a GPU";
  try {
    read_device_facts(0);
    ADD_FAILURE() << "found a device where there is none";
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.code, kDevice);
  }
}

}  // namespace
}  // namespace jllm::tool

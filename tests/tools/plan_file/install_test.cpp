// Installing a plan: at every moment there is a whole plan under the name in use, shown by killing
// the installation at each of its system calls.
#include "tools/plan_file/install.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "tests/support/kill_at.h"
#include "tests/tools/plan_file/plans.h"
#include "tools/plan_file/sign.h"
#include "tools/plan_file/signature.h"

namespace jllm {
namespace {

using test::make_plan_file;
using test::outcome_of;
using test::run_and_kill;
using tool::install_plan;
using tool::PlanFile;
using tool::PlanPaths;

class Install : public testing::Test {
 protected:
  // Two plans of different weights, split; a device's folder with none.
  Install() {
    make_plan_file(work_.file("a.jllm"), {true, 64, 0});
    make_plan_file(work_.file("b.jllm"), {true, 64, 1});
  }
  std::string current() const { return device_.file("model.jllm"); }
  std::vector<uint8_t> bytes(const std::string& name) const {
    return test::read_file(work_.file(name));
  }
  // Puts a plan and its weights where an installation would have, without the wait for the disk.
  void place(const std::string& name, const test::TempDir& device, const std::string& as) const {
    const std::string weights =
        PlanFile(work_.file(name)).view().plan().weight_file()->name()->str();
    std::filesystem::copy_file(work_.file(name), device.file(as));
    std::filesystem::copy_file(work_.file(weights), device.file(weights));
  }
  void expect_current(const std::string& name) const {
    EXPECT_EQ(test::read_file(current()), bytes(name));
    PlanFile(current()).verify();
  }

  test::TempDir work_, device_;
};

TEST_F(Install, TheFirstTheNextAndBack) {
  install_plan(work_.file("a.jllm"), current());
  expect_current("a.jllm");
  install_plan(work_.file("b.jllm"), current());
  expect_current("b.jllm");
  EXPECT_EQ(test::read_file(tool::previous_name(current())), bytes("a.jllm"));
  EXPECT_EQ(device_.entries().size(), 4u);  // two plans, two weight files
  tool::roll_back(current());
  expect_current("a.jllm");
  tool::roll_back(current());
  expect_current("b.jllm");
  EXPECT_EQ(device_.entries().size(), 4u);
}

TEST_F(Install, WeightsThatAreThereAreNotCopied) {
  install_plan(work_.file("a.jllm"), current());
  make_plan_file(work_.file("longer.jllm"), {true, 128, 0});
  // Installed from where its weights are not.
  const test::TempDir download;
  test::write_file(download.file("new.jllm"), bytes("longer.jllm").data(),
                   bytes("longer.jllm").size());
  PlanPaths paths(download.file("new.jllm"));
  test::expect_refusal(outcome_of([&] { install_plan(paths, current()); }), tool::kFailed,
                       "No such file");
  paths.weights = test::weight_file_in(device_);
  install_plan(paths, current());
  expect_current("longer.jllm");
}

TEST_F(Install, DamagedWeightsOnTheDeviceAreReplaced) {
  install_plan(work_.file("a.jllm"), current());
  const std::string weights = test::weight_file_in(device_);
  const std::vector<uint8_t> whole = test::read_file(weights);
  test::flip(weights, whole.size() / 2);
  install_plan(work_.file("a.jllm"), current());
  EXPECT_EQ(test::read_file(weights), whole);
  expect_current("a.jllm");
}

TEST_F(Install, WhatIsDamagedIsNotInstalled) {
  install_plan(work_.file("a.jllm"), current());
  const std::vector<std::string> before = device_.entries();
  const std::vector<uint8_t> plan = bytes("b.jllm");
  test::flip(work_.file("b.jllm"), plan.size() - kSegmentAlignment);  // the last segment
  EXPECT_EQ(outcome_of([&] { install_plan(work_.file("b.jllm"), current()); }).code,
            tool::kInvalidFile);
  EXPECT_EQ(device_.entries(), before);
  expect_current("a.jllm");
}

TEST_F(Install, OnlyTrustedPlansWhereAKeyIsNamed) {
  if (!tool::can_sign()) GTEST_SKIP() << "built with JLLM_SIGNATURES=OFF";
  tool::make_keys(work_.file("key"));
  tool::sign_plan(work_.file("a.jllm"), work_.file("key.key"), work_.file("a.jllm"));
  PlanPaths paths(work_.file("a.jllm"));
  paths.trusted_key = work_.file("key.pub");
  install_plan(paths, current());
  expect_current("a.jllm");
  paths.plan = work_.file("b.jllm");
  test::expect_refusal(outcome_of([&] { install_plan(paths, current()); }), tool::kInvalidFile,
                       "not signed");
  expect_current("a.jllm");
}

TEST_F(Install, NothingToGoBackTo) {
  install_plan(work_.file("a.jllm"), current());
  test::expect_refusal(outcome_of([&] { tool::roll_back(current()); }), tool::kFailed,
                       "No such file");
  expect_current("a.jllm");
}

// What an update may leave behind, whenever it is cut short: one of the two plans, whole, with
// weights that are whole, too. And the next installation succeeds over the remains.
TEST_F(Install, KilledAtEverySystemCall) {
  int kills = 0;
  bool seen_old = false, seen_new = false;
  for (int kill_at = 1;; ++kill_at) {
    const test::TempDir device;
    const std::string current = device.file("model.jllm");
    place("a.jllm", device, "model.jllm");
    const std::optional<int> calls =
        run_and_kill(kill_at, [&] { install_plan(work_.file("b.jllm"), current); });
    if (!calls) GTEST_SKIP() << "ptrace is not allowed here";
    const bool is_new = test::read_file(current) == bytes("b.jllm");
    EXPECT_TRUE(is_new || test::read_file(current) == bytes("a.jllm")) << "killed at " << kill_at;
    PlanFile(current).verify();
    (is_new ? seen_new : seen_old) = true;
    install_plan(work_.file("b.jllm"), current);
    EXPECT_EQ(test::read_file(current), bytes("b.jllm"));
    for (const std::string& name : device.entries()) {
      EXPECT_EQ(name.find(".tmp."), std::string::npos) << name << ", killed at " << kill_at;
    }
    if (*calls >= 0) break;
    ++kills;
  }
  EXPECT_GT(kills, 50);
  EXPECT_TRUE(seen_old);
  EXPECT_TRUE(seen_new);
  RecordProperty("kills", kills);
}

TEST_F(Install, RollbackKilledAtEverySystemCall) {
  bool seen_old = false, seen_new = false;
  for (int kill_at = 1;; ++kill_at) {
    const test::TempDir device;
    const std::string current = device.file("model.jllm");
    place("a.jllm", device, "model.jllm.previous");
    place("b.jllm", device, "model.jllm");
    const std::optional<int> calls = run_and_kill(kill_at, [&] { tool::roll_back(current); });
    if (!calls) GTEST_SKIP() << "ptrace is not allowed here";
    const bool back = test::read_file(current) == bytes("a.jllm");
    EXPECT_EQ(test::read_file(current), bytes(back ? "a.jllm" : "b.jllm"));
    EXPECT_EQ(test::read_file(tool::previous_name(current)), bytes(back ? "b.jllm" : "a.jllm"));
    PlanFile(current).verify();
    (back ? seen_new : seen_old) = true;
    if (*calls >= 0) break;
  }
  EXPECT_TRUE(seen_old);
  EXPECT_TRUE(seen_new);
}

}  // namespace
}  // namespace jllm

// Watts of rails and energy over time, from the files of each JetPack release, and from damaged
// ones.
#include "executor/platform/power.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/platform/fake_sysfs.h"

namespace jllm::platform {
namespace {

using test::FakeLayout;
using test::FakePowerChip;
using test::FakeRail;
using test::FakeSysfs;
using test::jetpack_layouts;
using test::layout_name;

const FakeLayout& layout(const std::string& name) {
  for (const FakeLayout& candidate : jetpack_layouts()) {
    if (candidate.name == name) return candidate;
  }
  throw std::runtime_error("no layout " + name);
}

class PowerOf : public testing::TestWithParam<FakeLayout> {};

TEST_P(PowerOf, EachRailHasItsWatts) {
  const FakeSysfs fake(GetParam());
  const Sysfs sysfs(fake.root());
  const std::vector<PowerRail> rails = sysfs.power_rails();
  size_t i = 0;
  for (const FakePowerChip& chip : GetParam().power) {
    for (const FakeRail& expected : chip.rails) {
      if (std::string(expected.label) == "NC") continue;
      ASSERT_LT(i, rails.size());
      EXPECT_EQ(rails[i].name, expected.label);
      EXPECT_NEAR(sysfs.watts(rails[i]).value_or(-1),
                  1e-6 * expected.millivolts * expected.milliamperes, 1e-9);
      ++i;
    }
  }
  EXPECT_EQ(i, rails.size());
}

TEST_P(PowerOf, TheTotalIsTheInputsOrTheSumOfTheParts) {
  static const std::map<std::string, std::pair<std::string, double>> kExpected = {
      {"JetPack4Nano", {"POM_5V_IN", 2}},
      {"JetPack5Orin", {"VDD_IN", 5.52}},
      {"JetPack6Orin", {"VDD_IN", 5.52}},
      {"JetPack7Orin", {"VDD_IN", 5.52}},
      {"JetPack7Thor", {"VIN", 30}},
      {"JetPack6AgxOrin", {"sum of VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0", 6 + 1 + 4}}};
  const FakeSysfs fake(GetParam());
  PowerMeter meter{Sysfs(fake.root())};
  EXPECT_FALSE(meter.total().has_value()) << "before anything was read";
  meter.sample(0);
  const auto& [source, watts] = kExpected.at(GetParam().name);
  EXPECT_EQ(meter.source(), source);
  ASSERT_TRUE(meter.total().has_value());
  EXPECT_NEAR(*meter.total(), watts, 1e-9);
}

INSTANTIATE_TEST_SUITE_P(JetPack, PowerOf, testing::ValuesIn(jetpack_layouts()), layout_name);

TEST(Power, EnergyIsTheAreaBelowTheSamples) {
  const FakeSysfs fake(layout("JetPack6Orin"));
  PowerMeter meter{Sysfs(fake.root())};
  EXPECT_FALSE(meter.energy().mean_watts().has_value());
  const auto sample = [&](double now, int milliamperes) {
    fake.set_milliamperes("VDD_IN", std::to_string(milliamperes));
    meter.sample(now);
  };
  sample(100, 1000);  // 5 W
  EXPECT_EQ(meter.energy().seconds, 0);
  sample(100.5, 2000);  // 10 W
  EXPECT_DOUBLE_EQ(meter.energy().joules, 0.5 * 7.5);
  const Energy before = meter.energy();
  sample(102.5, 3000);  // 15 W, the longest gap
  const Energy stretch = meter.energy() - before;
  EXPECT_DOUBLE_EQ(stretch.joules, 2 * 12.5);
  EXPECT_DOUBLE_EQ(stretch.seconds, 2);
  EXPECT_DOUBLE_EQ(*stretch.mean_watts(), 12.5);
}

TEST(Power, TimeOfWhichNothingIsKnownDoesNotCount) {
  const FakeSysfs fake(layout("JetPack6Orin"));
  PowerMeter meter(Sysfs(fake.root()), 1);
  meter.sample(0);
  meter.sample(1.5);  // too far apart
  EXPECT_EQ(meter.energy().seconds, 0);
  meter.sample(2);
  EXPECT_DOUBLE_EQ(meter.energy().joules, 0.5 * 5.52);
  fake.set_milliamperes("VDD_IN", "nonsense");
  meter.sample(2.5);
  EXPECT_FALSE(meter.total().has_value());
  fake.set_milliamperes("VDD_IN", "1104");
  meter.sample(3);  // the one before could not be read
  EXPECT_DOUBLE_EQ(meter.energy().seconds, 0.5);
  meter.sample(3);  // no time
  meter.sample(2);  // back in time
  EXPECT_DOUBLE_EQ(meter.energy().seconds, 0.5);
  meter.sample(2.25);
  EXPECT_DOUBLE_EQ(meter.energy().seconds, 0.75);
}

TEST(Power, NoTotalIsMadeOfWhatIsLeft) {
  const FakeSysfs fake(layout("JetPack6AgxOrin"));
  PowerMeter meter{Sysfs(fake.root())};
  for (const char* text : {"", "-1", "1 A", "0x10", "99999999999999999999", "900000"}) {
    fake.set_milliamperes("VDD_CPU_CV", text);
    meter.sample(0);
    EXPECT_FALSE(meter.watts()[1].has_value()) << text;
    EXPECT_NEAR(meter.watts()[0].value_or(-1), 6, 1e-9);
    EXPECT_FALSE(meter.total().has_value()) << text;
  }
  fake.set_milliamperes("VDD_CPU_CV", "0");
  meter.sample(0);
  EXPECT_NEAR(meter.total().value_or(-1), 10, 1e-9);
}

// A part of the module is no reason to say nothing of the whole.
TEST(Power, TheTotalStandsWithoutTheParts) {
  const FakeSysfs fake(layout("JetPack6Orin"));
  fake.set_milliamperes("VDD_SOC", "?");
  PowerMeter meter{Sysfs(fake.root())};
  meter.sample(0);
  EXPECT_NEAR(meter.total().value_or(-1), 5.52, 1e-9);
}

TEST(Power, MachinesWithoutRailsHaveNone) {
  const test::TempDir dir;
  PowerMeter meter{Sysfs(dir.path())};
  meter.sample(0);
  meter.sample(1);
  EXPECT_TRUE(meter.rails().empty());
  EXPECT_EQ(meter.source(), "");
  EXPECT_FALSE(meter.total().has_value());
  EXPECT_EQ(meter.energy().seconds, 0);
}

}  // namespace
}  // namespace jllm::platform

// What the system's files say, laid out as each JetPack release lays them out, and damaged.
#include "executor/platform/sysfs.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "tests/platform/fake_sysfs.h"

namespace jllm::platform {
namespace {

using test::FakeLayout;
using test::FakeSysfs;
using test::FakeZone;
using test::jetpack_layouts;
using test::layout_name;

class Layouts : public testing::TestWithParam<FakeLayout> {};

TEST_P(Layouts, MemoryAndTheKindOfMachineAreRead) {
  const FakeSysfs fake(GetParam());
  const Sysfs sysfs(fake.root());
  EXPECT_EQ(sysfs.mem_available(), uint64_t{5000} << 20);
  EXPECT_TRUE(sysfs.is_jetson());
}

TEST_P(Layouts, ZonesHaveTheirTemperaturesAndTripPoints) {
  const FakeSysfs fake(GetParam());
  const Sysfs sysfs(fake.root());
  const std::vector<ThermalZone> zones = sysfs.zones();
  ASSERT_EQ(zones.size(), GetParam().zones.size());
  for (size_t i = 0; i < zones.size(); ++i) {
    const FakeZone& expected = GetParam().zones[i];
    EXPECT_EQ(zones[i].type, expected.type);
    EXPECT_EQ(zones[i].throttles_at.value_or(0) * 1000, expected.passive);
    EXPECT_EQ(zones[i].shuts_down_at.value_or(0) * 1000, expected.critical);
    const bool is_off = expected.temp == nullptr || std::string(expected.temp) == "-256000";
    const std::optional<double> celsius = sysfs.temperature(zones[i]);
    ASSERT_EQ(celsius.has_value(), !is_off) << expected.type;
    if (is_off) continue;
    EXPECT_EQ(*celsius * 1000, std::stoi(expected.temp));
  }
}

TEST_P(Layouts, TheChipsSensorsAreToldFromOthers) {
  static const std::set<std::string> kOthers = {"AO-therm", "PLL-therm", "PMIC-Die",
                                                "thermal-fan-est"};
  for (const ThermalZone& zone : Sysfs(FakeSysfs(GetParam()).root()).zones()) {
    EXPECT_EQ(zone.is_of_chip(), kOthers.count(zone.type) == 0) << zone.type;
  }
}

TEST_P(Layouts, ThrottlingIsToldByTheRightDevices) {
  const FakeSysfs fake(GetParam());
  const Sysfs sysfs(fake.root());
  static const std::set<std::string> kOthers = {"pwm-fan", "gpu-balanced", "thermal-cpufreq-0"};
  const std::vector<CoolingDevice> devices = sysfs.cooling_devices();
  ASSERT_EQ(devices.size(), GetParam().devices.size());
  for (const CoolingDevice& device : devices) {
    EXPECT_EQ(device.tells_of_throttling(), kOthers.count(device.type) == 0) << device.type;
    EXPECT_TRUE(sysfs.state(device).has_value());
  }
}

TEST_P(Layouts, TheGpusClockIsFound) {
  const FakeSysfs fake(GetParam());
  const std::optional<GpuClock> clock = Sysfs(fake.root()).gpu_clock();
  ASSERT_TRUE(clock.has_value());
  EXPECT_EQ(clock->mhz, 612);
  EXPECT_EQ(clock->cap_mhz, 1020);
}

INSTANTIATE_TEST_SUITE_P(JetPack, Layouts, testing::ValuesIn(jetpack_layouts()), layout_name);

TEST(Sysfs, AnEmptyRootHasNothing) {
  const test::TempDir dir;
  const Sysfs sysfs(dir.path());
  EXPECT_FALSE(sysfs.mem_available().has_value());
  EXPECT_FALSE(sysfs.is_jetson());
  EXPECT_TRUE(sysfs.zones().empty());
  EXPECT_TRUE(sysfs.cooling_devices().empty());
  EXPECT_FALSE(sysfs.gpu_clock().has_value());
  EXPECT_TRUE(sysfs.power_rails().empty());
  EXPECT_FALSE(sysfs.cpu_mhz().has_value());
}

TEST(Sysfs, GarbledFilesHaveNoValue) {
  const FakeSysfs fake(jetpack_layouts()[2]);
  const Sysfs sysfs(fake.root());
  for (const char* text : {"", "MemAvailable\n", "MemAvailable: many kB\n", "MemFree: 7 kB\n",
                           "MemAvailable: 99999999999999999999 kB\n", "\xff\xfe\n"}) {
    fake.put("proc/meminfo", text);
    EXPECT_FALSE(sysfs.mem_available().has_value()) << text;
  }
  const ThermalZone zone = sysfs.zones().front();
  for (const char* text :
       {"", "hot", "51250 mC", "1e3", "99999999999999999999", "-256000", "300000", "51250.5"}) {
    fake.set_zone(zone.type, text);
    EXPECT_FALSE(sysfs.temperature(zone).has_value()) << text;
  }
  const CoolingDevice device = sysfs.cooling_devices().front();
  for (const char* text : {"", "-1", "on", "0x1"}) {
    fake.set_device(device.type, text);
    EXPECT_FALSE(sysfs.state(device).has_value()) << text;
  }
  fake.put("sys/devices/platform/17000000.gpu/devfreq_dev/cur_freq", "fast\n");
  EXPECT_FALSE(sysfs.gpu_clock().has_value());
}

TEST(Sysfs, TripPointsThatCannotBeAreIgnored) {
  const FakeSysfs fake(jetpack_layouts()[2]);
  for (const char* text : {"0\n", "-1\n", "999000\n", "warm\n"}) {
    fake.put("sys/class/thermal/thermal_zone0/trip_point_1_temp", text);  // its passive one
    EXPECT_FALSE(Sysfs(fake.root()).zones().front().throttles_at.has_value()) << text;
  }
}

TEST(Sysfs, ClocksAreReadWhereTheyAre) {
  const FakeSysfs fake(jetpack_layouts()[2]);
  fake.put("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1510400\n");
  EXPECT_EQ(Sysfs(fake.root()).cpu_mhz(), 1510.4);
}

// Programs look where JLLM_SYSFS_ROOT says: so they can be tried on another machine's files.
TEST(Sysfs, ItsRootIsTheSystemsOrGiven) {
  const char* const given = std::getenv("JLLM_SYSFS_ROOT");
  const std::string before = given != nullptr ? given : "";
  ASSERT_EQ(setenv("JLLM_SYSFS_ROOT", "/elsewhere", 1), 0);
  EXPECT_EQ(sysfs_root(), "/elsewhere");
  ASSERT_EQ(unsetenv("JLLM_SYSFS_ROOT"), 0);
  EXPECT_EQ(sysfs_root(), "");
  if (given == nullptr) return;
  ASSERT_EQ(setenv("JLLM_SYSFS_ROOT", before.c_str(), 1), 0);
}

TEST(Sysfs, ThisMachineCanBeRead) {
  const Sysfs sysfs;
  const std::optional<uint64_t> available = sysfs.mem_available();
  ASSERT_TRUE(available.has_value());
  EXPECT_GT(*available, uint64_t{1} << 20);
  for (const ThermalZone& zone : sysfs.zones()) EXPECT_FALSE(zone.type.empty());
}

}  // namespace
}  // namespace jllm::platform

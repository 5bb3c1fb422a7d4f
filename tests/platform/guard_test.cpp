// The policy: when it stops, how it backs off and comes back, how often it looks, what it reports.
#include "executor/platform/guard.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "tests/platform/fake_sysfs.h"

namespace jllm::platform {
namespace {

using test::FakeLayout;
using test::FakeSysfs;
using test::jetpack_layouts;
using test::layout_name;

const FakeLayout& orin() { return jetpack_layouts()[2]; }

constexpr uint64_t kMebibyte = 1 << 20;

// A guard and a clock that goes on by more than its interval with each check.
class Watch {
 public:
  explicit Watch(const FakeSysfs& fake, const GuardOptions& options = {})
      : guard(Sysfs(fake.root()), options) {}
  Guard::Verdict next() { return guard.check(now += 1); }

  Guard guard;
  double now = 0;
};

TEST(Guard, StopsBelowTheMemoryFloorAndNotAtIt) {
  const FakeSysfs fake(orin());
  GuardOptions options;
  options.memory_floor = 100 * kMebibyte;
  Watch watch(fake, options);
  EXPECT_FALSE(watch.next().stop);
  fake.set_available_mib(100);
  EXPECT_FALSE(watch.next().stop);
  fake.set_available_mib(99);
  const Guard::Verdict verdict = watch.next();
  EXPECT_TRUE(verdict.stop);
  EXPECT_EQ(verdict.notice, "99 MiB of memory are left, less than the floor of 100 MiB: stopping");
  EXPECT_EQ(watch.guard.report().lowest_available, 99 * kMebibyte);
  fake.set_available_mib(101);
  EXPECT_FALSE(watch.next().stop) << "a chat goes on when there is memory again";
}

TEST(Guard, WithoutAFloorNothingStops) {
  const FakeSysfs fake(orin());
  Watch watch(fake);
  fake.set_available_mib(0);
  EXPECT_FALSE(watch.next().stop);
}

TEST(Guard, UnreadableMemoryStopsNothing) {
  const FakeSysfs fake(orin());
  GuardOptions options;
  options.memory_floor = 100 * kMebibyte;
  Watch watch(fake, options);
  fake.put("proc/meminfo", "?\n");
  EXPECT_FALSE(watch.next().stop);
  EXPECT_FALSE(watch.guard.report().lowest_available.has_value());
  EXPECT_TRUE(watch.guard.has_room_for(uint64_t{1} << 50));
}

TEST(Guard, RoomIsWhatIsAvailableLessTheFloor) {
  const FakeSysfs fake(orin());  // 5000 MiB
  GuardOptions options;
  options.memory_floor = 1000 * kMebibyte;
  const Guard guard(Sysfs(fake.root()), options);
  EXPECT_TRUE(guard.has_room_for(4000 * kMebibyte));
  EXPECT_FALSE(guard.has_room_for(4000 * kMebibyte + 1));
  EXPECT_FALSE(guard.has_room_for(UINT64_MAX));
  EXPECT_TRUE(Guard(Sysfs(fake.root()), {}).has_room_for(UINT64_MAX)) << "not watched";
}

class EachJetPack : public testing::TestWithParam<FakeLayout> {};

// 9, 6 and 3 degrees below the release's own throttle point; 2 degrees back before a step is left.
TEST_P(EachJetPack, BacksOffInStepsBelowTheThrottlePoint) {
  const FakeSysfs fake(GetParam());
  Watch watch(fake);
  const std::string zone = std::string(GetParam().zones[1].type).rfind("AO", 0) == 0
                               ? "CPU-therm"
                               : GetParam().zones[1].type;
  int throttle = 0;
  for (const test::FakeZone& each : GetParam().zones) {
    if (each.type == zone) throttle = each.passive;
  }
  ASSERT_GE(throttle, 99000);
  const struct {
    int below;  // milli-degrees under the throttle point
    double pause;
  } steps[] = {{9001, 0},     {9000, 0.05}, {6001, 0.05}, {6000, 0.1},
               {3000, 0.2},   {0, 0.2},     {5000, 0.2},  // not left yet
               {5001, 0.1},                               // left
               {11000, 0.05}, {11001, 0}};
  for (const auto& step : steps) {
    fake.set_zone(zone, std::to_string(throttle - step.below));
    EXPECT_DOUBLE_EQ(watch.next().pause_seconds, step.pause) << step.below;
  }
  EXPECT_EQ(watch.guard.report().highest_level, 3u);
  EXPECT_EQ(watch.guard.report().hottest_zone, zone);
  EXPECT_EQ(watch.guard.report().hottest, throttle / 1000.0);
}

INSTANTIATE_TEST_SUITE_P(JetPack, EachJetPack, testing::ValuesIn(jetpack_layouts()), layout_name);

TEST(Guard, ASensorThatIsNotTheChipsIsIgnored) {
  const FakeSysfs fake(jetpack_layouts()[0]);  // its PMIC says 100 degrees, always
  Watch watch(fake);
  EXPECT_EQ(watch.next().pause_seconds, 0);
}

TEST(Guard, SwitchedOffAndGarbledSensorsAreIgnored) {
  const FakeSysfs fake(orin());
  Watch watch(fake);
  fake.set_zone("gpu-thermal", "-256000");
  fake.set_zone("cpu-thermal", "ouch");
  EXPECT_EQ(watch.next().pause_seconds, 0);
  EXPECT_EQ(watch.guard.report().hottest_zone, "tj-thermal");
}

TEST(Guard, WithoutATripPointOrinsIsTaken) {
  const FakeLayout bare = {"Bare", "nvidia,tegra234|", {{"tj-thermal", "89000", 0, 0}}, {}, "sys/x",
                           false};
  const FakeSysfs fake(bare);
  Watch watch(fake);
  EXPECT_EQ(watch.next().pause_seconds, 0);
  fake.set_zone("tj-thermal", "90000");
  EXPECT_DOUBLE_EQ(watch.next().pause_seconds, 0.05);
}

TEST(Guard, GivenStepsAreTaken) {
  const FakeSysfs fake(orin());
  GuardOptions options;
  options.steps = {50.5, 60};
  Watch watch(fake, options);
  EXPECT_DOUBLE_EQ(watch.next().pause_seconds, 0.05);  // 51.25
  fake.set_zone("gpu-thermal", "60000");
  EXPECT_DOUBLE_EQ(watch.next().pause_seconds, 0.1);
}

TEST(Guard, AThrottleAlertBacksOffFurtherAsLongAsItLasts) {
  for (const char* alert : {"gpu-throttle-alert", "hot-surface-alert", "devfreq-17000000.gpu"}) {
    const FakeSysfs fake(orin());
    Watch watch(fake);
    EXPECT_EQ(watch.next().pause_seconds, 0);
    fake.set_device(alert, "1");
    const Guard::Verdict first = watch.next();
    EXPECT_DOUBLE_EQ(first.pause_seconds, 0.4);
    EXPECT_EQ(first.notice, std::string(alert) + " is on: pausing 400 ms before each token");
    EXPECT_DOUBLE_EQ(watch.next().pause_seconds, 0.8);
    EXPECT_DOUBLE_EQ(watch.next().pause_seconds, 1.6);
    EXPECT_DOUBLE_EQ(watch.next().pause_seconds, 1.6) << "the longest";
    fake.set_device(alert, "0");
    const Guard::Verdict over = watch.next();
    EXPECT_EQ(over.pause_seconds, 0);
    EXPECT_EQ(over.notice, "cool again: full speed");
    EXPECT_EQ(watch.guard.report().alerts, std::vector<std::string>{alert});
  }
}

TEST(Guard, OffLooksAtNoTemperature) {
  const FakeSysfs fake(orin());
  GuardOptions options;
  options.thermal = false;
  Watch watch(fake, options);
  fake.set_zone("tj-thermal", "98000");
  fake.set_device("gpu-throttle-alert", "1");
  EXPECT_EQ(watch.next().pause_seconds, 0);
  EXPECT_FALSE(watch.guard.report().hottest.has_value());
}

TEST(Guard, LooksAFewTimesASecondWhateverTheRateOfTokens) {
  const FakeSysfs fake(orin());
  Guard guard(Sysfs(fake.root()), {});
  for (int token = 0; token < 10000; ++token) guard.check(token * 1e-3);  // 1000 tokens a second
  EXPECT_GE(guard.report().looks, 39u);
  EXPECT_LE(guard.report().looks, 41u);
}

// Two files a sensor and no more; a bound far from what is usual, for machines under load.
TEST(Guard, ALookCostsLittle) {
  const FakeSysfs fake(orin());
  Watch watch(fake);
  const auto start = std::chrono::steady_clock::now();
  constexpr int kLooks = 200;
  for (int i = 0; i < kLooks; ++i) watch.next();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  RecordProperty("microseconds_a_look", std::to_string(1e6 * took.count() / kLooks));
  EXPECT_LT(took.count() / kLooks, 0.02);
}

TEST(Guard, NoticesTellOfChangesOnly) {
  const FakeSysfs fake(orin());
  Watch watch(fake);
  fake.set_zone("tj-thermal", "93500");
  EXPECT_EQ(watch.next().notice, "tj-thermal at 93.5 degrees: pausing 100 ms before each token");
  EXPECT_EQ(watch.next().notice, "");
  EXPECT_EQ(watch.guard.check(watch.now).notice, "") << "no look, no news";
  fake.set_zone("tj-thermal", "96000");
  EXPECT_NE(watch.next().notice, "");
  fake.set_zone("tj-thermal", "60000");
  EXPECT_EQ(watch.next().notice, "cool again: full speed");
}

TEST(Guard, ReportsWhatItSawAndDid) {
  const FakeSysfs fake(orin());
  GuardOptions options;
  options.memory_floor = kMebibyte;
  Watch watch(fake, options);
  watch.next();
  fake.set_zone("tj-thermal", "93500");
  fake.set_available_mib(321);
  watch.next();
  watch.next();
  fake.set_device("gpu-throttle-alert", "1");
  watch.next();
  const GuardReport& report = watch.guard.report();
  EXPECT_EQ(report.pauses, 3u);
  EXPECT_NEAR(report.paused_seconds, 0.1 + 0.1 + 0.4, 1e-9);
  EXPECT_EQ(report.text(),
            "at least 321 MiB of memory were free; 93.5 degrees at most (tj-thermal); "
            "gpu-throttle-alert; paused 3 times, 0.6 s in all");
  const nlohmann::json json = nlohmann::json::parse(report.json());
  EXPECT_EQ(json.at("looks"), 4);
  EXPECT_EQ(json.at("lowest_available_bytes"), 321 * kMebibyte);
  EXPECT_EQ(json.at("hottest_celsius"), 93.5);
  EXPECT_EQ(json.at("hottest_zone"), "tj-thermal");
  EXPECT_EQ(json.at("alerts"), nlohmann::json::array({"gpu-throttle-alert"}));
  EXPECT_EQ(json.at("highest_level"), 4);
  EXPECT_EQ(json.at("pauses"), 3);
  EXPECT_EQ(json.at("paused_seconds"), 0.6);
}

TEST(Guard, AReportOfNothingIsWhole) {
  const test::TempDir dir;
  Guard guard(Sysfs(dir.path()), {});
  guard.check(0);
  EXPECT_EQ(guard.report().text(), "nothing to read of memory and temperatures here");
  const nlohmann::json json = nlohmann::json::parse(guard.report().json());
  EXPECT_TRUE(json.at("lowest_available_bytes").is_null());
  EXPECT_TRUE(json.at("hottest_celsius").is_null());
}

// jllm info prints these.
TEST(Guard, TellsWhatItWatches) {
  const FakeLayout layout = {
      "Watched",
      "nvidia,tegra234|",
      {{"cpu-thermal", "51250", 99000, 105000}, {"gpu-thermal", "-256000", 99000, 0}},
      {{"gpu-throttle-alert", "0"}, {"hot-surface-alert", "1"}},
      "sys/x",
      false};
  const FakeSysfs fake(layout);
  const Guard guard(Sysfs(fake.root()), {});
  EXPECT_EQ(guard.watched(),
            (std::vector<std::string>{"cpu-thermal       51.2 degrees; backs off at 90 93 96",
                                      "gpu-thermal        off degrees; backs off at 90 93 96",
                                      "gpu-throttle-alert   off", "hot-surface-alert    on"}));
  fake.set_device("hot-surface-alert", "?");
  EXPECT_EQ(guard.watched().back(), "hot-surface-alert   unreadable");
}

// Names that no JSON string may hold as they are: a driver's name is not ours.
TEST(Guard, AReportIsJsonWhateverSensorsAreCalled) {
  GuardReport report;
  report.hottest = 90;
  report.hottest_zone = "cpu\"\\-therm\xff";
  report.alerts = {"a", "b"};
  const nlohmann::json json = nlohmann::json::parse(report.json());
  EXPECT_EQ(json.at("hottest_zone"),
            "cpu?"
            "?-therm?");
  EXPECT_EQ(json.at("alerts"), nlohmann::json::array({"a", "b"}));
  report.hottest_zone = "tj-thermal";
  EXPECT_EQ(report.text(), "90.0 degrees at most (tj-thermal); a; b");
}

TEST(ParseSize, TakesUnitsAndRefusesTheRest) {
  EXPECT_EQ(parse_size("0"), 0u);
  EXPECT_EQ(parse_size("500000"), 500000u);
  EXPECT_EQ(parse_size("64K"), 65536u);
  EXPECT_EQ(parse_size("64M"), 64 * kMebibyte);
  EXPECT_EQ(parse_size("1.5G"), 1536 * kMebibyte);
  EXPECT_EQ(parse_size("2g"), 2048 * kMebibyte);
  for (const char* wrong : {"", "M", "-1", "-0", "64MB", "64 M", "nan", "inf", "1e30", "0x"}) {
    EXPECT_FALSE(parse_size(wrong).has_value()) << wrong;
  }
}

TEST(ParseThermal, TakesTheThreeFormsAndRefusesTheRest) {
  GuardOptions options;
  EXPECT_TRUE(parse_thermal("auto", &options));
  EXPECT_TRUE(options.thermal && options.steps.empty());
  EXPECT_TRUE(parse_thermal("off", &options));
  EXPECT_FALSE(options.thermal);
  EXPECT_TRUE(parse_thermal("80,85.5,90", &options));
  EXPECT_TRUE(options.thermal);
  EXPECT_EQ(options.steps, (std::vector<double>{80, 85.5, 90}));
  for (const char* wrong : {"", "on", "80,", ",80", "90,80", "80,80", "0", "-5", "150", "nan",
                            "80;90", "1,2,3,4,5,6"}) {
    EXPECT_FALSE(parse_thermal(wrong, &options)) << wrong;
  }
}

}  // namespace
}  // namespace jllm::platform

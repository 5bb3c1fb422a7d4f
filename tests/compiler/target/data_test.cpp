// The built-in devices: every file reads, every mode can be chosen,
// and the arithmetic between the figures holds.
#include <gtest/gtest.h>
#include <llvm/ADT/STLExtras.h>

#include <map>
#include <set>

#include "compiler/support/error.h"
#include "compiler/target/target.h"

namespace jllm::target {
namespace {

constexpr uint64_t kMiB = 1024 * 1024;

std::vector<Description> all_devices() {
  std::vector<Description> devices;
  for (const std::string& name : builtin_names()) {
    llvm::Expected<Description> device = describe(name);
    if (!device) {
      ADD_FAILURE() << take_error(device.takeError()).second;
      continue;
    }
    devices.push_back(std::move(*device));
  }
  return devices;
}

Target target_of(const std::string& name) {
  llvm::Expected<Target> target = find(name);
  if (target) return *target;
  ADD_FAILURE() << take_error(target.takeError()).second;
  return {};
}

TEST(Data, HasEveryModule) {
  const std::set<std::string> expected = {"host",
                                          "jetson-nano-4gb",
                                          "tx2-8gb",
                                          "xavier-nx-8gb",
                                          "xavier-nx-16gb",
                                          "agx-xavier-16gb",
                                          "agx-xavier-32gb",
                                          "agx-xavier-64gb",
                                          "orin-nano-4gb",
                                          "orin-nano-8gb",
                                          "orin-nx-8gb",
                                          "orin-nx-16gb",
                                          "agx-orin-32gb",
                                          "agx-orin-64gb",
                                          "agx-orin-industrial",
                                          "thor-t4000",
                                          "thor-t5000",
                                          "h200"};
  const std::vector<std::string> names = builtin_names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), expected);
  EXPECT_EQ(all_devices().size(), expected.size());
}

TEST(Data, FilesAreNamedAfterTheirDevice) {
  for (const std::string& name : builtin_names()) {
    llvm::Expected<Description> device = describe(name);
    ASSERT_TRUE(bool(device)) << take_error(device.takeError()).second;
    EXPECT_EQ(device->name, name);
    EXPECT_EQ(target_of(name).name, name);
  }
}

TEST(Data, EveryModeCanBeChosen) {
  for (const Description& device : all_devices()) {
    for (size_t i = 0; i < device.modes.size(); ++i) {
      const Mode& mode = device.modes[i];
      const Target target = target_of(device.name + "@" + mode.name);
      EXPECT_EQ(target.mode, mode.name);
      EXPECT_EQ(target.sm_count, mode.sm_count->value) << target.name;
      EXPECT_GT(target.bandwidth_gbps, 0) << target.name;
      const bool is_default = i == device.default_mode;
      EXPECT_EQ(target.name, is_default ? device.name : device.name + "@" + mode.name);
      EXPECT_EQ(target.device_name == device.device_name, is_default) << target.name;
    }
  }
}

TEST(Data, DefaultsAreWhatCurrentFirmwareShips) {
  const std::map<std::string, std::string> expected = {{"jetson-nano-4gb", "maxn"},
                                                       {"tx2-8gb", "maxp_core_all"},
                                                       {"xavier-nx-8gb", "10w_desktop"},
                                                       {"xavier-nx-16gb", "10w_desktop"},
                                                       {"agx-xavier-16gb", "15w_desktop"},
                                                       {"agx-xavier-32gb", "15w_desktop"},
                                                       {"agx-xavier-64gb", "15w_desktop"},
                                                       {"orin-nano-4gb", "25w"},
                                                       {"orin-nano-8gb", "25w"},
                                                       {"orin-nx-8gb", "40w"},
                                                       {"orin-nx-16gb", "40w"},
                                                       {"agx-orin-32gb", "30w"},
                                                       {"agx-orin-64gb", "30w"},
                                                       {"agx-orin-industrial", "full"},
                                                       {"thor-t4000", "full"},
                                                       {"thor-t5000", "120w"},
                                                       {"h200", "full"},
                                                       {"host", ""}};
  for (const auto& [name, mode] : expected) EXPECT_EQ(target_of(name).mode, mode) << name;
}

// What the requirement documents and the web often get wrong.
TEST(Data, OrinNanoAsItReallyIs) {
  struct Row {
    const char* name;
    uint32_t id, sm_count;
    double gpu_mhz, pin;
  };
  const Row rows[] = {{"15w", 0, 8, 612, 68.3},
                      {"25w", 1, 8, 918, 102.4},
                      {"maxn_super", 2, 8, 1020, 102.4},
                      {"7w", 3, 4, 408, 68.3}};
  llvm::Expected<Description> device = describe("orin-nano-8gb");
  ASSERT_TRUE(bool(device));
  for (const Row& row : rows) {
    const auto mode =
        llvm::find_if(device->modes, [&](const Mode& m) { return m.name == row.name; });
    ASSERT_NE(mode, device->modes.end()) << row.name;
    EXPECT_EQ(mode->id, row.id);
    EXPECT_EQ(mode->sm_count->value, row.sm_count);
    EXPECT_EQ(mode->gpu_mhz->value, row.gpu_mhz);
    EXPECT_EQ(mode->pin_bandwidth->value, row.pin);
  }
  EXPECT_EQ(device->shared_memory_per_sm->value, 164);
  EXPECT_EQ(device->shared_memory_per_block->value, 163);
  EXPECT_EQ(device->threads_per_sm->value, 1536);
  const Target target = target_of("orin-nano-8gb");
  EXPECT_EQ(target.compute_capability, 87u);
  EXPECT_EQ(target.sm_count, 8u);
  EXPECT_EQ(target.max_cuda_major, 12u);
  EXPECT_EQ(target.ram_bytes, 8192 * kMiB);
  EXPECT_EQ(target.visible_bytes, 7618 * kMiB);
  EXPECT_EQ(target.budget_bytes, 6300 * kMiB);
  EXPECT_EQ(target.budget_desktop_bytes, (6300 - 865) * kMiB);
  EXPECT_EQ(target.context_bytes, 160 * kMiB);
  EXPECT_EQ(target.largest_allocation, 0u);
  EXPECT_DOUBLE_EQ(target.bandwidth_gbps, 76.8);
  EXPECT_EQ(target.bandwidth_basis, "0.75 x 102.4 GB/s pin rate");
  EXPECT_EQ(target.prefill_chunk, 128u);
  EXPECT_EQ(target.default_kv, WeightType::kF16);
}

TEST(Data, PowerModesGateMultiprocessors) {
  EXPECT_EQ(target_of("agx-orin-64gb").sm_count, 8u);
  EXPECT_EQ(target_of("agx-orin-64gb@maxn").sm_count, 16u);
  EXPECT_EQ(target_of("agx-orin-32gb@maxn").sm_count, 14u);
  EXPECT_EQ(target_of("agx-orin-64gb@15w").sm_count, 6u);
  EXPECT_EQ(target_of("orin-nx-16gb@15w").sm_count, 4u);
  EXPECT_EQ(target_of("orin-nx-16gb@25w").sm_count, 8u);
  EXPECT_EQ(target_of("thor-t5000@maxn").sm_count, 20u);
  EXPECT_EQ(target_of("agx-xavier-32gb@10w").sm_count, 4u);
}

TEST(Data, PinRatesFollowFromClockAndBus) {
  for (const Description& device : all_devices()) {
    for (const Mode& mode : device.modes) {
      if (!mode.memory_mhz || !device.memory_bus_bits) continue;
      // Two transfers a clock, eight bits a byte.
      const double expected = mode.memory_mhz->value * 2 * device.memory_bus_bits->value / 8 / 1000;
      EXPECT_NEAR(mode.pin_bandwidth->value, expected, 0.005 * expected)
          << device.name << "@" << mode.name;
    }
  }
}

TEST(Data, PlanningBandwidthIsMeasuredOrThreeQuartersOfThePinRate) {
  for (const Description& device : all_devices()) {
    for (const Mode& mode : device.modes) {
      const Figure planning = planning_bandwidth(device, mode);
      const double expected = mode.measured_bandwidth ? mode.measured_bandwidth->value
                                                      : 0.75 * mode.pin_bandwidth->value;
      EXPECT_DOUBLE_EQ(planning.value, expected) << device.name;
      EXPECT_LE(planning.value, mode.pin_bandwidth->value) << device.name;
      EXPECT_FALSE(planning.source.empty());
    }
  }
  EXPECT_EQ(target_of("h200").bandwidth_gbps, 4400);
  EXPECT_EQ(target_of("h200").bandwidth_basis, "measured");
}

TEST(Data, BudgetsAreWithinWhatIsVisible) {
  for (const Description& device : all_devices()) {
    if (device.is_host) continue;
    const Target target = target_of(device.name);
    EXPECT_GT(target.budget_bytes, 0u) << device.name;
    EXPECT_GT(target.budget_bytes, target.context_bytes) << device.name;
    EXPECT_GT(target.context_bytes, 0u) << device.name;
    if (target.visible_bytes != 0) {
      EXPECT_LT(target.budget_bytes, target.visible_bytes);
    }
    if (target.ram_bytes == 0) continue;  // a discrete card
    EXPECT_LT(target.budget_bytes, target.ram_bytes) << device.name;
    EXPECT_LT(target.visible_bytes, target.ram_bytes) << device.name;
    const uint64_t desktop = target.budget_bytes - target.budget_desktop_bytes;
    EXPECT_GE(desktop, 800 * kMiB) << device.name;
    EXPECT_LE(desktop, 865 * kMiB) << device.name;
  }
}

TEST(Data, WarnsOfBadReleasesByName) {
  const auto releases = [](const char* name) {
    std::set<std::string> result;
    llvm::Expected<Description> device = describe(name);
    if (!device) llvm::consumeError(device.takeError());
    for (const BadRelease& release : device->avoid_l4t) result.insert(release.l4t);
    return result;
  };
  using Set = std::set<std::string>;
  for (const char* name : {"orin-nano-4gb", "orin-nano-8gb", "orin-nx-8gb", "orin-nx-16gb",
                           "agx-orin-32gb", "agx-orin-64gb", "agx-orin-industrial"}) {
    EXPECT_EQ(releases(name), (Set{"35.6.3", "36.4.7"})) << name;
  }
  for (const char* name : {"xavier-nx-8gb", "xavier-nx-16gb", "agx-xavier-32gb"}) {
    EXPECT_EQ(releases(name), Set{"35.6.3"}) << name;
  }
  EXPECT_EQ(releases("thor-t5000"), Set{"38.2.2"});
  EXPECT_EQ(releases("jetson-nano-4gb"), Set{});
  EXPECT_EQ(releases("host"), Set{});
  const Target target = target_of("orin-nano-8gb");
  ASSERT_EQ(target.warnings.size(), 2u);
  EXPECT_EQ(target.warnings[0].find("avoid L4T r36.4.7 (fixed in r36.5.0): "), 0u);
}

// Derived and estimated figures must not pass for facts.
void expect_modest(const std::optional<Figure>& figure, const std::string& where) {
  if (!figure) return;
  for (const char* word :
       {"estimate", "derived", "inferred", "assumed", "taken as", "upper bound"}) {
    if (figure->source.find(word) == std::string::npos) continue;
    EXPECT_NE(figure->confidence, Confidence::kHigh) << where;
  }
}

TEST(Data, EstimatesAreNotOfHighConfidence) {
  for (const Description& device : all_devices()) {
    for (const FigureField<Description>& field : device_figures()) {
      expect_modest(device.*field.member, device.name + " " + field.key);
    }
    for (const Mode& mode : device.modes) {
      for (const FigureField<Mode>& field : mode_figures()) {
        expect_modest(mode.*field.member, device.name + "@" + mode.name + " " + field.key);
      }
    }
  }
}

}  // namespace
}  // namespace jllm::target

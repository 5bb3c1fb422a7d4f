// What `jllmc targets` prints: everything that is known, and JSON that scripts can rely on.
#include "compiler/target/show.h"

#include <gtest/gtest.h>
#include <llvm/Support/JSON.h>

#include "compiler/support/error.h"
#include "compiler/target/target.h"

namespace jllm::target {
namespace {

Description device_of(const std::string& name) {
  llvm::Expected<Description> device = describe(name);
  if (device) return *device;
  ADD_FAILURE() << take_error(device.takeError()).second;
  return {};
}

template <typename Print>
std::string printed(Print print) {
  std::string text;
  llvm::raw_string_ostream os(text);
  print(os);
  return os.str();
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Show, ListNamesDevicesAndModes) {
  const std::string text = printed([](llvm::raw_ostream& os) {
    print_list({device_of("host"), device_of("orin-nano-8gb")}, os);
  });
  EXPECT_TRUE(contains(text, "host           this machine's CPU\n")) << text;
  EXPECT_TRUE(contains(text,
                       "orin-nano-8gb  Jetson Orin Nano 8GB, sm_87, budget 6300 MiB, with a "
                       "desktop 5435 MiB\n"))
      << text;
  EXPECT_TRUE(contains(text, "modes: 15w 25w* maxn_super 7w ")) << text;
  EXPECT_TRUE(contains(text, "sm_XX")) << text;
}

TEST(Show, DetailsNameEverySource) {
  for (const std::string& name : builtin_names()) {
    const Description device = device_of(name);
    const std::string text = printed([&](llvm::raw_ostream& os) { print_details(device, os); });
    EXPECT_TRUE(contains(text, device.device_name));
    for (const FigureField<Description>& field : device_figures()) {
      const std::optional<Figure>& figure = device.*field.member;
      EXPECT_EQ(contains(text, std::string("  ") + field.label + " "), figure.has_value())
          << name << " " << field.key;
      if (figure) {
        EXPECT_TRUE(contains(text, figure->source)) << name << " " << field.key;
      }
    }
    for (const Mode& mode : device.modes) {
      for (const FigureField<Mode>& field : mode_figures()) {
        const std::optional<Figure>& figure = mode.*field.member;
        if (figure) {
          EXPECT_TRUE(contains(text, figure->source)) << name << " " << field.key;
        }
      }
    }
    for (const BadRelease& release : device.avoid_l4t) {
      EXPECT_TRUE(contains(text, "avoid L4T r" + release.l4t)) << name;
    }
    for (const Software& software : device.software) {
      EXPECT_TRUE(contains(text, "r" + software.l4t)) << name;
    }
    for (const std::string& note : device.notes) EXPECT_TRUE(contains(text, note)) << name;
    const bool old = device.compute_capability && device.compute_capability->value < 80;
    EXPECT_EQ(contains(text, "not compiled yet"), old) << name;
  }
}

TEST(Show, NoLineEndsInBlanks) {
  for (const std::string& name : builtin_names()) {
    const std::string text =
        printed([&](llvm::raw_ostream& os) { print_details(device_of(name), os); });
    EXPECT_FALSE(contains(text, " \n")) << name;
  }
}

TEST(Show, JsonHasTheFieldsOfTheFilesAndWhatIsDerived) {
  const std::string text = printed([](llvm::raw_ostream& os) {
    print_json({device_of("orin-nano-8gb"), device_of("host")}, os);
  });
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(text);
  ASSERT_TRUE(bool(value)) << llvm::toString(value.takeError());
  const llvm::json::Array* targets = value->getAsObject()->getArray("targets");
  ASSERT_NE(targets, nullptr);
  ASSERT_EQ(targets->size(), 2u);
  const llvm::json::Object& orin = *(*targets)[0].getAsObject();
  EXPECT_EQ(*orin.getString("name"), "orin-nano-8gb");
  EXPECT_EQ(*orin.getString("backend"), "cuda");
  EXPECT_EQ(*orin.getObject("visible_mib")->getInteger("value"), 7618);
  EXPECT_EQ(*orin.getObject("visible_mib")->getString("confidence"), "high");
  EXPECT_EQ(*orin.getObject("desktop_budget_mib")->getInteger("value"), 5435);
  EXPECT_EQ(orin.getObject("largest_allocation_mib"), nullptr);
  const llvm::json::Array& modes = *orin.getArray("modes");
  size_t defaults = 0;
  for (const llvm::json::Value& element : modes) {
    const llvm::json::Object& mode = *element.getAsObject();
    if (!*mode.getBoolean("default")) continue;
    ++defaults;
    EXPECT_EQ(*mode.getString("name"), "25w");
    EXPECT_EQ(*mode.getInteger("id"), 1);
    const llvm::json::Object& planning = *mode.getObject("planning_bandwidth_gb_s");
    EXPECT_DOUBLE_EQ(*planning.getNumber("value"), 76.8);
    EXPECT_EQ(*planning.getString("source"), "0.75 x 102.4 GB/s pin rate");
  }
  EXPECT_EQ(defaults, 1u);
  EXPECT_EQ(orin.getArray("avoid_l4t")->size(), 2u);
  const llvm::json::Object& host = *(*targets)[1].getAsObject();
  EXPECT_EQ(*host.getString("backend"), "host");
  EXPECT_EQ(host.getArray("modes")->size(), 0u);
  EXPECT_EQ(*host.getObject("defaults")->getString("kv"), "f32");
}

}  // namespace
}  // namespace jllm::target

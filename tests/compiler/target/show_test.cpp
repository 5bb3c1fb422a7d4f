// What `jllmc targets` prints for people: everything that is known.
#include "compiler/target/show.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace jllm::target

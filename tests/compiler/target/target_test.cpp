// Which device a name stands for: built-in names with their modes, generic sm_XX, files of the
// user.
#include "compiler/target/target.h"

#include <gtest/gtest.h>

#include "compiler/support/error.h"
#include "compiler/target/builtin.h"
#include "tests/support/files.h"

namespace jllm::target {
namespace {

Target found(const std::string& name) {
  llvm::Expected<Target> target = find(name);
  if (target) return *target;
  ADD_FAILURE() << take_error(target.takeError()).second;
  return {};
}

std::string not_found(const std::string& name, ExitCode expected) {
  llvm::Expected<Target> target = find(name);
  if (target) {
    ADD_FAILURE() << "found " << target->name;
    return "";
  }
  const auto [code, text] = take_error(target.takeError());
  EXPECT_EQ(code, expected) << text;
  return text;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Find, ModesInAnyCase) {
  EXPECT_EQ(found("orin-nano-8gb@15W").name, "orin-nano-8gb@15w");
  EXPECT_EQ(found("orin-nano-8gb@MAXN_SUPER").mode, "maxn_super");
}

TEST(Find, TheDefaultModeHasNoNameOfItsOwn) {
  const Target plain = found("orin-nano-8gb");
  const Target named = found("orin-nano-8gb@25w");
  EXPECT_EQ(plain.name, "orin-nano-8gb");
  EXPECT_EQ(named.name, plain.name);
  EXPECT_EQ(named.device_name, plain.device_name);
  EXPECT_EQ(named.bandwidth_gbps, plain.bandwidth_gbps);
}

TEST(Find, AModeChangesWhatItShouldAlone) {
  const Target plain = found("orin-nano-8gb");
  const Target slow = found("orin-nano-8gb@7w");
  EXPECT_EQ(slow.device_name, "Jetson Orin Nano 8GB (7w)");
  EXPECT_EQ(slow.sm_count, 4u);
  EXPECT_DOUBLE_EQ(slow.bandwidth_gbps, 0.75 * 68.3);
  EXPECT_EQ(slow.pin_bandwidth_gbps, 68.3);
  EXPECT_EQ(slow.budget_bytes, plain.budget_bytes);
  EXPECT_EQ(slow.compute_capability, plain.compute_capability);
}

TEST(Find, UnknownModesNameTheKnown) {
  const std::string text = not_found("orin-nano-8gb@20w", ExitCode::kUnsupported);
  EXPECT_TRUE(contains(text, "target orin-nano-8gb has no power mode '20w'")) << text;
  EXPECT_TRUE(contains(text, "15w, 25w (default), maxn_super, 7w")) << text;
  EXPECT_TRUE(contains(not_found("host@maxn", ExitCode::kUnsupported), "has no power modes"));
}

TEST(Find, UnknownNamesListTheKnown) {
  for (const char* name : {"orin", "", "Orin-Nano-8GB", "sm_", "sm_8", "sm_1000", "sm_x", "x@y"}) {
    const std::string text = not_found(name, ExitCode::kUnsupported);
    EXPECT_TRUE(contains(text, "unknown target")) << text;
    for (const std::string& known : builtin_names()) EXPECT_TRUE(contains(text, known)) << text;
    EXPECT_TRUE(contains(text, "sm_XX")) << text;
  }
}

TEST(Find, Host) {
  const Target host = found("host");
  EXPECT_TRUE(host.is_host);
  EXPECT_EQ(host.default_kv, WeightType::kF32);
  EXPECT_EQ(host.prefill_chunk, 64u);
  EXPECT_EQ(host.budget_bytes, 0u);
  EXPECT_EQ(host.compute_capability, 0u);
  EXPECT_EQ(host.mode, "");
  EXPECT_TRUE(host.warnings.empty());
}

TEST(Find, Generic) {
  const Target target = found("sm_87");
  EXPECT_EQ(target.name, "sm_87");
  EXPECT_EQ(target.device_name, "a device of compute capability 8.7");
  EXPECT_FALSE(target.is_host);
  EXPECT_EQ(target.compute_capability, 87u);
  EXPECT_EQ(target.budget_bytes, 0u);
  EXPECT_EQ(target.max_cuda_major, 0u);
  EXPECT_EQ(found("sm_110").device_name, "a device of compute capability 11.0");
  EXPECT_TRUE(contains(not_found("sm_87@15w", ExitCode::kUnsupported), "no figures"));
}

TEST(Find, FilesOfTheUser) {
  test::TempDir folder;
  std::string json;
  for (const BuiltinTarget& entry : builtin_targets()) {
    if (std::string(entry.name) == "agx-orin-64gb") json = entry.json;
  }
  ASSERT_FALSE(json.empty());
  const std::string path = folder.file("mine@home.json");  // '@' may be part of a path
  test::write_text(path, json);
  EXPECT_EQ(found(path).sm_count, 8u);
  EXPECT_EQ(found(path).name, "agx-orin-64gb");
  EXPECT_EQ(found(path + "@maxn").sm_count, 16u);
  EXPECT_TRUE(contains(not_found(path + "@fast", ExitCode::kUnsupported), "no power mode 'fast'"));

  test::write_text(path, "{}");
  const std::string text = not_found(path, ExitCode::kInvalidFile);
  EXPECT_TRUE(contains(text, path)) << text;
  EXPECT_TRUE(contains(not_found(folder.file("no.json"), ExitCode::kFailed), "no.json"));
}

TEST(Desktop, TakesItsShareOfTheBudget) {
  Target target = found("orin-nano-8gb");
  const uint64_t desktop = target.budget_desktop_bytes;
  ASSERT_FALSE(bool(use_desktop_budget(&target)));
  EXPECT_EQ(target.budget_bytes, desktop);
  for (const char* name : {"host", "h200", "sm_87"}) {
    Target other = found(name);
    const auto [code, text] = take_error(use_desktop_budget(&other));
    EXPECT_EQ(code, ExitCode::kUnsupported);
    EXPECT_TRUE(contains(text, name)) << text;
    EXPECT_TRUE(contains(text, "--budget")) << text;
  }
}

TEST(Compilable, FromComputeCapability80) {
  for (const char* name : {"host", "h200", "orin-nano-8gb", "thor-t5000", "sm_80", "sm_120"}) {
    EXPECT_FALSE(bool(check_compilable(found(name)))) << name;
  }
  const std::pair<const char*, const char*> older[] = {
      {"jetson-nano-4gb", "Jetson Nano 4GB (sm_53)"},
      {"tx2-8gb", "Jetson TX2 8GB (sm_62)"},
      {"xavier-nx-8gb", "Jetson Xavier NX 8GB (sm_72)"},
      {"sm_75", "(sm_75)"}};
  for (const auto& [name, part] : older) {
    const auto [code, text] = take_error(check_compilable(found(name)));
    EXPECT_EQ(code, ExitCode::kUnsupported);
    EXPECT_TRUE(contains(text, part)) << text;
    EXPECT_TRUE(contains(text, "can be planned, not compiled yet")) << text;
    EXPECT_TRUE(contains(text, "8.0")) << text;
  }
}

}  // namespace
}  // namespace jllm::target

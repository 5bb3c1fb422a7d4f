// Target files that are wrong: each error names the file and the field.
#include "compiler/target/description.h"

#include <gtest/gtest.h>

#include "compiler/support/error.h"

namespace jllm::target {
namespace {

std::string figure(const std::string& value) {
  return R"({"value": )" + value + R"(, "source": "a test", "confidence": "low"})";
}

std::string mode(const std::string& name, const std::string& rest = "") {
  return R"({"name": ")" + name + R"(", "sm_count": )" + figure("4") +
         R"(, "pin_bandwidth_gb_s": )" + figure("100") + rest + "}";
}

// The smallest file of a CUDA device; `extra` fields come first.
std::string device(const std::string& extra = "", const std::string& modes = mode("a")) {
  return R"({"format": 1, "name": "mine", "device_name": "My board", "backend": "cuda",)" + extra +
         R"("compute_capability": )" + figure("87") + R"(, "bandwidth_fraction": )" +
         figure("0.5") + R"(, "modes": [)" + modes +
         R"(], "defaults": {"prefill_chunk": 64, "kv": "f16"}})";
}

std::string error_of(const std::string& json) {
  llvm::Expected<Description> parsed = parse_description(json, "mine.json");
  if (parsed) {
    ADD_FAILURE() << "accepted: " << json;
    return "";
  }
  const auto [code, text] = take_error(parsed.takeError());
  EXPECT_EQ(code, ExitCode::kInvalidFile);
  EXPECT_EQ(text.find("target mine.json: "), 0u) << text;
  return text.substr(std::string("target mine.json: ").size());
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Description, SmallestFile) {
  llvm::Expected<Description> parsed = parse_description(device(), "mine.json");
  ASSERT_TRUE(bool(parsed)) << take_error(parsed.takeError()).second;
  EXPECT_EQ(parsed->name, "mine");
  EXPECT_EQ(parsed->device_name, "My board");
  EXPECT_EQ(parsed->compute_capability->value, 87);
  EXPECT_EQ(parsed->compute_capability->source, "a test");
  EXPECT_EQ(parsed->compute_capability->confidence, Confidence::kLow);
  ASSERT_EQ(parsed->modes.size(), 1u);
  EXPECT_FALSE(parsed->modes[0].id.has_value());
  EXPECT_FALSE(parsed->headless_budget.has_value());
  EXPECT_FALSE(desktop_budget(*parsed).has_value());
  const Figure bandwidth = planning_bandwidth(*parsed, parsed->modes[0]);
  EXPECT_EQ(bandwidth.value, 50);
  EXPECT_EQ(bandwidth.source, "0.5 x 100 GB/s pin rate");
}

TEST(Description, MeasuredBandwidthGoesBeforeTheFraction) {
  const std::string json = device("", mode("a", R"(, "measured_bandwidth_gb_s": )" + figure("71")));
  llvm::Expected<Description> parsed = parse_description(json, "mine.json");
  ASSERT_TRUE(bool(parsed)) << take_error(parsed.takeError()).second;
  EXPECT_EQ(planning_bandwidth(*parsed, parsed->modes[0]).value, 71);
}

TEST(Description, ConfidenceOfDerivedFiguresIsTheLowest) {
  std::string json = device(R"("headless_budget_mib": )" + figure("6000") +
                            R"(, "desktop_cost_mib": )" + figure("800") + ",");
  json = replaced(json, R"("source": "a test", "confidence": "low")",
                  R"("source": "a test", "confidence": "high")");
  llvm::Expected<Description> parsed = parse_description(json, "mine.json");
  ASSERT_TRUE(bool(parsed)) << take_error(parsed.takeError()).second;
  EXPECT_EQ(parsed->headless_budget->confidence, Confidence::kHigh);
  const std::optional<Figure> desktop = desktop_budget(*parsed);
  ASSERT_TRUE(desktop.has_value());
  EXPECT_EQ(desktop->value, 5200);
  EXPECT_EQ(desktop->confidence, Confidence::kLow);
  EXPECT_EQ(desktop->source, "6000 headless - 800 for the desktop");
}

TEST(Description, NotJson) {
  error_of("");
  error_of("{");
  EXPECT_EQ(error_of("[]"), "not a JSON object");
  EXPECT_EQ(error_of("{}"), "field 'format' is missing");
}

TEST(Description, OtherForms) {
  EXPECT_EQ(error_of(replaced(device(), R"("format": 1)", R"("format": 2)")),
            "field 'format' must be 1, the only form that this jllmc reads");
}

TEST(Description, UnknownFields) {
  EXPECT_EQ(error_of(device(R"("sm_count": 8,)")), "field 'sm_count' is unknown");
  EXPECT_EQ(error_of(device("", mode("a", R"(, "watts": 7)"))),
            "field 'modes[0].watts' is unknown");
  EXPECT_EQ(error_of(replaced(device(), R"("value": 87,)", R"("value": 87, "unit": "x",)")),
            "field 'compute_capability.unit' is unknown");
  EXPECT_EQ(error_of(replaced(device(), R"("kv": "f16")", R"("kv": "f16", "x": 1)")),
            "field 'defaults.x' is unknown");
}

TEST(Description, MissingFields) {
  EXPECT_EQ(error_of(replaced(device(), R"("name": "mine",)", "")), "field 'name' is missing");
  EXPECT_EQ(error_of(replaced(device(), R"("backend": "cuda",)", "")),
            "field 'backend' is missing");
  EXPECT_EQ(error_of(replaced(device(), R"("compute_capability": )" + figure("87") + ",", "")),
            "field 'compute_capability' is missing");
  EXPECT_EQ(error_of(replaced(device(), R"("source": "a test", )", "")),
            "field 'compute_capability.source' is missing");
  EXPECT_EQ(error_of(replaced(device(), R"(, "confidence": "low")", "")),
            "field 'compute_capability.confidence' is missing");
  EXPECT_EQ(error_of(replaced(device(), R"("value": 87, )", "")),
            "field 'compute_capability.value' is missing");
  EXPECT_EQ(error_of(replaced(device(), R"("prefill_chunk": 64, )", "")),
            "field 'defaults.prefill_chunk' is missing");
  EXPECT_EQ(error_of(replaced(device(), R"("sm_count": )" + figure("4") + ",", "")),
            "field 'modes[0].sm_count' is missing");
}

TEST(Description, WrongTypes) {
  EXPECT_EQ(error_of(replaced(device(), R"("mine")", "7")), "field 'name' must be a string");
  EXPECT_EQ(error_of(replaced(device(), R"("My board")", R"("")")),
            "field 'device_name' must not be empty");
  EXPECT_EQ(error_of(replaced(device(), figure("87"), "87")),
            "field 'compute_capability' must be an object");
  EXPECT_EQ(error_of(replaced(device(), R"("value": 87)", R"("value": "87")")),
            "field 'compute_capability.value' must be a number");
  EXPECT_EQ(error_of(replaced(device(), "[" + mode("a") + "]", "{}")),
            "field 'modes' must be an array");
  EXPECT_EQ(error_of(device("", "7")), "field 'modes[0]' must be an object");
  EXPECT_EQ(error_of(device(R"("notes": "x",)")), "field 'notes' must be an array");
  EXPECT_EQ(error_of(device(R"("notes": [1],)")), "field 'notes[0]' must be a string");
}

TEST(Description, NumbersOutOfRange) {
  for (const char* value : {"-1", "1000", "87.5"}) {
    EXPECT_EQ(error_of(replaced(device(), R"("value": 87)", R"("value": )" + std::string(value))),
              "field 'compute_capability.value' must be a whole number in range");
  }
  EXPECT_EQ(error_of(replaced(device(), R"("value": 87)", R"("value": 0)")),
            "field 'compute_capability.value' must be above 0");
  EXPECT_EQ(error_of(replaced(device(), R"("value": 0.5)", R"("value": 1.5)")),
            "field 'bandwidth_fraction.value' must be a number in range");
  EXPECT_EQ(error_of(replaced(device(), R"("prefill_chunk": 64)", R"("prefill_chunk": 0)")),
            "field 'defaults.prefill_chunk' must be a whole number in range");
}

TEST(Description, WordsThatAreNoneOfTheList) {
  EXPECT_EQ(error_of(replaced(device(), R"("low")", R"("sure")")),
            "field 'compute_capability.confidence' must be one of \"low\", \"medium\", \"high\"");
  EXPECT_EQ(error_of(replaced(device(), R"("cuda")", R"("rocm")")),
            "field 'backend' must be one of \"cuda\", \"host\"");
  EXPECT_EQ(error_of(replaced(device(), R"("kv": "f16")", R"("kv": "f64")")),
            "field 'defaults.kv' must be one of \"f16\", \"f32\"");
}

TEST(Description, ModesNeedABandwidth) {
  const std::string bare = R"({"name": "a", "sm_count": )" + figure("4") + "}";
  EXPECT_EQ(error_of(device("", bare)),
            "field 'modes[0].pin_bandwidth_gb_s' is missing, and so is measured_bandwidth_gb_s");
  EXPECT_EQ(
      error_of(replaced(device(), R"("bandwidth_fraction": )" + figure("0.5") + ",", "")),
      "field 'modes[0].measured_bandwidth_gb_s' is missing, and so is the bandwidth_fraction");
  EXPECT_EQ(error_of(device("", "")), "field 'modes' must not be empty");
}

TEST(Description, NamesOfModes) {
  const std::string two = mode("a") + "," + mode("b");
  EXPECT_EQ(error_of(device("", two)), "field 'default_mode' is missing");
  const std::string good =
      R"("default_mode": {"value": "b", "source": "x", "confidence": "high"},)";
  llvm::Expected<Description> parsed = parse_description(device(good, two), "mine.json");
  ASSERT_TRUE(bool(parsed)) << take_error(parsed.takeError()).second;
  EXPECT_EQ(parsed->default_mode, 1u);
  EXPECT_EQ(error_of(device(replaced(good, R"("b")", R"("c")"), two)),
            "field 'default_mode.value' names no mode of this file");
  EXPECT_EQ(error_of(device(good, mode("a") + "," + mode("a"))),
            "field 'modes[1].name' repeats mode 'a'");
  EXPECT_EQ(error_of(device("", mode("15W"))),
            "field 'modes[0].name' must consist of lower-case letters, digits and -_.");
  EXPECT_EQ(error_of(replaced(device(), R"("mine")", R"("mine@home")")),
            "field 'name' must consist of lower-case letters, digits and -_.");
}

TEST(Description, FiguresThatContradictEachOther) {
  const auto two = [](const char* a, const char* x, const char* b, const char* y) {
    return device('"' + std::string(a) + "\": " + figure(x) + ", \"" + b + "\": " + figure(y) +
                  ",");
  };
  EXPECT_EQ(error_of(two("visible_mib", "9000", "ram_mib", "8192")),
            "field 'visible_mib' is larger than ram_mib");
  EXPECT_EQ(error_of(two("headless_budget_mib", "9000", "visible_mib", "8000")),
            "field 'headless_budget_mib' is larger than visible_mib");
  EXPECT_EQ(error_of(two("headless_budget_mib", "9000", "ram_mib", "8192")),
            "field 'headless_budget_mib' is larger than ram_mib");
  EXPECT_EQ(error_of(two("headless_budget_mib", "800", "desktop_cost_mib", "800")),
            "field 'desktop_cost_mib' leaves nothing of headless_budget_mib");
  EXPECT_EQ(error_of(two("shared_memory_per_block_kib", "200", "shared_memory_per_sm_kib", "100")),
            "field 'shared_memory_per_block_kib' is larger than shared_memory_per_sm_kib");
}

TEST(Description, Releases) {
  const std::string release =
      R"("avoid_l4t": [{"l4t": "1.2", "why": "bad", "source": "x", "confidence": "high"}],)";
  llvm::Expected<Description> parsed = parse_description(device(release), "mine.json");
  ASSERT_TRUE(bool(parsed)) << take_error(parsed.takeError()).second;
  EXPECT_EQ(warning(parsed->avoid_l4t[0]), "avoid L4T r1.2: bad");
  parsed->avoid_l4t[0].fixed_in = "1.3";
  EXPECT_EQ(warning(parsed->avoid_l4t[0]), "avoid L4T r1.2 (fixed in r1.3): bad");
  EXPECT_EQ(error_of(device(replaced(release, R"("l4t": "1.2", )", ""))),
            "field 'avoid_l4t[0].l4t' is missing");
  EXPECT_EQ(error_of(device(R"("software": [{"jetpack": "6"}],)")),
            "field 'software[0].l4t' is missing");
}

TEST(Description, TheHostHasNoModes) {
  const std::string host = R"({"format": 1, "name": "h", "device_name": "H", "backend": "host",)"
                           R"("defaults": {"prefill_chunk": 64, "kv": "f32"}})";
  llvm::Expected<Description> parsed = parse_description(host, "mine.json");
  ASSERT_TRUE(bool(parsed)) << take_error(parsed.takeError()).second;
  EXPECT_TRUE(parsed->is_host);
  EXPECT_EQ(parsed->default_kv, WeightType::kF32);
  EXPECT_EQ(error_of(replaced(device(), R"("cuda")", R"("host")")),
            "field 'modes' has no meaning on the host");
}

TEST(Description, NumbersAsPeopleWriteThem) {
  EXPECT_EQ(format_number(87), "87");
  EXPECT_EQ(format_number(68.3), "68.3");
  EXPECT_EQ(format_number(131072), "131072");
}

}  // namespace
}  // namespace jllm::target

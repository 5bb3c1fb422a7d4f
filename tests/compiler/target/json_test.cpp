// The target files as JSON, and the JSON that `jllmc targets --json` prints, which scripts rely on.
#include <gtest/gtest.h>
#include <llvm/Support/JSON.h>

#include <set>

#include "compiler/support/error.h"
#include "compiler/target/builtin.h"
#include "compiler/target/show.h"

namespace jllm::target {
namespace {

Description device_of(const std::string& name) {
  for (const BuiltinTarget& entry : builtin_targets()) {
    if (name != entry.name) continue;
    llvm::Expected<Description> device = parse_description(entry.json, name);
    if (device) return *device;
    ADD_FAILURE() << take_error(device.takeError()).second;
  }
  ADD_FAILURE() << name;
  return {};
}

// Walks every value of every file: a number or a version is either a figure with its source, or one
// of the few that are no fact about a device.
void expect_sources(const llvm::json::Value& value, const std::string& path, bool sourced) {
  if (const llvm::json::Array* array = value.getAsArray()) {
    for (size_t i = 0; i < array->size(); ++i) {
      expect_sources((*array)[i], path + "[" + std::to_string(i) + "]", sourced);
    }
    return;
  }
  const llvm::json::Object* object = value.getAsObject();
  if (object == nullptr) {
    if (value.getAsNumber()) {
      EXPECT_TRUE(sourced) << path << " has no source";
    }
    return;
  }
  const auto source = object->getString("source");
  const auto confidence = object->getString("confidence");
  EXPECT_EQ(bool(source), bool(confidence)) << path;
  const bool is_figure = object->get("value") != nullptr || object->get("l4t") != nullptr;
  if (is_figure) {
    EXPECT_TRUE(source && !source->empty()) << path;
  }
  if (confidence) {
    EXPECT_TRUE(*confidence == "high" || *confidence == "medium" || *confidence == "low") << path;
  }
  const std::set<std::string> no_facts = {"format", "defaults", "id"};
  for (const auto& field : *object) {
    const std::string key = llvm::StringRef(field.first).str();
    if (no_facts.count(key) == 0) expect_sources(field.second, path + "." + key, is_figure);
  }
}

TEST(Json, EveryFigureNamesItsSourceAndConfidence) {
  for (const BuiltinTarget& entry : builtin_targets()) {
    llvm::Expected<llvm::json::Value> value = llvm::json::parse(entry.json);
    ASSERT_TRUE(bool(value)) << entry.name;
    expect_sources(*value, entry.name, false);
  }
}

TEST(Json, HasTheFieldsOfTheFilesAndWhatIsDerived) {
  std::string text;
  llvm::raw_string_ostream os(text);
  print_json({device_of("orin-nano-8gb"), device_of("host")}, os);
  os.flush();
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

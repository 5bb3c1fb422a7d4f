// Tuning tables: what is written is read again, whatever else a file may say is refused by name,
// and the built-in tables are sound.
#include "compiler/tuning/table.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "compiler/support/error.h"
#include "compiler/target/target.h"
#include "compiler/tuning/shipped.h"
#include "schema/row_layout.h"

namespace jllm::tuning {
namespace {

using kernels::Activations;

Table sample() {
  Table table;
  table.compute_capability = 87;
  table.sm_count = 8;
  table.source = "a \"quoted\" source";
  table.entries.push_back({{"matmul_add", {kRowQ4_K}, Activations::kInt8Pair, 8192, 2048},
                           {1024, 1, 2, 1, 4},
                           347.5,
                           400});
  table.entries.push_back(
      {{"qkv", {kRowQ4_K, kRowQ4_K, kRowQ6_K}, Activations::kInt8, 2048, 3072}, {512, 2, 2, 2, 4}});
  table.entries.push_back(
      {{"gate_up", {kRowF16, kRowF16}, Activations::kExact, 2048, 8192}, {512, 2, 2, 1, 4}});
  table.entries.push_back(
      {{"head", {kRowQ6_K}, Activations::kInt8Pair, 2048, 128256}, {512, 1, 2, 1, 4}});
  return table;
}

std::string text_of(const Table& table) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  write(table, stream);
  return text;
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const size_t at = text.find(what);
  if (at == std::string::npos) throw std::runtime_error("no " + what + " in the table");
  return text.replace(at, what.size(), by);
}

void expect_refused(const std::string& json, const std::string& reason) {
  llvm::Expected<Table> table = parse(json, "some.json");
  if (table) {
    ADD_FAILURE() << "accepted; expected: " << reason;
    return;
  }
  const auto [code, text] = take_error(table.takeError());
  EXPECT_EQ(code, ExitCode::kInvalidFile);
  EXPECT_NE(text.find(reason), std::string::npos) << text;
  EXPECT_NE(text.find("some.json"), std::string::npos) << text;
}

TEST(TuningTable, SurvivesWritingAndReading) {
  const Table table = sample();
  llvm::Expected<Table> again = parse(text_of(table), "t");
  ASSERT_TRUE(bool(again)) << take_error(again.takeError()).second;
  EXPECT_EQ(*again, table);
  EXPECT_TRUE(again->made_for(87, 8));
  EXPECT_FALSE(again->made_for(87, 16));
  EXPECT_FALSE(again->made_for(90, 8));
}

TEST(TuningTable, FindsTheProblemAlone) {
  const Table table = sample();
  kernels::GemvProblem problem = table.entries[0].problem;
  ASSERT_NE(table.find(problem), nullptr);
  EXPECT_EQ(table.find(problem)->variant.threads, 1024u);
  for (const auto& change : std::initializer_list<void (*)(kernels::GemvProblem&)>{
           [](kernels::GemvProblem& p) { p.kernel = "head"; },
           [](kernels::GemvProblem& p) { p.types = {kRowQ6_K}; },
           [](kernels::GemvProblem& p) { p.mode = Activations::kInt8; },
           [](kernels::GemvProblem& p) { p.k = 4096; },
           [](kernels::GemvProblem& p) { p.n = 4096; }}) {
    kernels::GemvProblem other = problem;
    change(other);
    EXPECT_EQ(table.find(other), nullptr);
  }
}

TEST(TuningTable, RefusesHostileFiles) {
  const std::string good = text_of(sample());
  expect_refused("", "not JSON");
  expect_refused("{", "not JSON");
  expect_refused("[]", "is a JSON object");
  expect_refused("{}", "field 'format' is missing");
  expect_refused(replaced(good, "\"format\": 1", "\"format\": 2"), "'format' must be 1");
  expect_refused(replaced(good, "\"format\": 1", "\"format\": 1, \"extra\": 0"),
                 "'extra' is unknown");
  expect_refused(replaced(good, "\"compute_capability\": 87", "\"compute_capability\": -1"),
                 "'compute_capability' must be a number from 1");
  expect_refused(replaced(good, "\"sm_count\": 8", "\"sm_count\": 8.5"),
                 "'sm_count' must be a whole number");
  expect_refused(replaced(good, "\"sm_count\": 8", "\"sm_count\": \"8\""),
                 "'sm_count' must be a number");
  expect_refused(
      "{\"format\": 1, \"compute_capability\": 87, \"sm_count\": 8, \"source\": \"\", "
      "\"entries\": {}}",
      "'entries' must be an array");
  expect_refused(
      "{\"format\": 1, \"compute_capability\": 87, \"sm_count\": 8, \"source\": \"\", "
      "\"entries\": [1]}",
      "'entries[0]' must be an object");
  expect_refused(replaced(good, "\"matmul_add\"", "\"attention\""), "entries[0].kernel");
  expect_refused(replaced(good, "\"matmul_add\"", "7"), "'entries[0].kernel' must be a string");
  expect_refused(replaced(good, "[\"q4_k\"]", "[\"q9_k\"]"), "entries[0].types");
  expect_refused(replaced(good, "[\"q4_k\"]", "[\"q4_k\", \"q4_k\"]"), "must name 1 types");
  expect_refused(replaced(good, "[\"q4_k\"]", "[]"), "must name 1 types");
  expect_refused(replaced(good, "\"q8r\"", "\"q7\""), "must be f32, q8 or q8r");
  expect_refused(replaced(good, "\"k\": 8192", "\"k\": 1e300"), "'entries[0].k'");
  expect_refused(replaced(good, "\"k\": 8192", "\"k\": 0"), "'entries[0].k'");
  expect_refused(replaced(good, "\"us\": 347.5", "\"us\": null"), "'entries[0].us'");
  expect_refused(replaced(good, "\"us\": 347.5", "\"us\": 1, \"colour\": 1"),
                 "'entries[0].colour' is unknown");
}

TEST(TuningTable, RefusesVariantsThatCannotBeBuilt) {
  const std::string good = text_of(sample());
  expect_refused(replaced(good, "\"threads\": 1024", "\"threads\": 1000"),
                 "are not among the choices");
  expect_refused(replaced(good, "\"blocks\": 1", "\"blocks\": 2"), "are not among the choices");
  expect_refused(replaced(good, "\"rows\": 2", "\"rows\": 3"), "rows must be 1, 2 or 4");
  expect_refused(replaced(good, "\"split\": 1", "\"split\": 5"), "split must be 1, 2, 4 or 8");
  expect_refused(replaced(good, "\"in_flight\": 4", "\"in_flight\": 3"), "a multiple of rows");
  expect_refused(replaced(good, "\"in_flight\": 4", "\"in_flight\": 60"), "do not fit");
  Table twice = sample();
  twice.entries.push_back(twice.entries[0]);
  expect_refused(text_of(twice), "repeats");
}

TEST(TuningTable, SaysWhichFileCannotBeRead) {
  llvm::Expected<Table> table = read("/nowhere/table.json");
  ASSERT_FALSE(bool(table));
  EXPECT_NE(take_error(table.takeError()).second.find("/nowhere/table.json"), std::string::npos);
}

TEST(TuningTable, BuiltInOnesAreSoundAndForKnownTargets) {
  EXPECT_FALSE(shipped_tables().empty());
  for (const ShippedTable& file : shipped_tables()) {
    llvm::Expected<Table> table = parse(file.json, file.name);
    ASSERT_TRUE(bool(table)) << take_error(table.takeError()).second;
    EXPECT_FALSE(table->entries.empty()) << file.name;
    EXPECT_FALSE(table->source.empty()) << file.name;
    EXPECT_EQ(std::string(file.name), "sm_" + std::to_string(table->compute_capability) + "-" +
                                          std::to_string(table->sm_count));
    const Table* found = shipped(table->compute_capability, table->sm_count);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(*found, *table);
  }
  EXPECT_EQ(shipped(87, 3), nullptr);
}

}  // namespace
}  // namespace jllm::tuning

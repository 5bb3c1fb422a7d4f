// A plan's tables end right in front of its segments. However long they are, the plan must open:
// names of every length push them across the boundaries between pages.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::TempDir;

// A target of the user's own, like `host` but with a name for people of this length.
std::string target_file(const TempDir& dir, size_t name_length) {
  const std::string path = dir.file("target.json");
  test::write_text(path, R"({"format": 1, "name": "custom", "backend": "host",)"
                         R"( "defaults": {"prefill_chunk": 32, "kv": "f32"}, "device_name": ")" +
                             std::string(name_length, 'x') + "\"}");
  return path;
}

PlanPrefix prefix_of(const std::vector<uint8_t>& plan) {
  PlanPrefix prefix;
  std::memcpy(&prefix, plan.data(), sizeof prefix);
  return prefix;
}

TEST(Tables, FillTheirPagesToTheLastByte) {
  const TempDir dir;
  test::make_model(test::tiny_model(), dir.file("model.gguf"));
  CompileOptions options;
  options.input = dir.file("model.gguf");
  options.output = dir.file("model.jllm");
  options.plan.context = 32;
  const auto compile_with_name = [&](size_t length) {
    options.target = target_file(dir, length);
    test::make_plan(options);
    return test::read_file(options.output);
  };
  const PlanPrefix first = prefix_of(compile_with_name(1));
  // So many more bytes fill the page exactly.
  const uint64_t room = first.segments_offset - first.plan_offset - first.plan_size;
  ASSERT_LT(room, kSegmentAlignment);
  bool crossed = false;
  for (uint64_t length = room > 64 ? room - 64 : 1; length < room + 72; length += 4) {
    const std::vector<uint8_t> bytes = compile_with_name(length);
    const test::PlanInMemory plan(bytes);
    ASSERT_EQ(plan.error, Error::kOk) << plan.message << " with a name of " << length << " bytes";
    crossed |= prefix_of(bytes).segments_offset > first.segments_offset;
    test::RunningPlan run(plan);
    ASSERT_TRUE(run.ok()) << run.create_message;
  }
  EXPECT_TRUE(crossed) << "the tables never grew into the next page: the test tests nothing";
}

}  // namespace
}  // namespace jllm

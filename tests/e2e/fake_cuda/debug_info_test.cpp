// The debug segment: what jllmc gave NVRTC stands in the plan, so that the fake device can execute
// real cubins from their own sources.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/fake_cuda.h"
#include "tests/support/gpu.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm::test {
namespace {

CompileOptions options_with(bool debug_info) {
  CompileOptions options;
  options.target = kFakeTarget;
  options.plan.context = 64;
  options.plan.prefill_chunk = 16;
  options.plan.speculate = 0;
  options.debug_info = debug_info;
  return options;
}

std::string segment_text(const std::vector<uint8_t>& bytes, const PlanInMemory& plan) {
  const fb::Segment* segment = plan.view().find_segment(fb::SegmentKind::Debug);
  if (segment == nullptr) return "";
  return {bytes.begin() + static_cast<ptrdiff_t>(segment->offset()),
          bytes.begin() + static_cast<ptrdiff_t>(segment->offset() + segment->size())};
}

TEST(DebugInfo, IsThereOnRequestOnlyAndChangesNothingElse) {
  CompileOptions options = options_with(false);
  options.target = "host";
  const std::vector<uint8_t> without = plan_bytes(tiny_model(), options);
  options.debug_info = true;
  const std::vector<uint8_t> with = plan_bytes(tiny_model(), options);
  const PlanInMemory plan(with), plain(without);
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  EXPECT_EQ(segment_text(without, plain), "");
  const std::string text = segment_text(with, plan);
  for (const char* word : {"\"ir\":", "\"schedule\":", "\"memory\":", "\"files\":"}) {
    EXPECT_NE(text.find(word), std::string::npos) << word;
  }
  EXPECT_EQ(plan.view().plan().segments()->size(), plain.view().plan().segments()->size() + 1);
}

TEST(DebugInfo, ExecutesRealCubinsFromTheirSources) {
  JLLM_NEEDS_FAKE_CUDA();
  const std::vector<uint8_t> other_bytes = plan_bytes(tiny_model(), options_with(false));
  const std::string fake_nvrtc = std::getenv("JLLM_NVRTC");
  unsetenv("JLLM_NVRTC");
  const std::string reason = no_nvrtc_reason(87);
  const std::vector<uint8_t> bytes =
      reason.empty() ? plan_bytes(tiny_model(), options_with(true)) : std::vector<uint8_t>();
  setenv("JLLM_NVRTC", fake_nvrtc.c_str(), 1);
  if (!reason.empty()) GTEST_SKIP() << reason;

  const PlanInMemory plan(bytes), other(other_bytes);
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  const std::string text = segment_text(bytes, plan);
  std::vector<const void*> images;
  std::vector<uint64_t> sizes;
  for (const fb::Segment* segment : *plan.view().plan().segments()) {
    if (segment->kind() != fb::SegmentKind::Module) continue;
    images.push_back(bytes.data() + segment->offset());
    sizes.push_back(segment->size());
  }
  const char* const problem = fake_cuda()->add_sources(
      text.data(), text.size(), images.data(), sizes.data(), static_cast<uint32_t>(images.size()));
  ASSERT_EQ(problem, nullptr) << problem;
  // The same kernels by either way: the same bits.
  RunningPlan run(plan, {}), expected(other, {});
  ASSERT_TRUE(run.ok()) << run.create_message;
  ASSERT_TRUE(expected.ok()) << expected.create_message;
  const Tokens tokens = random_tokens(8, 512, 4);
  EXPECT_EQ(run.force_all(tokens), expected.force_all(tokens));
}

}  // namespace
}  // namespace jllm::test

// Plans whose weights lie in a file of their own: made once for many plans, found again, and
// refused where the file is another, damaged or not there.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "jllm/executor.h"
#include "schema/weight_file.h"
#include "tests/tools/plan_file/plans.h"

namespace jllm {
namespace {

using test::make_plan_file;
using test::outcome_of;
using tool::PlanFile;
using tool::PlanPaths;

// Tells a file that was written again from one that was left alone.
std::pair<ino_t, long> identity(const std::string& path) {
  struct stat info = {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return {info.st_ino, info.st_mtim.tv_nsec};
}

class SplitPlans : public testing::Test {
 protected:
  SplitPlans() { make_plan_file(plan(), {true, 64, 0}); }
  std::string plan() const { return dir_.file("a.jllm"); }
  test::TempDir dir_;
};

TEST_F(SplitPlans, GenerateWhatWholePlansDo) {
  const test::TempDir other;
  make_plan_file(other.file("whole.jllm"), {false, 64, 0});
  const std::vector<uint32_t> tokens = test::generate(plan());
  EXPECT_EQ(tokens, test::generate(other.file("whole.jllm")));
  EXPECT_GT(tokens.size(), 1u);
  PlanFile(plan()).verify();
  PlanFile(other.file("whole.jllm")).verify();
}

TEST_F(SplitPlans, AreSmallAndDeterministic) {
  const std::vector<uint8_t> bytes = test::read_file(plan());
  const std::vector<uint8_t> weights = test::read_file(test::weight_file_in(dir_));
  const test::TempDir other;
  make_plan_file(other.file("whole.jllm"), {false, 64, 0});
  EXPECT_EQ(bytes.size() + weights.size() - kWeightFileData,
            test::read_file(other.file("whole.jllm")).size());
  make_plan_file(other.file("b.jllm"), {true, 64, 0});
  EXPECT_EQ(test::read_file(other.file("b.jllm")), bytes);
  EXPECT_EQ(test::read_file(test::weight_file_in(other)), weights);
}

TEST_F(SplitPlans, OfAnotherContextShareTheWeights) {
  const std::string weights = test::weight_file_in(dir_);
  const auto before = identity(weights);
  make_plan_file(dir_.file("b.jllm"), {true, 128, 0});
  EXPECT_EQ(test::weight_file_in(dir_), weights);
  EXPECT_EQ(identity(weights), before);
  EXPECT_EQ(test::generate(dir_.file("b.jllm")), test::generate(plan()));
}

TEST_F(SplitPlans, OfOtherWeightsGetTheirOwnFile) {
  const std::string weights = test::weight_file_in(dir_);
  const std::vector<uint8_t> before = test::read_file(weights);
  const std::vector<uint32_t> tokens = test::generate(plan());
  make_plan_file(dir_.file("b.jllm"), {true, 64, 1});  // of the same name and size
  EXPECT_EQ(dir_.entries().size(), 4u);
  EXPECT_EQ(test::read_file(weights), before);
  EXPECT_EQ(test::generate(plan()), tokens);
  PlanFile(dir_.file("b.jllm")).verify();
  EXPECT_NE(test::generate(dir_.file("b.jllm")), tokens);
}

// Wherever it is damaged, in its header too: written again, whole.
TEST_F(SplitPlans, ADamagedWeightFileIsNotReused) {
  const std::string weights = test::weight_file_in(dir_);
  const std::vector<uint8_t> whole = test::read_file(weights);
  for (const uint64_t offset : {uint64_t{0}, uint64_t{40}, uint64_t{4095}, kWeightFileData,
                                kWeightFileData + 100000, whole.size() - 1}) {
    test::flip(weights, offset);
    ASSERT_NE(test::read_file(weights), whole);
    make_plan_file(dir_.file("b.jllm"), {true, 128, 0});
    EXPECT_EQ(test::weight_file_in(dir_), weights) << offset;
    EXPECT_TRUE(test::read_file(weights) == whole) << offset;
  }
}

TEST_F(SplitPlans, AFileOfAnotherNameIsNotReused) {
  const std::string weights = test::weight_file_in(dir_);
  ASSERT_EQ(std::rename(weights.c_str(), dir_.file("model-other.jllmw").c_str()), 0);
  make_plan_file(plan(), {true, 64, 0});
  EXPECT_EQ(test::read_file(weights), test::read_file(dir_.file("model-other.jllmw")));
}

TEST_F(SplitPlans, WithoutTheirWeights) {
  const std::string weights = test::weight_file_in(dir_);
  const std::string moved = dir_.file("elsewhere.bin");
  ASSERT_EQ(std::rename(weights.c_str(), moved.c_str()), 0);
  test::expect_refusal(outcome_of([&] { PlanFile{plan()}; }), tool::kFailed, "--weights FILE");
  PlanPaths paths(plan());
  paths.weights = moved;
  EXPECT_FALSE(test::generate(paths).empty());
}

TEST_F(SplitPlans, WithOtherFiles) {
  const std::string weights = test::weight_file_in(dir_);
  const std::vector<uint8_t> whole = test::read_file(weights);
  const auto refusal = [&] { return outcome_of([&] { PlanFile{plan()}; }); };
  test::write_file(weights, whole.data(), whole.size() - 1);
  test::expect_refusal(refusal(), tool::kInvalidFile, "is the copy complete?");
  test::write_text(weights, "");
  test::expect_refusal(refusal(), tool::kInvalidFile, "not a weight file");
  std::vector<uint8_t> other = whole;
  other[offsetof(WeightFileHeader, major)] = 2;
  test::write_file(weights, other.data(), other.size());
  test::expect_refusal(refusal(), tool::kInvalidFile, "weight file format 2.0");
  other = whole;
  other[offsetof(WeightFileHeader, sha256)] ^= 1;
  test::write_file(weights, other.data(), other.size());
  test::expect_refusal(refusal(), tool::kInvalidFile, "other weights");
}

TEST_F(SplitPlans, WholePlansTakeNoWeightFile) {
  make_plan_file(dir_.file("whole.jllm"), {false, 64, 0});
  PlanPaths paths(dir_.file("whole.jllm"));
  paths.weights = test::weight_file_in(dir_);
  test::expect_refusal(outcome_of([&] { PlanFile{paths}; }), tool::kUsage, "takes no --weights");
}

// Whoever embeds the executor gets the same checks.
TEST_F(SplitPlans, TheExecutorWantsTheirWeights) {
  PlanFile plan_file(plan());
  const PlanView& view = plan_file.view();
  const auto create = [&](PlanSource* weights, std::string* message) {
    ExecutorOptions options;
    options.threads = 1;
    options.weights = weights;
    const uint64_t size = (Executor::required_bytes(view, options) + 63) / 64 * 64;
    const std::unique_ptr<void, void (*)(void*)> memory(std::aligned_alloc(64, size), std::free);
    Message text;
    const Result<Executor*> executor =
        Executor::create(view, plan_file.source(), memory.get(), size, options, &text);
    if (executor.ok()) executor.value()->destroy();
    *message = text.text;
    return executor.error();
  };
  std::string message;
  EXPECT_EQ(create(plan_file.weights(), &message), Error::kOk) << message;
  EXPECT_EQ(create(nullptr, &message), Error::kBadArgument);
  EXPECT_NE(message.find("in a file of their own"), std::string::npos) << message;
  // Another file, and one shorter than a header.
  EXPECT_EQ(create(&plan_file.source(), &message), Error::kNotAPlan) << message;
  MemorySource nothing(nullptr, 0);
  EXPECT_EQ(create(&nothing, &message), Error::kNotAPlan) << message;
}

TEST_F(SplitPlans, VerifyFindsEveryDamagedRegion) {
  const std::string weights = test::weight_file_in(dir_);
  const std::vector<uint8_t> whole = test::read_file(weights);
  for (const uint64_t offset : {uint64_t{64}, uint64_t{4095}, kWeightFileData, whole.size() / 2}) {
    test::flip(weights, offset);
    test::expect_refusal(outcome_of([&] { PlanFile(plan()).verify(); }), tool::kInvalidFile,
                         weights);
    test::flip(weights, offset);
  }
  PlanFile(plan()).verify();
}

}  // namespace
}  // namespace jllm

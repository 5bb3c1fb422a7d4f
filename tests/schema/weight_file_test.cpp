// What of a split plan's tables is refused, and weight files that are not the one that a plan
// names.
#include "schema/weight_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "tests/support/edited_plan.h"

namespace jllm {
namespace {

using test::EditedPlan;

constexpr uint64_t kFileSize = 1u << 20;

fbedit::SegmentT& weights(EditedPlan* plan) {
  for (auto& segment : plan->tables.segments) {
    if (segment->kind == fbedit::SegmentKind::Weights) return *segment;
  }
  ADD_FAILURE() << "the plan has no weights";
  return *plan->tables.segments.front();
}

// The plan with its weights said to be elsewhere.
EditedPlan split_plan() {
  EditedPlan plan;
  plan.tables.weight_file = std::make_unique<fbedit::WeightFileT>();
  plan.tables.weight_file->name = "model-0123456789abcdef.jllmw";
  plan.tables.weight_file->sha256.assign(kSha256Bytes, 0x5a);
  fbedit::SegmentT& segment = weights(&plan);
  segment.in_weight_file = true;
  segment.offset = kWeightFileData;
  plan.tables.weight_file->size = kWeightFileData + (segment.size + kSegmentAlignment - 1) /
                                                        kSegmentAlignment * kSegmentAlignment;
  return plan;
}

void expect_refused(const std::function<void(EditedPlan*)>& edit, const std::string& words) {
  EditedPlan plan = split_plan();
  edit(&plan);
  const test::Opened opened = test::open_head(plan.head());
  EXPECT_EQ(opened.error, Error::kPlanInvalid) << words;
  EXPECT_NE(opened.message.find(words), std::string::npos) << opened.message;
}

TEST(SplitPlan, Opens) {
  const test::Opened opened = test::open_head(split_plan().head());
  EXPECT_EQ(opened.error, Error::kOk) << opened.message;
}

TEST(SplitPlan, NamesLeadToNoOtherFolder) {
  for (const std::string& name :
       {std::string(), std::string("a/b"), std::string("/etc/passwd"), std::string(".."),
        std::string("."), std::string(".hidden"), std::string("a\0b", 3), std::string(256, 'a')}) {
    expect_refused([&](EditedPlan* plan) { plan->tables.weight_file->name = name; }, "odd name");
  }
  EditedPlan longest = split_plan();
  longest.tables.weight_file->name = std::string(255, 'a');
  EXPECT_EQ(test::open_head(longest.head()).error, Error::kOk);
}

TEST(SplitPlan, SizesAndHashes) {
  expect_refused([](EditedPlan* plan) { plan->tables.weight_file->size = kSegmentAlignment - 1; },
                 "odd size");
  expect_refused([](EditedPlan* plan) { plan->tables.weight_file->size += 1; }, "odd size");
  expect_refused([](EditedPlan* plan) { plan->tables.weight_file->sha256.pop_back(); },
                 "no SHA-256");
}

TEST(SplitPlan, SegmentsLieInTheWeightFile) {
  // One page less, and the segment ends behind it.
  expect_refused([](EditedPlan* plan) { plan->tables.weight_file->size -= kSegmentAlignment; },
                 "outside the file");
  // Over the header.
  expect_refused([](EditedPlan* plan) { weights(plan).offset = 0; }, "outside the file");
  expect_refused([](EditedPlan* plan) { weights(plan).offset += 1; }, "outside the file");
  expect_refused(
      [](EditedPlan* plan) { weights(plan).offset = UINT64_MAX - kSegmentAlignment + 1; },
      "outside the file");
}

TEST(SplitPlan, OnlyWeightsLieElsewhere) {
  expect_refused([](EditedPlan* plan) { plan->tables.weight_file.reset(); }, "not named");
  expect_refused(
      [](EditedPlan* plan) {
        for (auto& segment : plan->tables.segments) {
          if (segment->kind == fbedit::SegmentKind::Tokenizer) segment->in_weight_file = true;
        }
      },
      "not named");
}

TEST(SignedPlan, SegmentsEndInFrontOfTheSignature) {
  EditedPlan plan;
  plan.prefix.flags = kPlanSigned;
  plan.prefix.file_size += kSegmentAlignment;
  plan.prefix.segments_size += kSegmentAlignment;
  EXPECT_EQ(test::open_head(plan.head(), plan.prefix.file_size).error, Error::kOk);
  // The last segment reaches one byte into it.
  auto& last = *plan.tables.segments.back();
  last.size = plan.prefix.file_size - kSegmentAlignment - last.offset;
  EXPECT_EQ(test::open_head(plan.head(), plan.prefix.file_size).error, Error::kOk);
  last.size += 1;
  EXPECT_EQ(test::open_head(plan.head(), plan.prefix.file_size).error, Error::kPlanInvalid);
}

TEST(SignedPlan, OtherFlagsAreUnknown) {
  EditedPlan plan;
  plan.prefix.flags = kPlanSigned << 1;
  EXPECT_EQ(test::open_head(plan.head(), plan.prefix.file_size).error, Error::kPlanDamaged);
}

class WeightFile : public testing::Test {
 protected:
  WeightFile() {
    EditedPlan plan = split_plan();
    plan.tables.weight_file->size = kFileSize;
    head_ = plan.head();
    Message message;
    const Result<PlanView> view =
        PlanView::open(head_.data(), head_.size(), plan.prefix.file_size, &message);
    EXPECT_TRUE(view.ok()) << message.text;
    view_ = view.value();
    header_.magic = kWeightFileMagic;
    header_.major = kWeightFileMajor;
    header_.data_offset = kWeightFileData;
    header_.file_size = kFileSize;
    std::memset(header_.sha256, 0x5a, sizeof header_.sha256);
  }

  void expect(Error error, const std::string& words, uint64_t header_size = sizeof header_,
              uint64_t file_size = kFileSize) {
    Message message;
    const auto* bytes = reinterpret_cast<const uint8_t*>(&header_);
    EXPECT_EQ(check_weight_file(view_, bytes, header_size, file_size, &message), error);
    EXPECT_NE(std::string(message.text).find(words), std::string::npos) << message.text;
  }

  std::vector<uint8_t> head_;
  PlanView view_;
  WeightFileHeader header_ = {};
};

TEST_F(WeightFile, TheRightOne) { expect(Error::kOk, ""); }

TEST_F(WeightFile, AForeignFile) {
  expect(Error::kNotAPlan, "not a weight file", sizeof header_ - 1, sizeof header_ - 1);
  expect(Error::kNotAPlan, "model-0123456789abcdef.jllmw", 0, 0);
  header_.magic = kPlanMagic;
  expect(Error::kNotAPlan, "not a weight file");
}

TEST_F(WeightFile, AnotherVersion) {
  header_.major = kWeightFileMajor + 1;
  expect(Error::kPlanVersion, "weight file format 2.0");
}

TEST_F(WeightFile, ATruncatedCopy) {
  expect(Error::kPlanTruncated, "is the copy complete?", sizeof header_, kFileSize - 1);
}

TEST_F(WeightFile, ADamagedHeader) {
  header_.reserved = 1;
  expect(Error::kPlanDamaged, "header is damaged");
  header_.reserved = 0;
  header_.data_offset = 0;
  expect(Error::kPlanDamaged, "header is damaged");
}

TEST_F(WeightFile, AnotherModels) {
  header_.sha256[31] ^= 1;
  expect(Error::kTargetMismatch, "other weights");
  header_.sha256[31] ^= 1;
  header_.file_size = kFileSize * 2;
  expect(Error::kTargetMismatch, "other weights", sizeof header_, kFileSize * 2);
}

}  // namespace
}  // namespace jllm

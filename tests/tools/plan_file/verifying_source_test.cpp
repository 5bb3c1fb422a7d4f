// Segments are handed out only from their start, in order and whole; and what is proved is what was
// read, even where the file changes under the reader's hands.
#include "tools/plan_file/verifying_source.h"

#include <gtest/gtest.h>

#include "tests/support/edited_plan.h"
#include "tests/support/running_plan.h"

namespace jllm {
namespace {

// Hands out other bytes when it is read a second time.
class ChangingSource final : public PlanSource {
 public:
  ChangingSource(std::vector<uint8_t> bytes, uint64_t changed)
      : bytes_(std::move(bytes)), changed_(changed) {}
  uint64_t size() const override { return bytes_.size(); }
  Error read(uint64_t offset, uint64_t size, void* dst) override {
    std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), size, static_cast<uint8_t*>(dst));
    const bool reached = offset <= changed_ && changed_ - offset < size;
    if (reached) bytes_[changed_] ^= 1;
    return Error::kOk;
  }

 private:
  std::vector<uint8_t> bytes_;
  uint64_t changed_;
};

class Verifying : public testing::Test {
 protected:
  Verifying()
      : plan_(test::small_plan()), file_(plan_.source()), source_(view(), file_, false, "P") {
    weights_ = view().find_segment(fb::SegmentKind::Weights);
    buffer_.resize(weights_->size() + 1);
  }
  const PlanView& view() const { return plan_.view(); }
  Error read(uint64_t first, uint64_t end) {
    return source_.read(weights_->offset() + first, end - first, buffer_.data());
  }

  test::PlanInMemory plan_;
  MemorySource file_;
  tool::VerifyingSource source_;
  const fb::Segment* weights_;
  std::vector<uint8_t> buffer_;
};

TEST_F(Verifying, PiecesOfASegmentInOrder) {
  EXPECT_EQ(read(0, weights_->size()), Error::kOk);
  EXPECT_EQ(read(0, 1), Error::kOk);
  EXPECT_EQ(read(1, 1000), Error::kOk);
  EXPECT_EQ(read(1000, weights_->size()), Error::kOk);
  EXPECT_EQ(source_.check_gaps(), Error::kOk);
  EXPECT_EQ(source_.refusal(), "");
}

TEST_F(Verifying, NoPieceFromTheMiddle) {
  EXPECT_EQ(read(1, weights_->size()), Error::kPlanDamaged);
  EXPECT_NE(source_.refusal().find("not read from its start"), std::string::npos);
  EXPECT_EQ(read(0, 10), Error::kOk);
  EXPECT_EQ(read(11, weights_->size()), Error::kPlanDamaged);
}

TEST_F(Verifying, NothingBeyondASegment) {
  EXPECT_EQ(read(0, weights_->size() + 1), Error::kPlanDamaged);
  uint8_t byte = 0;
  EXPECT_EQ(source_.read(0, 1, &byte), Error::kPlanDamaged);  // the head is no segment
}

TEST_F(Verifying, WhatIsReadIsWhatIsProved) {
  ChangingSource changing(test::small_plan(), weights_->offset() + weights_->size() / 2);
  tool::VerifyingSource source(view(), changing, false, "P");
  EXPECT_EQ(source.read(weights_->offset(), weights_->size(), buffer_.data()), Error::kOk);
  EXPECT_EQ(source.read(weights_->offset(), weights_->size(), buffer_.data()), Error::kPlanDamaged);
  EXPECT_EQ(source.refusal().rfind("P: the Weights segment", 0), 0u) << source.refusal();
}

}  // namespace
}  // namespace jllm

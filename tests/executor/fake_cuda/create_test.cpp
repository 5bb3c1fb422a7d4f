// Creating an executor on the CUDA backend: the block of memory that it needs, to the byte, and a
// device with too little memory, at every amount that makes a difference.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <utility>

#include "tests/executor/fake_cuda/plans.h"
#include "tests/support/edited_plan.h"

namespace jllm {
namespace {

using test::fake_cuda;
using test::fake_plan;
using test::RunningPlan;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Block = std::unique_ptr<uint8_t, Free>;

class CreateOnFakeCuda : public testing::Test {
 protected:
  void SetUp() override { JLLM_NEEDS_FAKE_CUDA(); }
};

TEST_F(CreateOnFakeCuda, FailsInEveryBlockThatIsTooSmallAndTouchesNothingBehindIt) {
  const uint64_t required = Executor::required_bytes(fake_plan().view());
  constexpr uint64_t kGuard = 256;
  const Block block(
      static_cast<uint8_t*>(std::aligned_alloc(64, (required + kGuard + 63) / 64 * 64)));
  for (uint64_t size = 0; size <= required; ++size) {
    std::memset(block.get() + size, 0xa5, kGuard);
    MemorySource source = fake_plan().source();
    Message message;
    const Result<Executor*> created = Executor::create(fake_plan().view(), source, block.get(),
                                                       size, RunningPlan::one_thread(), &message);
    ASSERT_EQ(created.error(), size < required ? Error::kHostMemoryTooSmall : Error::kOk)
        << size << " of " << required << ": " << message.text;
    if (size < required) {
      ASSERT_STREQ(message.text, ("the executor needs a 64-byte aligned block of " +
                                  std::to_string(required) + " bytes, got " + std::to_string(size))
                                     .c_str());
    } else {
      created.value()->destroy();
    }
    for (uint64_t i = 0; i < kGuard; ++i) ASSERT_EQ(block.get()[size + i], 0xa5) << size;
  }
  EXPECT_EQ(fake_cuda()->what_lives(), "");
}

TEST_F(CreateOnFakeCuda, FailsCleanlyWhereTheDeviceHasTooLittleMemory) {
  const test::PlanInMemory& plan = fake_plan();
  uint64_t total = 0;
  for (const fb::Arena* arena : *plan.view().plan().arenas()) total += arena->size();
  uint64_t needed = 0;  // the smallest that will do, found by halving
  for (uint64_t low = 0, high = total + (64 << 20); low < high;) {
    needed = (low + high) / 2;
    fake_cuda()->set_memory(needed);
    RunningPlan run(plan, {});
    run.ok() ? high = needed : low = needed + 1;
    if (!run.ok()) {
      ASSERT_TRUE(run.create_error == Error::kDeviceMemory ||
                  run.create_error == Error::kPinnedMemory)
          << run.create_message;
      ASSERT_NE(run.create_message, "");
    }
    needed = low;
  }
  // The arenas, an upload buffer of 8 MiB, and a byte where an arena is empty.
  EXPECT_GE(needed, total + (8 << 20));
  EXPECT_LE(needed, total + (8 << 20) + plan.view().plan().arenas()->size());
  fake_cuda()->set_memory(uint64_t{8} << 30);
  EXPECT_EQ(fake_cuda()->what_lives(), "");
}

// A plan of which some part cannot be read.
class PartlyReadable final : public PlanSource {
 public:
  PartlyReadable(const test::PlanInMemory& plan, fb::SegmentKind unreadable)
      : whole_(plan.source()), view_(plan.view()), unreadable_(unreadable) {}
  uint64_t size() const override { return whole_.size(); }
  Error read(uint64_t offset, uint64_t size, void* dst) override {
    for (const fb::Segment* segment : *view_.plan().segments()) {
      if (segment->kind() == unreadable_ && segment->offset() == offset) return Error::kReadFailed;
    }
    return whole_.read(offset, size, dst);
  }

 private:
  MemorySource whole_;
  const PlanView& view_;
  fb::SegmentKind unreadable_;
};

TEST_F(CreateOnFakeCuda, FailsCleanlyWhereThePlanCannotBeRead) {
  const uint64_t size = Executor::required_bytes(fake_plan().view());
  const Block block(static_cast<uint8_t*>(std::aligned_alloc(64, (size + 63) / 64 * 64)));
  for (const auto& [kind, begins] : {std::pair{fb::SegmentKind::Module, "cannot read the code at "},
                                     {fb::SegmentKind::Weights, "cannot read "}}) {
    PartlyReadable source(fake_plan(), kind);
    Message message;
    const Result<Executor*> created =
        Executor::create(fake_plan().view(), source, block.get(), size, {}, &message);
    EXPECT_EQ(created.error(), Error::kReadFailed);
    EXPECT_EQ(std::string(message.text).rfind(begins, 0), 0u) << message.text;
    EXPECT_EQ(fake_cuda()->what_lives(), "");
  }
}

// Code goes through the upload buffer in one piece.
TEST_F(CreateOnFakeCuda, RefusesCodeThatIsLongerThanTheUploadBuffer) {
  constexpr uint64_t kLimit = 8 << 20;
  test::EditedPlan edited(test::fake_plan_bytes());
  uint64_t end = edited.prefix.segments_offset;
  for (auto& segment : edited.tables.segments) {
    if (static_cast<int>(segment->kind) == static_cast<int>(fb::SegmentKind::Module)) {
      segment->size = kLimit + 1;
    }
    segment->offset = (end + kSegmentAlignment - 1) / kSegmentAlignment * kSegmentAlignment;
    end = segment->offset + segment->size;
  }
  edited.prefix.file_size = end;
  edited.prefix.segments_size = end - edited.prefix.segments_offset;
  std::vector<uint8_t> bytes = edited.file();
  bytes.resize(end);
  const test::PlanInMemory plan(bytes);
  ASSERT_EQ(plan.error, Error::kOk) << plan.message;
  const RunningPlan run(plan, {});
  EXPECT_EQ(run.create_error, Error::kPlanInvalid);
  EXPECT_EQ(run.create_message, "a code module is " + std::to_string(kLimit + 1) +
                                    " bytes long, at most " + std::to_string(kLimit) +
                                    " are supported");
  EXPECT_EQ(fake_cuda()->what_lives(), "");
}

}  // namespace
}  // namespace jllm

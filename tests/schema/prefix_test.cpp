// The first 64 bytes: every truncation, and every field with a value that it must not have.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "tests/support/edited_plan.h"

namespace jllm {
namespace {

using test::Opened;

PlanPrefix prefix_of(const std::vector<uint8_t>& head) {
  PlanPrefix prefix;
  std::memcpy(&prefix, head.data(), sizeof prefix);
  return prefix;
}

struct HeadSize {
  Error error = Error::kOk;
  uint64_t size = 0;
  std::string message;
};

HeadSize head_size(const std::vector<uint8_t>& bytes, uint64_t file_size) {
  Message message;
  const Result<uint64_t> size =
      PlanView::head_size(bytes.data(), bytes.size(), file_size, &message);
  return {size.error(), size.value(), message.text};
}

TEST(Prefix, GivesTheSizeOfTheHeadFromItsFirst64Bytes) {
  std::vector<uint8_t> head = test::small_head();
  const uint64_t file_size = test::small_plan().size();
  const uint64_t expected = head.size();
  head.resize(sizeof(PlanPrefix));
  const HeadSize found = head_size(head, file_size);
  EXPECT_EQ(found.error, Error::kOk) << found.message;
  EXPECT_EQ(found.size, expected);
}

TEST(Prefix, OpensAtExactlyTheHeadsSizeAndWithMore) {
  std::vector<uint8_t> head = test::small_head();
  const Opened exact = test::open_head(head);
  EXPECT_EQ(exact.error, Error::kOk) << exact.message;
  head.push_back(0xee);
  const Opened more = test::open_head(head);
  EXPECT_EQ(more.error, Error::kOk) << more.message;
}

TEST(Prefix, EveryTruncationIsRefused) {
  const std::vector<uint8_t> whole = test::small_head();
  const uint64_t file_size = test::small_plan().size();
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<uint8_t> part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    // The file is whole, but less of it was read.
    const Opened unread = test::open_head(part, file_size);
    ASSERT_EQ(unread.error, size < sizeof(PlanPrefix) ? Error::kNotAPlan : Error::kPlanTruncated)
        << size;
    // The file itself ends here.
    const Opened cut = test::open_head(part, size);
    ASSERT_EQ(cut.error, size < sizeof(PlanPrefix) ? Error::kNotAPlan : Error::kPlanTruncated)
        << size;
  }
}

TEST(Prefix, TruncationsAreNamedWithTheirNumbers) {
  std::vector<uint8_t> head = test::small_head();
  const uint64_t file_size = test::small_plan().size();
  EXPECT_EQ(test::open_head({head.begin(), head.begin() + 63}, file_size).message,
            "not a plan: only 63 bytes long");
  EXPECT_EQ(test::open_head({head.begin(), head.begin() + 64}, file_size).message,
            "only 64 of the plan's first " + std::to_string(head.size()) + " bytes were read");
  EXPECT_EQ(test::open_head(head, file_size - 1).message,
            "the plan should be " + std::to_string(file_size) + " bytes long but is " +
                std::to_string(file_size - 1) + "; is the copy complete?");
  EXPECT_EQ(test::open_head(head, file_size + 1).error, Error::kPlanTruncated);
}

struct BadPrefix {
  const char* name;
  std::function<void(PlanPrefix*)> edit;
  Error error;
  std::string message;
};

void PrintTo(const BadPrefix& bad, std::ostream* os) { *os << bad.name; }

class PrefixField : public testing::TestWithParam<BadPrefix> {};

TEST_P(PrefixField, IsRefused) {
  std::vector<uint8_t> head = test::small_head();
  PlanPrefix prefix = prefix_of(head);
  const uint64_t file_size = prefix.file_size;
  GetParam().edit(&prefix);
  std::memcpy(head.data(), &prefix, sizeof prefix);
  const Opened opened = test::open_head(head, file_size);
  EXPECT_EQ(opened.error, GetParam().error);
  EXPECT_EQ(opened.message, GetParam().message);
}

std::string other_version(int major, int minor) {
  const std::string ours = std::to_string(kPlanMajor);
  return "plan format " + std::to_string(major) + "." + std::to_string(minor) +
         ", this program reads " + ours + ".0 to " + ours + "." + std::to_string(kPlanMinor) +
         "; compile the model again";
}

constexpr const char* kDamagedPrefix = "the plan's prefix is damaged";

const BadPrefix kBadPrefixes[] = {
    {"Magic", [](PlanPrefix* p) { p->magic ^= 1; }, Error::kNotAPlan,
     "not a plan: it does not start with \"JLLM\""},
    {"OlderMajor", [](PlanPrefix* p) { p->major = 0; }, Error::kPlanVersion,
     other_version(0, kPlanMinor)},
    {"NewerMajor", [](PlanPrefix* p) { p->major = kPlanMajor + 1; }, Error::kPlanVersion,
     other_version(kPlanMajor + 1, kPlanMinor)},
    {"NewerMinor", [](PlanPrefix* p) { p->minor = kPlanMinor + 1; }, Error::kPlanVersion,
     other_version(kPlanMajor, kPlanMinor + 1)},
    {"PrefixSize", [](PlanPrefix* p) { p->prefix_size = 72; }, Error::kPlanDamaged, kDamagedPrefix},
    {"Flags", [](PlanPrefix* p) { p->flags = 2; }, Error::kPlanDamaged, kDamagedPrefix},
    {"PlanOffsetZero", [](PlanPrefix* p) { p->plan_offset = 0; }, Error::kPlanDamaged,
     kDamagedPrefix},
    {"PlanOffsetBeyond", [](PlanPrefix* p) { p->plan_offset = UINT64_MAX; }, Error::kPlanDamaged,
     kDamagedPrefix},
    {"PlanSizeHuge", [](PlanPrefix* p) { p->plan_size = UINT64_MAX; }, Error::kPlanDamaged,
     kDamagedPrefix},
    // offset + size wraps to a small number: the check must not add.
    {"PlanSizeWraps", [](PlanPrefix* p) { p->plan_size = UINT64_MAX - sizeof(PlanPrefix) + 2; },
     Error::kPlanDamaged, kDamagedPrefix},
    {"PlanSizeOverTheLimit", [](PlanPrefix* p) { p->plan_size = kMaxPlanBytes + 1; },
     Error::kPlanDamaged, kDamagedPrefix},
    {"PlanReachesIntoTheSegments",
     [](PlanPrefix* p) { p->plan_size = p->segments_offset - sizeof(PlanPrefix) + 1; },
     Error::kPlanDamaged, kDamagedPrefix},
    {"SegmentsUnaligned", [](PlanPrefix* p) { p->segments_offset += 8; }, Error::kPlanDamaged,
     kDamagedPrefix},
    {"SegmentsBehindTheEnd",
     [](PlanPrefix* p) { p->segments_offset = p->file_size + kSegmentAlignment; },
     Error::kPlanDamaged, kDamagedPrefix},
    {"SegmentsTooShort", [](PlanPrefix* p) { p->segments_size -= 1; }, Error::kPlanDamaged,
     kDamagedPrefix},
    {"SegmentsTooLong", [](PlanPrefix* p) { p->segments_size += 1; }, Error::kPlanDamaged,
     kDamagedPrefix},
    {"Hash", [](PlanPrefix* p) { p->plan_hash ^= 1; }, Error::kPlanDamaged,
     "the plan's tables are damaged (hash mismatch)"},
};

INSTANTIATE_TEST_SUITE_P(All, PrefixField, testing::ValuesIn(kBadPrefixes),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Prefix, TablesTooShortForAFlatBufferAreRefused) {
  for (const uint64_t size : {0, 1, 4, 7, 8, 12}) {
    std::vector<uint8_t> head = test::small_head();
    head.resize(sizeof(PlanPrefix) + size);
    PlanPrefix prefix = prefix_of(head);
    prefix.plan_size = size;
    std::memcpy(head.data(), &prefix, sizeof prefix);
    test::fix_hash(&head);
    const Opened opened = test::open_head(head);
    EXPECT_EQ(opened.error, Error::kPlanDamaged) << size;
    EXPECT_EQ(opened.message, "the plan's tables are damaged (FlatBuffers verification failed)");
  }
}

TEST(Prefix, AnotherFileIdentifierIsRefused) {
  std::vector<uint8_t> head = test::small_head();
  head[sizeof(PlanPrefix) + 4] ^= 1;
  test::fix_hash(&head);
  const Opened opened = test::open_head(head);
  EXPECT_EQ(opened.error, Error::kPlanDamaged);
  EXPECT_EQ(opened.message, "the plan's tables are damaged (FlatBuffers verification failed)");
}

}  // namespace
}  // namespace jllm

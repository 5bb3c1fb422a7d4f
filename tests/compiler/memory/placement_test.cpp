// memory::place on cases worked by hand and on random ones, and memory::verify on broken
// placements. The drawings show the arena (offsets to the right, one letter per unit) at each
// launch.
#include "compiler/memory/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "tests/compiler/gguf/raw_gguf.h"

namespace jllm::memory {
namespace {

using gguf::value_of;
using Offsets = std::vector<uint64_t>;

std::pair<ExitCode, std::string> verify_error(const std::vector<Interval>& intervals,
                                              const Placement& placement, uint64_t alignment) {
  llvm::Error error = verify(intervals, placement, alignment);
  if (!error) return {ExitCode::kDone, ""};
  return take_error(std::move(error));
}

TEST(Place, NothingNeedsNothing) {
  const Placement placement = value_of(place({}, 256));
  EXPECT_TRUE(placement.offsets.empty());
  EXPECT_EQ(placement.size, 0u);
  EXPECT_EQ(placement.lower_bound, 0u);
}

TEST(Place, BuffersThatNeverMeetShareTheirBytes) {
  // A lives at 0..1, B at 1..2, C at 2..3. A and C are the largest and go to 0, each alone; B meets
  // both and goes behind them. Launch 1 needs A + B = 3 units, so 3 is the least.
  //   0: AA.   1: AAB   2: CCB   3: CC.
  const std::vector<Interval> intervals = {{2, 0, 1}, {1, 1, 2}, {2, 2, 3}};
  const Placement placement = value_of(place(intervals, 1));
  EXPECT_EQ(placement.offsets, (Offsets{0, 2, 0}));
  EXPECT_EQ(placement.size, 3u);
  EXPECT_EQ(placement.lower_bound, 3u);
}

TEST(Place, TakesTheBestFittingGap) {
  // By size: A (8 units) to 0; B (7) meets A: 8; C (6) meets both: 15; D (5): 21, the end is 26.
  // At launch 1 only B and D are there, with gaps of 8 (in front of B) and 6 (between them).
  // E (4) takes the gap of 6 though the one of 8 comes first; F (3) no longer fits into the 2 that
  // are left of it and takes the one of 8. Launch 0 holds 8 + 7 + 6 + 5 = 26: no layout is smaller.
  //   0: AAAAAAAABBBBBBBCCCCCCDDDDD
  //   1: FFF.....BBBBBBBEEEE..DDDDD
  const std::vector<Interval> intervals = {{8, 0, 0}, {7, 0, 1}, {6, 0, 0},
                                           {5, 0, 1}, {4, 1, 1}, {3, 1, 1}};
  const Placement placement = value_of(place(intervals, 1));
  EXPECT_EQ(placement.offsets, (Offsets{0, 8, 15, 21, 15, 0}));
  EXPECT_EQ(placement.size, 26u);
  EXPECT_EQ(placement.lower_bound, 26u);
}

// Each of the three orders is the only one that finds the best of a case.
TEST(Place, OrderOfSizesWins) {
  // By size: B (3 units) and C (2) never meet: both at 0; A meets both: 3. Size 4 = A + B.
  // By size times life C (2 * 2) comes first, then A (1 * 3) at 2, then B, which meets A at launch
  // 3 and has only 2 units in front of it: 3..6. By first use C, A, B gives the same.
  const std::vector<Interval> intervals = {{1, 1, 3}, {3, 3, 3}, {2, 0, 1}};
  const Placement placement = value_of(place(intervals, 1));
  EXPECT_EQ(placement.offsets, (Offsets{3, 0, 0}));
  EXPECT_EQ(placement.size, 4u);
  EXPECT_EQ(placement.lower_bound, 4u);
}

TEST(Place, OrderOfSizeTimesLifeWins) {
  // By size times life: C (4 * 3) at 0; A (4 * 2) meets C: 4; D (3 * 2) meets C: 4; B (3) meets C
  // and D: 7..10. Launch 3 holds B + C + D = 10. By size, or by first use, A takes 0 and C stands
  // behind it at 4: the end is 11.
  const std::vector<Interval> intervals = {{4, 1, 2}, {3, 3, 3}, {4, 2, 4}, {3, 3, 4}};
  const Placement placement = value_of(place(intervals, 1));
  EXPECT_EQ(placement.offsets, (Offsets{4, 7, 0, 4}));
  EXPECT_EQ(placement.size, 10u);
  EXPECT_EQ(placement.lower_bound, 10u);
}

TEST(Place, OrderOfFirstUseWins) {
  // By first use: C at 0..4; B meets it at launch 1: 4; D meets B: 0..3; A meets D: 3..6.
  // Launch 3 holds A + D = 6. By size, or by size times life, A and D fill 0..6 first and B, which
  // meets C (0..4) and D (3..6), ends behind them: 7.
  const std::vector<Interval> intervals = {{3, 3, 4}, {1, 1, 2}, {4, 0, 1}, {3, 2, 3}};
  const Placement placement = value_of(place(intervals, 1));
  EXPECT_EQ(placement.offsets, (Offsets{3, 4, 0, 0}));
  EXPECT_EQ(placement.size, 6u);
  EXPECT_EQ(placement.lower_bound, 6u);
}

TEST(Place, IsNotAlwaysTheLowerBound) {
  // The greedy orders give 10, 10 and 11 units; launch 1 needs only B + C = 8, launch 0 needs 9.
  // (D at 0, A at 2, C at 5..9 and B at 0..4 would do it.) The bound tells the user what is lost.
  const std::vector<Interval> intervals = {{3, 0, 0}, {4, 1, 3}, {4, 0, 1}, {2, 0, 0}};
  const Placement placement = value_of(place(intervals, 1));
  EXPECT_EQ(placement.size, 10u);
  EXPECT_EQ(placement.lower_bound, 9u);
}

TEST(Place, SizesAreRoundedUpToTheAlignment) {
  // 1 -> 256, 257 -> 512, 256 -> 256: together 1024, all live at once.
  const std::vector<Interval> intervals = {{1, 0, 0}, {257, 0, 0}, {256, 0, 0}};
  const Placement placement = value_of(place(intervals, 256));
  EXPECT_EQ(placement.offsets, (Offsets{512, 0, 768}));  // by size, ties in the order given
  EXPECT_EQ(placement.size, 1024u);
  EXPECT_EQ(placement.lower_bound, 1024u);
}

TEST(Place, EqualBuffersAreTakenInTheOrderGiven) {
  const std::vector<Interval> intervals(5, Interval{64, 0, 3});
  EXPECT_EQ(value_of(place(intervals, 64)).offsets, (Offsets{0, 64, 128, 192, 256}));
}

TEST(Place, ALateLaunchDoesNotOverflow) {
  const std::vector<Interval> intervals = {{256, 0, UINT32_MAX}, {256, UINT32_MAX, UINT32_MAX}};
  const Placement placement = value_of(place(intervals, 256));
  EXPECT_EQ(placement.size, 512u);
  EXPECT_EQ(placement.lower_bound, 512u);
}

TEST(Place, SizesBeyond64BitsDoNotFit) {
  const uint64_t limit = uint64_t{1} << 62;
  EXPECT_EQ(value_of(place({{limit, 0, 0}}, 256)).size, limit);
  const std::vector<std::vector<Interval>> too_large = {
      {{UINT64_MAX, 0, 0}},        // rounding up overflows
      {{limit + 1, 0, 0}},         // beyond what live bytes are summed in
      {{limit, 0, 0}, {1, 5, 5}},  // the sum is beyond it
      {{limit, 0, 0}, {limit, 1, 1}, {limit, 2, 2}, {limit, 3, 3}},  // the sum overflows
  };
  for (const std::vector<Interval>& intervals : too_large) {
    llvm::Expected<Placement> placement = place(intervals, 256);
    ASSERT_FALSE(placement);
    const auto [code, text] = take_error(placement.takeError());
    EXPECT_EQ(code, ExitCode::kDoesNotFit);
    EXPECT_NE(text.find("64-bit"), std::string::npos) << text;
  }
}

// --- random intervals ---

struct RandomCase {
  std::vector<Interval> intervals;
  uint64_t alignment;
};

RandomCase random_case(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t n) { return random() % n; };
  RandomCase result;
  result.alignment = uint64_t{1} << below(9);
  const uint64_t launches = 1 + below(40);
  const uint64_t longest = 1 + below(launches);
  const uint64_t largest = 1 + below(below(2) != 0 ? 10 : 100000);
  for (uint64_t n = 1 + below(60); n > 0; --n) {
    const uint64_t first = below(launches);
    const uint64_t last = std::min(launches - 1, first + below(longest));
    result.intervals.push_back(
        {below(largest + 1), static_cast<uint32_t>(first), static_cast<uint32_t>(last)});
  }
  return result;
}

// Largest sum of aligned sizes over the launches, one launch at a time.
uint64_t peak(const RandomCase& c) {
  uint64_t largest = 0;
  for (uint32_t launch = 0; launch < 40; ++launch) {
    uint64_t live = 0;
    for (const Interval& i : c.intervals) {
      if (i.first <= launch && launch <= i.last) {
        live += (i.size + c.alignment - 1) / c.alignment * c.alignment;
      }
    }
    largest = std::max(largest, live);
  }
  return largest;
}

TEST(Place, RandomIntervalsAreLaidOutSoundly) {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const RandomCase c = random_case(seed);
    const Placement placement = value_of(place(c.intervals, c.alignment));
    ASSERT_EQ(verify_error(c.intervals, placement, c.alignment).second, "");
    ASSERT_EQ(placement.lower_bound, peak(c));
    ASSERT_GE(placement.size, placement.lower_bound);
    const Placement again = value_of(place(c.intervals, c.alignment));
    ASSERT_EQ(placement.offsets, again.offsets);
    ASSERT_EQ(placement.size, again.size);
  }
}

// Where no two buffers tie in any order, the order in which they are listed means nothing.
TEST(Place, ListingDistinctBuffersInAnotherOrderMovesNothing) {
  size_t checked = 0;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    std::vector<Interval> intervals;
    for (uint32_t i = 0; i < 12; ++i) {
      const uint64_t size = 64 * (1 + random() % 1000);
      intervals.push_back({size, i, i + static_cast<uint32_t>(random() % 6)});
    }
    const auto tie = [&](auto key) {
      std::vector<uint64_t> keys;
      for (const Interval& i : intervals) keys.push_back(key(i));
      std::sort(keys.begin(), keys.end());
      return std::adjacent_find(keys.begin(), keys.end()) != keys.end();
    };
    if (tie([](const Interval& i) { return i.size; }) ||
        tie([](const Interval& i) { return i.size * (i.last - i.first + 1); })) {
      continue;
    }
    ++checked;
    std::vector<size_t> order(intervals.size());
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    std::vector<Interval> shuffled;
    for (const size_t i : order) shuffled.push_back(intervals[i]);
    const Placement plain = value_of(place(intervals, 64));
    const Placement moved = value_of(place(shuffled, 64));
    ASSERT_EQ(plain.size, moved.size);
    for (size_t i = 0; i < order.size(); ++i) {
      ASSERT_EQ(moved.offsets[i], plain.offsets[order[i]]) << i;
    }
  }
  EXPECT_GT(checked, 100u);
}

// --- verify ---

class Verify : public testing::Test {
 protected:
  // Three buffers of 256 bytes; the first two meet, the third lives later.
  const std::vector<Interval> intervals_ = {{256, 0, 1}, {256, 1, 2}, {256, 2, 3}};
  Placement placement_ = value_of(place(intervals_, 256));

  void expect_broken(const std::string& part) {
    const auto [code, text] = verify_error(intervals_, placement_, 256);
    EXPECT_EQ(code, ExitCode::kFailed);
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
};

TEST_F(Verify, AcceptsASoundPlacement) {
  EXPECT_EQ(placement_.offsets, (Offsets{0, 256, 0}));
  EXPECT_EQ(verify_error(intervals_, placement_, 256).second, "");
}

TEST_F(Verify, FindsAnOverlap) {
  placement_.offsets[1] = 0;
  expect_broken("buffers 0 and 1 overlap");
}

TEST_F(Verify, FindsAnOverlapAtTheLastSharedLaunch) {
  placement_.offsets = {0, 256, 256};  // 1 and 2 meet at launch 2 only
  expect_broken("buffers 1 and 2 overlap");
}

TEST_F(Verify, FindsAnOverlapOfOneByte) {
  const std::vector<Interval> intervals = {{257, 0, 0}, {256, 0, 0}};
  Placement placement;
  placement.offsets = {0, 256};
  placement.size = 1024;
  EXPECT_EQ(verify_error(intervals, placement, 256).second, "internal: buffers 0 and 1 overlap");
}

TEST_F(Verify, FindsABufferBehindTheArena) {
  placement_.offsets[2] = 512;
  expect_broken("buffer 2 lies outside its arena");
}

TEST_F(Verify, FindsAnArenaThatIsTooSmall) {
  --placement_.size;
  expect_broken("buffer 1 lies outside its arena");
}

TEST_F(Verify, FindsAnOffsetThatWrapsAround) {
  placement_.offsets[2] = UINT64_MAX - 255;  // a multiple of 256 whose end is 0
  expect_broken("buffer 2 lies outside its arena");
}

TEST_F(Verify, FindsAMisalignedBuffer) {
  placement_.size = 1024;
  placement_.offsets[1] = 320;
  expect_broken("buffer 1 lies outside its arena");
}

TEST_F(Verify, FindsAMissingOffset) {
  placement_.offsets.pop_back();
  expect_broken("2 offsets for 3 buffers");
}

}  // namespace
}  // namespace jllm::memory

// Waiting for tokens, on a clock of our own: a device that makes one every T, a host that asks for
// four ahead, and a kernel that stretches every sleep. The device never starves, the host sleeps a
// few times a token at most and stays awake for next to nothing.
#include "executor/src/cuda/token_wait.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace jllm {
namespace {

constexpr uint64_t kMicrosecond = 1000;
// A token is noticed a nap late at most. The wait for the next is shorter by as much, and its sleep
// aims a third of a stretch behind the end.
constexpr uint64_t kLatest =
    TokenWait::kLongestNap + TokenWait::kStretch + TokenWait::kStretch / 3 + 1;

class Simulation {
 public:
  struct Result {
    double sleeps = 0;    // a token
    double awake_ns = 0;  // a token
    uint64_t end = 0;     // when the last token was noticed
    uint64_t latest = 0;  // how late a token was noticed at most
  };

  // Tokens of these lengths, `ahead` of them asked for at a time.
  Result run(const std::vector<uint64_t>& lengths, uint32_t ahead) {
    Result result;
    std::vector<uint64_t> arrival;
    uint64_t device_free = now_;
    uint64_t sleeps = 0, awake = 0;
    for (size_t taken = 0; taken < lengths.size(); ++taken) {
      while (arrival.size() < lengths.size() && arrival.size() - taken < ahead) {
        now_ += kLaunch;
        device_free = std::max(device_free, now_) + lengths[arrival.size()];
        arrival.push_back(device_free);
      }
      const bool more = arrival.size() - taken > 1;
      for (uint32_t turn = 0; arrival[taken] > now_; ++turn) {
        const uint64_t sleep = wait_.sleep_for(turn, more, now_);
        sleeps += sleep > 0 ? 1 : 0;
        awake += sleep > 0 ? 0 : kLook;
        now_ += sleep > 0 ? sleep + stretch_(random_) : kLook;
      }
      result.latest = std::max(result.latest, now_ - arrival[taken]);
    }
    result.sleeps = double(sleeps) / double(lengths.size());
    result.awake_ns = double(awake) / double(lengths.size());
    result.end = now_;
    return result;
  }

  TokenWait& wait() { return wait_; }

  static constexpr uint64_t kLaunch = 5 * kMicrosecond, kLook = 100;

 private:
  TokenWait wait_;
  uint64_t now_ = 1;
  std::mt19937_64 random_{1};
  std::uniform_int_distribution<uint64_t> stretch_{50 * kMicrosecond, 58 * kMicrosecond};
};

TEST(TokenWait, TheDeviceNeverStarvesAndTheHostSleeps) {
  constexpr uint32_t kTokens = 2000;
  for (const uint64_t length : {80, 150, 400, 1000, 10000, 100000}) {
    Simulation simulation;
    const std::vector<uint64_t> lengths(kTokens, length * kMicrosecond);
    const Simulation::Result r = simulation.run(lengths, 4);
    // One launch before the first token, and the last noticed at most a nap late.
    const uint64_t busy = kTokens * length * kMicrosecond + Simulation::kLaunch;
    EXPECT_LE(r.end, busy + r.latest) << length;
    // Late by a nap, or by what a sleep was too long: expected grows by a nap and shrinks by a
    // 64th.
    EXPECT_LE(r.latest, kLatest) << length;
    EXPECT_LE(r.sleeps, 3) << length;
    // The turns before the first sleep, and the last token, for which nothing else is in flight.
    const double last = double(length) * kMicrosecond / kTokens;
    EXPECT_LE(r.awake_ns, TokenWait::kAwakeTurns * double(Simulation::kLook) + last) << length;
  }
}

// With one token at a time the device waits for the host: it looks without a nap, and does not
// oversleep.
TEST(TokenWait, NothingIsSleptAwayWhenTheDeviceWaitsForTheHost) {
  for (const uint64_t length : {100, 400, 10000}) {
    Simulation simulation;
    const Simulation::Result r =
        simulation.run(std::vector<uint64_t>(500, length * kMicrosecond), 1);
    EXPECT_LE(r.latest, Simulation::kLook) << length;
    EXPECT_LE(r.sleeps, 1) << length;
  }
}

// Prompts of a second each, then generation: the first tokens are not slept through.
TEST(TokenWait, ALongPromptDoesNotDelayWhatFollows) {
  Simulation simulation;
  for (int prompt = 0; prompt < 4; ++prompt) {
    simulation.wait().forget();
    simulation.run({1000000 * kMicrosecond}, 1);
  }
  simulation.wait().forget();
  std::vector<uint64_t> lengths(100, 400 * kMicrosecond);
  lengths[0] = 1000000 * kMicrosecond;
  const uint64_t busy = lengths[0] + 99 * 400 * kMicrosecond;
  Simulation fresh;
  const uint64_t alone = fresh.run(lengths, 4).end;
  EXPECT_LE(alone, busy + Simulation::kLaunch + 1 + TokenWait::kStretch);
  const Simulation::Result r = simulation.run(lengths, 4);
  EXPECT_LE(r.latest, kLatest);
}

// The host may stand still at any moment: whatever it finds then, no sleep is longer than the waits
// before.
TEST(TokenWait, NoSleepIsLongerThanTheWaitsBefore) {
  constexpr uint64_t kWait = 5000 * kMicrosecond;
  for (const bool may_be_late : {false, true}) {
    for (uint64_t lost = 0; lost < 3 * kWait; lost += 7 * kMicrosecond) {
      TokenWait wait;
      uint64_t now = 1;
      for (int token = 0; token < 3; ++token) {
        wait.sleep_for(0, may_be_late, now);
        wait.sleep_for(TokenWait::kAwakeTurns + 1, may_be_late, now + kWait);
        now += 2 * kWait;
      }
      wait.sleep_for(0, may_be_late, now);
      EXPECT_LE(wait.sleep_for(TokenWait::kAwakeTurns, may_be_late, now + lost), kWait) << lost;
    }
  }
}

// A device whose clock rises makes tokens faster: sleeps follow within a few.
TEST(TokenWait, ShorterWaitsAreLearned) {
  Simulation simulation;
  simulation.run(std::vector<uint64_t>(50, 2000 * kMicrosecond), 4);
  constexpr uint32_t kTokens = 500;
  Simulation alone;
  const std::vector<uint64_t> faster(kTokens, 1000 * kMicrosecond);
  simulation.run(faster, 4);  // what it overslept is behind it
  const Simulation::Result r = simulation.run(faster, 4);
  EXPECT_LE(r.latest, kLatest);
  EXPECT_LE(r.sleeps, 3);
}

// The same where the device waits for the host: a sleep that was too long by half is made up for
// within ten tokens, each of which takes an eighth off it.
TEST(TokenWait, ShorterWaitsAreLearnedAtOnceWhenTheDeviceWaits) {
  Simulation simulation;
  simulation.run(std::vector<uint64_t>(50, 2000 * kMicrosecond), 1);
  const std::vector<uint64_t> faster(10, 1000 * kMicrosecond);
  EXPECT_GT(simulation.run(faster, 1).latest, TokenWait::kStretch);  // the first is slept through
  EXPECT_LE(simulation.run(faster, 1).latest, Simulation::kLook);
}

}  // namespace
}  // namespace jllm

// How to wait for a token without asking the driver and without burning a CPU core: tokens come at
// equal intervals, so most of a wait can be slept through at once. What is left is napped through
// where being late costs nothing, because the device has more to do behind that token; else it is
// spent awake. One of these for every graph, because each takes its own time. Times in ns.
#pragma once

#include <cstdint>

namespace jllm {

class TokenWait {
 public:
  static constexpr uint32_t kAwakeTurns = 4;   // before the first sleep
  static constexpr uint64_t kStretch = 60000;  // what the kernel adds to a sleep, at most as a rule
  static constexpr uint64_t kLongestNap = 200000;

  // The next wait has nothing to do with the last ones: a prompt, another depth.
  void forget() { length_ = last_ = before_last_ = 0; }

  // For how long to sleep now; 0: look at once again. `turn` counts from 0 within a wait.
  uint64_t sleep_for(uint32_t turn, bool may_be_late, uint64_t now) {
    if (turn == 0) {
      before_last_ = last_;
      last_ = length_;
      start_ = now;
    }
    length_ = now - start_;
    if (turn < kAwakeTurns) return 0;
    if (turn > kAwakeTurns) return may_be_late ? nap() : 0;
    // A single long wait (a prompt was fed) says nothing of the next.
    const uint64_t most = before_last_ + before_last_ / 4;
    const uint64_t expected = last_ < most ? last_ : most;
    // To wake about when the token comes, or before it where being late would cost.
    const uint64_t margin = may_be_late ? kStretch * 2 / 3 : kStretch + expected / 16;
    if (expected < length_ + margin + kStretch) return may_be_late ? nap() : 0;
    const uint64_t slept = expected - length_ - margin;
    // Stands if the token is there on waking: then the wait was shorter. By how much is not known,
    // and where it costs time to have overslept, the next sleep gives way at once.
    const uint64_t shorter = may_be_late ? expected / 64 : expected / 8;
    length_ = expected - (may_be_late && shorter > kLongestNap ? kLongestNap : shorter);
    return slept;
  }

 private:
  // Longer behind a long wait, but never so long that the device runs out of work meanwhile.
  uint64_t nap() const { return 1 + (length_ < 128 * kLongestNap ? length_ / 128 : kLongestNap); }

  uint64_t start_ = 0;
  uint64_t length_ = 0;  // of this wait so far, at least
  uint64_t last_ = 0, before_last_ = 0;
};

}  // namespace jllm

// The sampler against the reference: the same token, state and ring for every chain of settings.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/reference/reference.h"
#include "tests/kernels/gpu/gpu.h"
#include "tests/kernels/gpu/inputs.h"

namespace jllm::test {
namespace {

constexpr unsigned kContext = 64;

constexpr unsigned kTops = 7;

// The largest ranks of the logits by id modulo kTops, as head leaves them (ranks.cuh).
std::vector<uint64_t> tops_of(const std::vector<float>& logits) {
  std::vector<uint64_t> tops(kTops, 0);
  for (size_t id = 0; id < logits.size(); ++id) {
    const float logit = logits[id] + 0.0f;
    uint32_t bits;
    std::memcpy(&bits, &logit, sizeof(bits));
    const uint32_t key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    const uint64_t rank =
        std::isnan(logit) ? ~uint64_t(0) : uint64_t(key) << 32 | (0xffffffffu - uint32_t(id));
    tops[id % kTops] = std::max(tops[id % kTops], rank);
  }
  return tops;
}

// One step on the device and in the reference, from the same start; everything must agree.
void check(const StepState& start, std::vector<float> logits, bool advance, const std::string& what,
           bool with_tops) {
  const unsigned vocab = unsigned(logits.size());
  Random random(vocab + start.draws);
  std::vector<uint32_t> tokens(kContext);
  for (uint32_t& token : tokens) token = uint32_t(random.below(std::min(vocab, 40u)));
  const RingSlot empty = {7, 7, 7, 7};
  std::vector<RingSlot> ring(kRingSlots, empty);

  const Buffer state(std::vector<StepState>{start}), token_buffer(tokens), logit_buffer(logits);
  const Buffer work(logits.size() * 4), ring_buffer(ring), tops(tops_of(logits));
  std::vector<std::string> defines = {define("VOCAB", vocab), define("ADVANCE", advance)};
  std::vector<Argument> arguments = {state, token_buffer, logit_buffer, work, ring_buffer};
  if (with_tops) {
    defines.push_back(define("TOPS", kTops));
    arguments.push_back(tops);
  }
  launch("sample", defines, kernels::sample_shape(), arguments);

  StepState expected = start;
  reference::sample(expected, tokens, logits, ring, advance);
  const StepState got = state.values<StepState>()[0];
  const auto got_tokens = token_buffer.values<uint32_t>();
  EXPECT_EQ(got_tokens, tokens) << what;
  EXPECT_EQ(got.position, expected.position) << what;
  EXPECT_EQ(got.count, expected.count) << what;
  EXPECT_EQ(got.done, expected.done) << what;
  EXPECT_EQ(std::memcmp(&got, &expected, sizeof(got)), 0) << what;
  const auto got_ring = ring_buffer.values<RingSlot>();
  EXPECT_EQ(std::memcmp(got_ring.data(), ring.data(), sizeof(RingSlot) * kRingSlots), 0) << what;
  const auto after = logit_buffer.values();
  EXPECT_EQ(std::memcmp(after.data(), logits.data(), logits.size() * 4), 0) << what << " logits";
}

void check(const StepState& start, const std::vector<float>& logits, bool advance,
           const std::string& what) {
  check(start, logits, advance, what, false);
  check(start, logits, advance, what + ", the head's tops known", true);
}

StepState start_state(Random& random) {
  StepState state = make_state(29, 30, kContext);
  state.seed_low = uint32_t(random.below(1ull << 32));
  state.seed_high = uint32_t(random.below(1ull << 32));
  state.draws = uint32_t(random.below(1000));
  state.sampled = uint32_t(random.below(1000));
  state.end_token_count = 2;
  state.end_tokens[0] = 3;
  state.end_tokens[1] = 5;
  return state;
}

TEST(Sample, Greedy) {
  JLLM_NEEDS_GPU();
  Random random(1500);
  for (unsigned vocab : {1u, 33u, 512u, 32003u, 128256u}) {
    for (int i = 0; i < 3; ++i) {
      auto logits = random.normals(vocab, 5);
      StepState state = start_state(random);
      check(state, logits, i % 2 == 0, "vocab " + std::to_string(vocab));
      state.repeat_penalty = 1.7f;
      state.repeat_last_n = 20;
      check(state, logits, true, "penalty, vocab " + std::to_string(vocab));
      // Ties go to the lowest id, zeros of both signs too.
      for (float& logit : logits) logit = random.below(2) == 0 ? 0.0f : -0.0f;
      check(state, logits, true, "ties, vocab " + std::to_string(vocab));
    }
  }
}

TEST(Sample, RandomChains) {
  JLLM_NEEDS_GPU();
  Random random(1600);
  for (unsigned vocab : {512u, 32003u, 128256u}) {
    const int turns = vocab == 512 ? 300 : 40;
    for (int i = 0; i < turns; ++i) {
      const auto logits = random.normals(vocab, random.below(2) == 0 ? 2.0f : 8.0f);
      StepState state = start_state(random);
      state.temperature = std::array{0.1f, 0.8f, 1.0f, 5.0f}[random.below(4)];
      if (random.below(2) == 0) state.top_k = uint32_t(1 + random.below(80));
      if (random.below(2) == 0) state.top_p = std::array{0.0f, 0.3f, 0.9f, 0.999f}[random.below(4)];
      if (random.below(2) == 0) state.min_p = std::array{0.02f, 0.3f, 1.0f}[random.below(3)];
      if (random.below(2) == 0) {
        state.repeat_penalty = 1.3f;
        state.repeat_last_n = uint32_t(random.below(40));
      }
      check(state, logits, random.below(2) == 0,
            "vocab " + std::to_string(vocab) + " turn " + std::to_string(i));
    }
  }
}

TEST(Sample, TiedLogitsSurviveTogether) {
  JLLM_NEEDS_GPU();
  Random random(1700);
  for (int i = 0; i < 60; ++i) {
    auto logits = random.normals(700);
    for (float& logit : logits) logit = std::round(logit * 2);
    StepState state = start_state(random);
    state.temperature = 1;
    state.top_k = uint32_t(1 + random.below(200));
    if (i % 2 == 0) state.top_p = 0.7f;
    check(state, logits, true, "turn " + std::to_string(i));
  }
}

TEST(Sample, EndsAndLimits) {
  JLLM_NEEDS_GPU();
  Random random(1800);
  auto logits = random.normals(100);
  logits[5] = 50;
  StepState state = start_state(random);
  check(state, logits, true, "end token");
  state.ignore_end = 1;
  check(state, logits, true, "ignored end token");
  state.count = kContext;
  state.position = kContext - 1;
  check(state, logits, true, "context full");
  state.ignore_end = 0;
  check(state, logits, false, "context full and end token");
  state.done = kEndToken;
  check(state, logits, true, "already done");
}

TEST(Sample, OddLogits) {
  JLLM_NEEDS_GPU();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Random random(1900);
  for (float temperature : {0.0f, 0.7f}) {
    auto logits = random.normals(600);
    StepState state = start_state(random);
    state.temperature = temperature;
    logits[77] = -kInfinity;
    check(state, logits, true, "one -inf");
    state.top_p = 0.9f;
    logits[300] = kInfinity;
    logits[301] = kInfinity;
    check(state, logits, true, "two +inf");
    logits[302] = std::numeric_limits<float>::quiet_NaN();
    check(state, logits, true, "a NaN");
    check(state, std::vector<float>(600, -kInfinity), true, "all -inf");
    check(state, std::vector<float>(600, kInfinity), true, "all +inf");
  }
}

}  // namespace
}  // namespace jllm::test

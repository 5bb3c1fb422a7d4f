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

// A TokenMask that allows about `percent` of the tokens, and its words.
std::vector<uint32_t> make_mask(Random& random, unsigned vocab, unsigned percent) {
  std::vector<uint32_t> mask(sizeof(TokenMask) / 4 + (vocab + 31) / 32, 0);
  for (unsigned i = 0; i < vocab; ++i) {
    if (random.below(100) < percent) mask[4 + i / 32] |= 1u << i % 32;
  }
  return mask;
}

// One step on the device and in the reference, from the same start; everything must agree. `mask`:
// as make_mask() has it; its first word says whether it counts.
void check(const StepState& start, std::vector<float> logits, bool advance, const std::string& what,
           bool with_tops, const std::vector<uint32_t>& mask) {
  const unsigned vocab = unsigned(logits.size());
  Random random(vocab + start.draws);
  std::vector<uint32_t> tokens(kContext);
  for (uint32_t& token : tokens) token = uint32_t(random.below(std::min(vocab, 40u)));
  const RingSlot empty = {7, 7, 7, 7};
  std::vector<RingSlot> ring(kRingSlots, empty);

  const Buffer state(std::vector<StepState>{start}), token_buffer(tokens), logit_buffer(logits);
  const Buffer work(logits.size() * 4), ring_buffer(ring), tops(tops_of(logits)), mask_buffer(mask);
  std::vector<std::string> defines = {define("VOCAB", vocab), define("ADVANCE", advance)};
  std::vector<Argument> arguments = {state, token_buffer, logit_buffer,
                                     work,  ring_buffer,  mask_buffer};
  if (with_tops) {
    defines.push_back(define("TOPS", kTops));
    arguments.push_back(tops);
  }
  launch("sample", defines, kernels::sample_shape(), arguments);

  StepState expected = start;
  const std::span<const uint32_t> allowed = std::span(mask).subspan(mask[0] != 0 ? 4 : mask.size());
  reference::sample(expected, tokens, logits, ring, advance, allowed);
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
  Random random(logits.size() + start.seed_low);
  for (const unsigned percent : {50u, 1u}) {
    std::vector<uint32_t> mask = make_mask(random, unsigned(logits.size()), percent);
    for (const bool active : {false, true}) {
      mask[0] = active;
      const std::string with =
          what + (active ? ", " + std::to_string(percent) + " % allowed" : std::string());
      check(start, logits, advance, with, false, mask);
      check(start, logits, advance, with + ", the head's tops known", true, mask);
    }
  }
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

// A verify replay's rows against steps of the reference one after another, with a draft that is
// right for `right` tokens.
void check_accept(const StepState& start, unsigned rows, unsigned right, unsigned vocab,
                  Random& random, bool with_tops) {
  std::vector<uint32_t> tokens(kContext);
  for (uint32_t& token : tokens) token = uint32_t(random.below(std::min(vocab, 40u)));
  const RingSlot empty = {7, 7, 7, 7};
  std::vector<RingSlot> ring(kRingSlots, empty);
  std::vector<float> logits;
  std::vector<uint64_t> tops;
  for (unsigned row = 0; row < rows; ++row) {
    const std::vector<float> own = random.normals(vocab, 5);
    logits.insert(logits.end(), own.begin(), own.end());
    const std::vector<uint64_t> own_tops = tops_of(own);
    tops.insert(tops.end(), own_tops.begin(), own_tops.end());
  }
  // What plain steps make of them; the draft has it, up to the first that is wrong.
  const std::vector<uint32_t> before = tokens;
  std::vector<uint32_t> guesses;
  StepState expected = start;
  unsigned sampled = 0;
  for (bool more = true; more && sampled < rows;) {
    const unsigned place = expected.count;
    reference::sample(expected, tokens, std::span(logits).subspan(size_t(sampled) * vocab, vocab),
                      ring, true);
    ++sampled;
    more = expected.done == kRunning && sampled <= right;
    if (place < kContext) guesses.push_back(tokens[place] ^ (more ? 0u : 1u));
  }
  guesses.resize(std::min<size_t>(rows - 1, kContext - start.count), 0);

  std::vector<uint32_t> drafted = before;
  std::copy(guesses.begin(), guesses.end(), drafted.begin() + start.count);
  StepState behind_draft = start;
  behind_draft.count += unsigned(guesses.size());
  const Buffer state(std::vector<StepState>{behind_draft}), token_buffer(drafted),
      logit_buffer(logits), work(size_t(vocab) * 4),
      ring_buffer(std::vector<RingSlot>(kRingSlots, empty)), draft(std::vector<Draft>{{}}),
      top_buffer(tops);
  std::vector<std::string> defines = {define("VOCAB", vocab), define("ROWS", rows)};
  std::vector<Argument> arguments = {state, token_buffer, logit_buffer, work, ring_buffer, draft};
  if (with_tops) {
    defines.push_back(define("TOPS", kTops));
    arguments.push_back(top_buffer);
  }
  launch("accept", defines, kernels::sample_shape(), arguments);

  const std::string what = "rows " + std::to_string(rows) + " right " + std::to_string(right);
  EXPECT_EQ(draft.values<Draft>()[0].sampled, sampled) << what;
  const StepState got = state.values<StepState>()[0];
  EXPECT_EQ(std::memcmp(&got, &expected, sizeof(got)), 0)
      << what << ": count " << got.count << " for " << expected.count;
  std::vector<uint32_t> got_tokens = token_buffer.values<uint32_t>();
  got_tokens.resize(got.count);
  tokens.resize(expected.count);
  EXPECT_EQ(got_tokens, tokens) << what;
  const auto got_ring = ring_buffer.values<RingSlot>();
  EXPECT_EQ(std::memcmp(got_ring.data(), ring.data(), sizeof(RingSlot) * kRingSlots), 0) << what;
}

TEST(Accept, DrawsAsStepsOneAfterAnother) {
  JLLM_NEEDS_GPU();
  Random random(1900);
  for (const unsigned rows : {2u, 4u, 5u, 8u}) {
    for (unsigned right = 0; right < rows; ++right) {
      for (const bool with_tops : {false, true}) {
        StepState state = start_state(random);
        check_accept(state, rows, right, 32003, random, with_tops);
        state.repeat_penalty = 1.7f;
        state.repeat_last_n = 20;
        check_accept(state, rows, right, 512, random, with_tops);
        state.temperature = 0.8f;
        state.top_k = 40;
        check_accept(state, rows, right, 512, random, with_tops);
        // Among few tokens the end comes soon.
        check_accept(state, rows, right, 7, random, with_tops);
        state = start_state(random);
        state.position = kContext - 3, state.count = kContext - 2;  // room for two more
        check_accept(state, rows, right, 512, random, with_tops);
      }
    }
  }
}

TEST(Accept, NothingBehindTheEnd) {
  JLLM_NEEDS_GPU();
  Random random(1950);
  StepState start = start_state(random);
  start.done = kEndToken;
  const Buffer state(std::vector<StepState>{start}), tokens(kContext * 4), logits(4 * 512 * 4),
      work(512 * 4), ring(kRingSlots * sizeof(RingSlot)), draft(sizeof(Draft));
  launch("draft", {"ROWS=4"}, kernels::draft_shape(), {state, tokens, draft});
  launch("accept", {"VOCAB=512", "ROWS=4"}, kernels::sample_shape(),
         {state, tokens, logits, work, ring, draft});
  const StepState got = state.values<StepState>()[0];
  EXPECT_EQ(std::memcmp(&got, &start, sizeof(got)), 0);
  for (const Buffer* buffer : {&tokens, &ring, &draft}) {
    for (const uint32_t word : buffer->values<uint32_t>()) ASSERT_EQ(word, 0xffffffffu);
  }
}

TEST(Draft, AppendsWhatHasRoom) {
  JLLM_NEEDS_GPU();
  Random random(1960);
  for (const unsigned count : {30u, kContext - 2, kContext}) {
    for (const unsigned drafted : {0u, 1u, 3u, 1000u}) {
      StepState start = start_state(random);
      start.position = count - 1, start.count = count;
      Draft draft = {};
      draft.count = drafted;
      for (unsigned i = 0; i < kMaxDraft; ++i) draft.tokens[i] = 100 + i;
      const Buffer state(std::vector<StepState>{start}), tokens(kContext * 4),
          draft_buffer(std::vector<Draft>{draft});
      launch("draft", {"ROWS=4"}, kernels::draft_shape(), {state, tokens, draft_buffer});
      const unsigned taken = std::min({drafted, 3u, kContext - count});
      EXPECT_EQ(state.values<StepState>()[0].count, count + taken);
      const auto got = tokens.values<uint32_t>();
      for (unsigned i = 0; i < kContext; ++i) {
        const bool is_new = i >= count && i < count + taken;
        EXPECT_EQ(got[i], is_new ? 100 + i - count : 0xffffffffu) << i;
      }
    }
  }
}

}  // namespace
}  // namespace jllm::test

// The host sampler against the reference sampler: the same token, state and ring for the same
// inputs; and the statistics, limits and ends that the contract promises.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "kernels/reference/reference.h"
#include "tests/kernels/host/host_op_runner.h"

namespace jllm::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The buffers of one sequence, sampled by the host operation or by the reference.
struct Sequence {
  explicit Sequence(unsigned context) : tokens(context), ring(kRingSlots) {
    state = state_at(0, 1, context);
    state.temperature = 1;
  }

  void sample_on_host(const Vector& logits, bool advance = true) {
    Vector work(logits.size());
    const Vector before = logits;
    run_op("sample",
           host::SampleArgs{&state, tokens.data(), logits.data(), work.data(), ring.data(),
                            logits.size(), advance},
           2);
    ASSERT_EQ(std::memcmp(before.data(), logits.data(), logits.size() * sizeof(float)), 0);
  }
  // Among the tokens that the mask allows: a TokenMask and its words.
  void sample_masked_on_host(const Vector& logits, const std::vector<uint32_t>& mask) {
    Vector work(logits.size());
    run_op(
        "sample_masked",
        host::SampleMaskedArgs{&state, tokens.data(), logits.data(), work.data(), ring.data(),
                               reinterpret_cast<const TokenMask*>(mask.data()), logits.size(), 1},
        2);
  }
  void sample_by_reference(const Vector& logits, bool advance = true) {
    reference::sample(state, tokens, logits, ring, advance);
  }
  const RingSlot& last() const { return ring[(state.sampled - 1) % kRingSlots]; }

  StepState state;
  std::vector<uint32_t> tokens;
  std::vector<RingSlot> ring;
};

void expect_same(const Sequence& a, const Sequence& b) {
  EXPECT_EQ(std::memcmp(&a.state, &b.state, sizeof(a.state)), 0)
      << "position " << a.state.position << "/" << b.state.position << " count " << a.state.count
      << "/" << b.state.count << " done " << a.state.done << "/" << b.state.done;
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(std::memcmp(a.ring.data(), b.ring.data(), kRingSlots * sizeof(RingSlot)), 0);
}

class HostSample : public HostOpTest {
 protected:
  // Logits as models give them: a wide bell with a few favourites.
  Vector logits(size_t vocab) {
    std::normal_distribution<float> bell(0, 3);
    std::mt19937 engine(random_.integer(0, ~0u));
    Vector values(vocab);
    for (float& value : values) value = bell(engine);
    for (int i = 0; i < 5; ++i) values[random_.integer(0, unsigned(vocab) - 1)] += 8;
    return values;
  }

  void randomise_chain(StepState& state) {
    const auto pick = [&](float off, float low, float high) {
      return random_.integer(0, 2) == 0 ? off : random_.uniform(low, high);
    };
    state.temperature = pick(0, 0.1f, 2);
    state.top_p = pick(1, 0.01f, 1);
    state.min_p = pick(0, 0.001f, 0.5f);
    state.repeat_penalty = pick(1, 0.8f, 1.5f);
    state.top_k = random_.integer(0, 2) == 0 ? 0 : random_.integer(1, 60);
    state.repeat_last_n = random_.integer(0, 40);
    state.seed_low = random_.integer(0, ~0u);
    state.seed_high = random_.integer(0, ~0u);
  }
};

TEST_F(HostSample, DrawsAmongTheAllowedWhatTheReferenceDraws) {
  for (const unsigned share : {1u, 2u, 100u}) {  // one token in so many
    for (int turn = 0; turn < 30; ++turn) {
      const size_t vocab = 100 + 37 * size_t(turn);
      Sequence host(8);
      randomise_chain(host.state);
      Sequence reference = host;
      std::vector<uint32_t> mask(4 + (vocab + 31) / 32, 0);
      for (unsigned i = 0; i < vocab; ++i) {
        if (random_.integer(0, share - 1) == 0) mask[4 + i / 32] |= 1u << i % 32;
      }
      const Vector values = logits(vocab);
      mask[0] = turn % 5 != 0;
      host.sample_masked_on_host(values, mask);
      const std::span<const uint32_t> words(mask);
      reference::sample(reference.state, reference.tokens, values, reference.ring, true,
                        words.subspan(mask[0] != 0 ? 4 : mask.size()));
      expect_same(host, reference);
    }
  }
}

// Which token survives and which is drawn is decided by the same double arithmetic on both sides.
TEST_F(HostSample, DrawsWhatTheReferenceDraws) {
  for (int round = 0; round < 150; ++round) {
    const unsigned vocab = random_.integer(1, 3000);
    Sequence host(80), reference(80);
    randomise_chain(host.state);
    host.state.position = 4;
    host.state.count = 5;
    host.state.end_token_count = 1;
    host.state.end_tokens[0] = random_.integer(0, vocab - 1);
    for (unsigned i = 0; i < 5; ++i) host.tokens[i] = random_.integer(0, vocab - 1);
    reference.state = host.state;
    reference.tokens = host.tokens;
    for (int step = 0; step < 10; ++step) {
      Vector values = logits(vocab);
      // Coarse values tie at every threshold.
      if (round % 3 == 0) {
        for (float& value : values) value = std::round(value);
      }
      host.sample_on_host(values, step % 2 == 0);
      reference.sample_by_reference(values, step % 2 == 0);
    }
    expect_same(host, reference);
    if (HasFailure()) FAIL() << "in round " << round;
  }
}

TEST_F(HostSample, DrawsWhatTheReferenceDrawsFromALargeVocabulary) {
  Sequence host(80), reference(80);
  for (int step = 0; step < 8; ++step) {
    randomise_chain(host.state);
    if (step == 0) host.state = state_at(0, 1, 80), host.state.temperature = 1.5f;
    reference.state = host.state;
    const Vector values = logits(128256);
    host.sample_on_host(values);
    reference.sample_by_reference(values);
    expect_same(host, reference);
  }
}

// Many tokens of next to no probability weigh something together, and top-p must see it. The hot
// temperature draws from the whole set of survivors.
TEST_F(HostSample, LongTailsCountTowardsTopP) {
  Vector values = random_.vector(50000, -20, -11);
  values[random_.integer(0, 49999)] = 0;
  for (float top_p : {0.9f, 0.97f, 0.99f, 0.9999f}) {
    Sequence host(80), reference(80);
    host.state.top_p = top_p;
    host.state.temperature = 20;
    host.state.seed_low = random_.integer(0, ~0u);
    reference.state = host.state;
    for (int step = 0; step < 10; ++step) {
      host.sample_on_host(values);
      reference.sample_by_reference(values);
    }
    expect_same(host, reference);
  }
}

// The tokens that survive, found by sampling until each has come up.
std::set<uint32_t> drawn_tokens(Sequence& sequence, const Vector& logits, int draws) {
  std::set<uint32_t> seen;
  for (int i = 0; i < draws; ++i) {
    sequence.state.count = 1;
    sequence.sample_on_host(logits, false);
    seen.insert(sequence.tokens[1]);
  }
  return seen;
}

TEST_F(HostSample, SurvivorsAreTheReferences) {
  for (int round = 0; round < 20; ++round) {
    const Vector values = random_.vector(12, -1, 1);
    Sequence sequence(4);
    sequence.state.seed_low = random_.integer(0, ~0u);
    switch (round % 4) {
      case 0:
        sequence.state.top_k = random_.integer(1, 11);
        break;
      case 1:
        sequence.state.top_p = random_.uniform(0.1f, 0.99f);
        break;
      case 2:
        sequence.state.min_p = random_.uniform(0.2f, 0.9f);
        break;
      default:
        sequence.state.top_k = 8, sequence.state.top_p = 0.8f, sequence.state.min_p = 0.3f;
    }
    const float threshold = reference::survivor_threshold(sequence.state, values);
    std::set<uint32_t> survivors;
    for (uint32_t i = 0; i < values.size(); ++i) {
      if (values[i] >= threshold) survivors.insert(i);
    }
    // Any survivor has a share of 1 / (12 e^2) at least: 2,000 draws miss one once in 10^9 runs.
    EXPECT_EQ(drawn_tokens(sequence, values, 2000), survivors);
  }
}

TEST_F(HostSample, GreedyTakesTheLowestOfTheLargest) {
  Sequence sequence(8);
  sequence.state.temperature = 0;
  sequence.sample_on_host({1, 5, -2, 5, 5});
  EXPECT_EQ(sequence.tokens[1], 1u);
  EXPECT_EQ(sequence.state.count, 2u);
  EXPECT_EQ(sequence.state.position, 1u);
  EXPECT_EQ(sequence.state.sampled, 1u);
  EXPECT_EQ(sequence.state.draws, 1u);
  EXPECT_EQ(sequence.last().sequence, 1u);
  EXPECT_EQ(sequence.last().token, 1u);
  EXPECT_EQ(sequence.last().done, unsigned(kRunning));
  sequence.sample_on_host({-kInfinity, -3, -kInfinity}, false);
  EXPECT_EQ(sequence.tokens[2], 1u);
  EXPECT_EQ(sequence.state.position, 1u);
}

TEST_F(HostSample, SeedsRepeatAndDiffer) {
  const Vector values = logits(1000);
  const auto draw_30 = [&](unsigned low, unsigned high) {
    Sequence sequence(64);
    sequence.state.temperature = 2;
    sequence.state.seed_low = low;
    sequence.state.seed_high = high;
    for (int i = 0; i < 30; ++i) sequence.sample_on_host(values);
    return sequence.tokens;
  };
  EXPECT_EQ(draw_30(1, 2), draw_30(1, 2));
  EXPECT_NE(draw_30(1, 2), draw_30(2, 2));
  EXPECT_NE(draw_30(1, 2), draw_30(1, 3));
}

// Chi-square of 20,000 draws from 6 tokens at temperature 0.7: above 38.9 once in 4 million runs
// (five degrees of freedom).
TEST_F(HostSample, DrawsFollowTheSoftmax) {
  const Vector values = {0.5f, 1.5f, -0.5f, 0, 1, -1};
  Sequence sequence(4);
  sequence.state.temperature = 0.7f;
  sequence.state.seed_low = random_.integer(0, ~0u);
  const int draws = 20000;
  std::vector<int> counts(values.size());
  for (int i = 0; i < draws; ++i) {
    sequence.state.count = 1;
    sequence.sample_on_host(values, false);
    ++counts[sequence.tokens[1]];
  }
  double total = 0, chi_square = 0;
  for (float value : values) total += std::exp(value / 0.7);
  for (size_t i = 0; i < values.size(); ++i) {
    const double expected = draws * std::exp(values[i] / 0.7) / total;
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi_square, 38.9);
}

TEST_F(HostSample, PenaltyCountsEachRecentTokenOnce) {
  Sequence sequence(16);
  sequence.state.temperature = 0;
  sequence.state.count = 6;
  sequence.tokens = {3, 0, 1, 1, 1, 9, 0, 0,
                     0, 0, 0, 0, 0, 0, 0, 0};  // 9 is outside the vocabulary
  sequence.state.repeat_penalty = 2;
  sequence.state.repeat_last_n = 4;  // 1 and 9
  sequence.sample_on_host({0, 4, 1.9f, 1.8f});
  EXPECT_EQ(sequence.tokens[6], 1u);  // 4 / 2, not 4 / 8
  sequence.sample_on_host({-1.5f, -1, -3, -2.5f});
  EXPECT_EQ(sequence.tokens[7], 0u);    // -1 * 2
  sequence.state.repeat_last_n = 1000;  // more than there are
  sequence.sample_on_host({3, 3, 1.6f, 3});
  EXPECT_EQ(sequence.tokens[8], 2u);
}

TEST_F(HostSample, EndTokensStopUnlessIgnored) {
  Sequence sequence(16);
  sequence.state.temperature = 0;
  sequence.state.end_token_count = 2;
  sequence.state.end_tokens[0] = 7;
  sequence.state.end_tokens[1] = 2;
  sequence.state.ignore_end = 1;
  sequence.sample_on_host({0, 0, 1});
  EXPECT_EQ(sequence.state.done, unsigned(kRunning));
  sequence.state.ignore_end = 0;
  sequence.sample_on_host({0, 0, 1});
  EXPECT_EQ(sequence.state.done, unsigned(kEndToken));
  EXPECT_EQ(sequence.last().done, unsigned(kEndToken));
  EXPECT_EQ(sequence.last().token, 2u);
  EXPECT_EQ(sequence.state.count, 3u);  // the end token belongs to the sequence

  const Sequence before = sequence;
  sequence.sample_on_host({1, 0, 0});
  expect_same(sequence, before);
}

TEST_F(HostSample, FullContextStopsAndStillDeliversTheToken) {
  Sequence sequence(2);
  sequence.state.temperature = 0;
  sequence.sample_on_host({0, 1});
  EXPECT_EQ(sequence.state.done, unsigned(kRunning));
  sequence.sample_on_host({1, 0});
  EXPECT_EQ(sequence.state.done, unsigned(kContextFull));
  EXPECT_EQ(sequence.state.count, 2u);
  EXPECT_EQ(sequence.state.position, 1u);
  EXPECT_EQ(sequence.last().sequence, 2u);
  EXPECT_EQ(sequence.last().token, 0u);
  EXPECT_EQ(sequence.last().done, unsigned(kContextFull));
}

TEST_F(HostSample, BadLogitsStopWithoutAToken) {
  for (const Vector& bad :
       {Vector{1, NAN, 2}, Vector{-kInfinity, -kInfinity}, Vector{kInfinity}, Vector{NAN}}) {
    for (float temperature : {0.0f, 1.0f}) {
      Sequence sequence(8), reference(8);
      sequence.state.temperature = reference.state.temperature = temperature;
      sequence.sample_on_host(bad);
      reference.sample_by_reference(bad);
      EXPECT_EQ(sequence.state.done, unsigned(kBadLogits));
      EXPECT_EQ(sequence.state.count, 1u);
      EXPECT_EQ(sequence.state.position, 0u);
      EXPECT_EQ(sequence.last().sequence, 1u);
      EXPECT_EQ(sequence.last().token, 0u);
      EXPECT_EQ(sequence.last().done, unsigned(kBadLogits));
      expect_same(sequence, reference);
    }
  }
}

// Infinities beside finite logits, equal logits, a temperature that overflows every score.
TEST_F(HostSample, OddLogitsMatchTheReference) {
  for (const Vector& values :
       {Vector{1, kInfinity, 2, kInfinity}, Vector{-kInfinity, 3, -kInfinity}, Vector(300, 0.0f),
        Vector{0.0f, -0.0f, 0.0f, -0.0f}, Vector{3e38f, -3e38f, 1}}) {
    for (float temperature : {1.0f, 1e-40f, 1e30f}) {
      for (unsigned top_k : {0u, 2u}) {
        for (float top_p : {0.0f, 0.5f, 1.0f}) {
          Sequence sequence(8), reference(8);
          sequence.state.temperature = temperature;
          sequence.state.top_k = top_k;
          sequence.state.top_p = top_p;
          sequence.state.min_p = 0.1f;
          sequence.state.seed_low = random_.integer(0, ~0u);
          reference.state = sequence.state;
          sequence.sample_on_host(values);
          reference.sample_by_reference(values);
          expect_same(sequence, reference);
        }
      }
    }
  }
}

TEST_F(HostSample, RingWrapsAround) {
  Sequence sequence(300);
  for (unsigned i = 0; i < 200; ++i) {
    sequence.sample_on_host({0, 1, 2});
    ASSERT_EQ(sequence.ring[i % kRingSlots].sequence, i + 1);
    ASSERT_EQ(sequence.ring[i % kRingSlots].token, sequence.tokens[i + 1]);
  }
}

}  // namespace
}  // namespace jllm::test

// The reference sampler: sorts, sets and double logarithms where the real ones use selection.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "kernels/reference/reference.h"

namespace jllm::reference {
namespace {

// The largest value t of `sorted` (descending) with mass{sorted >= t} >= top_p * mass{sorted}.
float top_p_threshold(const Vector& sorted, float top_p) {
  uint64_t total = 0;
  for (float logit : sorted) total += softmax_mass(logit, sorted[0]);
  const double wanted = double(top_p) * double(total);
  uint64_t mass = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    mass += softmax_mass(sorted[i], sorted[0]);
    const bool last_of_ties = i + 1 == sorted.size() || sorted[i + 1] != sorted[i];
    if (last_of_ties && double(mass) >= wanted) return sorted[i];
  }
  return sorted.back();
}

// -log(-log(u)) of a uniform u inside (0, 1).
double gumbel(const StepState& state, uint32_t token) {
  const uint32_t x = philox({token, state.draws, 0, 0}, {state.seed_low, state.seed_high})[0];
  return -std::log(-std::log((x + 0.5) * 0x1p-32));
}

bool is_end_token(const StepState& state, uint32_t token) {
  const unsigned* end = state.end_tokens + state.end_token_count;
  return std::find(state.end_tokens, end, token) != end;
}

}  // namespace

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t(0xD2511F53) * counter[0], b = uint64_t(0xCD9E8D57) * counter[2];
    counter = {uint32_t(b >> 32) ^ counter[1] ^ key[0], uint32_t(b),
               uint32_t(a >> 32) ^ counter[3] ^ key[1], uint32_t(a)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return counter;
}

uint64_t softmax_mass(float logit, float max) {
  if (logit == max) return uint64_t(1) << 32;  // also where both are infinite
  // The kernels round so: half up, and nothing here is negative.
  // NOLINTNEXTLINE(bugprone-incorrect-roundings)
  return uint64_t(std::exp(double(logit) - double(max)) * 0x1p32 + 0.5);
}

Vector penalise(const StepState& state, std::span<const uint32_t> tokens, Floats logits) {
  const unsigned last = std::min(state.repeat_last_n, state.count);
  const auto recent = tokens.subspan(state.count - last, last);
  Vector work(logits.begin(), logits.end());
  for (uint32_t token : std::set<uint32_t>(recent.begin(), recent.end())) {
    if (token >= work.size()) continue;
    float& logit = work[token];
    logit = logit > 0 ? logit / state.repeat_penalty : logit * state.repeat_penalty;
  }
  return work;
}

float survivor_threshold(const StepState& state, Floats logits) {
  Vector sorted(logits.begin(), logits.end());
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const float max = sorted[0];
  float threshold = -std::numeric_limits<float>::infinity();
  if (state.top_k > 0 && state.top_k < sorted.size()) {
    threshold = sorted[state.top_k - 1];
    while (sorted.back() < threshold) sorted.pop_back();
  }
  if (state.top_p < 1) threshold = std::max(threshold, top_p_threshold(sorted, state.top_p));
  if (state.min_p > 0) {
    // min_p > 1 would drop even the largest logit.
    const float lowest = float(double(max) + std::log(double(state.min_p)));
    threshold = std::max(threshold, std::min(lowest, max));
  }
  return threshold;
}

uint32_t draw(const StepState& state, Floats logits) {
  if (state.temperature == 0) {
    return uint32_t(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  const float threshold = survivor_threshold(state, logits);
  double best = 0;
  int64_t chosen = -1;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] < threshold) continue;
    const double score = double(logits[i]) / state.temperature + gumbel(state, uint32_t(i));
    if (chosen >= 0 && !(score > best)) continue;
    best = score;
    chosen = int64_t(i);
  }
  return uint32_t(chosen);
}

void sample(StepState& state, std::span<uint32_t> tokens, Floats logits, std::span<RingSlot> ring,
            bool advance, std::span<const uint32_t> allowed) {
  if (state.done != kRunning) return;
  Vector work = penalise(state, tokens, logits);
  for (size_t i = 0; i < work.size() && !allowed.empty(); ++i) {
    if ((allowed[i / 32] >> i % 32 & 1) == 0) work[i] = -std::numeric_limits<float>::infinity();
  }
  const bool has_nan = std::any_of(work.begin(), work.end(), [](float l) { return std::isnan(l); });
  const bool has_finite =
      std::any_of(work.begin(), work.end(), [](float l) { return std::isfinite(l); });
  uint32_t token = 0;
  if (has_nan || !has_finite) {
    state.done = kBadLogits;
  } else {
    token = draw(state, work);
    if (state.count < state.context) {
      tokens[state.count] = token;
      state.count += 1;
      if (advance) state.position += 1;
    } else {
      state.done = kContextFull;
    }
    if (is_end_token(state, token) && !state.ignore_end) state.done = kEndToken;
  }
  ring[state.sampled % kRingSlots] = {state.sampled + 1, token, state.done, 0};
  state.draws += 1;
  state.sampled += 1;
}

}  // namespace jllm::reference

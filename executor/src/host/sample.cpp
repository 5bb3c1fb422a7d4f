// The sampler on the host. What it computes is that of kernels/reference/reference.h, sample():
// thresholds come from selection on bit patterns instead of sorting, and the draw skips tokens that
// cannot win.
#include <cmath>
#include <limits>

#include "executor/src/host/ops.h"

namespace jllm::host {
namespace {

struct Logits {
  const float* values;
  uint64_t count;
};

struct Scan {
  bool good;        // no NaN and something finite
  uint32_t argmax;  // lowest id of the largest
};

Scan scan(const Logits& logits) {
  bool nan = false, finite = false;
  uint32_t argmax = 0;
  for (uint64_t i = 0; i < logits.count; ++i) {
    const float logit = logits.values[i];
    nan |= std::isnan(logit);
    finite |= std::isfinite(logit);
    if (logit > logits.values[argmax]) argmax = static_cast<uint32_t>(i);
  }
  return {finite && !nan, argmax};
}

// Each distinct recent token once: writing from the untouched logits makes repeats harmless.
void penalise(const SampleArgs& args) {
  const StepState& state = *args.state;
  std::memcpy(args.work, args.logits, args.vocab * sizeof(float));
  const unsigned last = state.repeat_last_n < state.count ? state.repeat_last_n : state.count;
  for (unsigned i = state.count - last; i < state.count; ++i) {
    const uint32_t token = args.tokens[i];
    if (token >= args.vocab) continue;
    const float logit = args.logits[token];
    args.work[token] = logit > 0 ? logit / state.repeat_penalty : logit * state.repeat_penalty;
  }
}

// Takes away what the mask does not allow.
void keep_allowed(const TokenMask* mask, const Logits& logits, float* work) {
  const auto* const allowed = reinterpret_cast<const uint32_t*>(mask + 1);
  for (uint64_t i = 0; i < logits.count; ++i) {
    if (!(allowed[i / 32] >> i % 32 & 1)) work[i] = -std::numeric_limits<float>::infinity();
  }
}

// --- Thresholds ---

// An unsigned number that orders as the float does (no NaN).
uint32_t key_of(float value) {
  const uint32_t bits = bits_from_float(value);
  return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}

float value_of(uint32_t key) { return float_from_bits(key & 0x80000000 ? key & 0x7fffffff : ~key); }

// Three digits of a key, the highest first: 11, 11 and 10 bits.
constexpr unsigned kShifts[] = {21, 10, 0};
constexpr unsigned kBuckets = 1u << 11;

// The largest logit >= lowest such that the weights of all logits from it upwards add up to
// `wanted` at least. Weights are integers, so that the order of adding does not matter; `wanted`
// may be a double because the sums are below 2^53. At least one weight is not zero, the largest
// logit's among them.
template <typename Weight>
float select_from_top(const Logits& logits, float lowest, double wanted, Weight weight) {
  uint32_t prefix = 0;  // digits found so far
  uint32_t mask = 0;    // their bits
  uint64_t above = 0;   // weight of all keys above the prefix
  for (const unsigned shift : kShifts) {
    uint64_t sums[kBuckets] = {};
    for (uint64_t i = 0; i < logits.count; ++i) {
      const float logit = logits.values[i];
      const uint32_t key = key_of(logit);
      if ((key & mask) != prefix || !(logit >= lowest)) continue;
      sums[key >> shift & (kBuckets - 1) & (~mask >> shift)] += weight(logit);
    }
    uint32_t found = 0;
    for (uint32_t bucket = kBuckets; bucket-- > 0;) {
      if (sums[bucket] == 0) continue;
      found = bucket;
      if (static_cast<double>(above + sums[bucket]) >= wanted) break;
      above += sums[bucket];
    }
    prefix |= found << shift;
    mask |= (kBuckets - 1) << shift;
  }
  return value_of(prefix);
}

// A logit's share of the softmax in units of 2^-32; integers, so that every engine agrees on top-p.
struct SoftmaxMass {
  float max;

  uint64_t operator()(float logit) const {
    if (logit == max) return uint64_t{1} << 32;  // also where both are infinite
    const double below = static_cast<double>(logit) - static_cast<double>(max);
    if (below < -23) return 0;  // exp(-23) * 2^32 < 0.5
    // Never negative.  NOLINTNEXTLINE(bugprone-incorrect-roundings)
    return static_cast<uint64_t>(std::exp(below) * 0x1p32 + 0.5);
  }
};

// All logits at or above it survive top-k, top-p and min-p.
float survivor_threshold(const StepState& state, const Logits& logits, float max) {
  float threshold = -std::numeric_limits<float>::infinity();
  if (state.top_k > 0 && state.top_k < logits.count) {
    threshold = select_from_top(logits, threshold, state.top_k, [](float) { return uint64_t{1}; });
  }
  if (state.top_p < 1) {
    const SoftmaxMass mass{max};
    uint64_t total = 0;
    for (uint64_t i = 0; i < logits.count; ++i) {
      if (logits.values[i] >= threshold) total += mass(logits.values[i]);
    }
    const double wanted = static_cast<double>(state.top_p) * static_cast<double>(total);
    threshold = select_from_top(logits, threshold, wanted, mass);
  }
  if (state.min_p > 0) {
    const auto lowest =
        static_cast<float>(static_cast<double>(max) + std::log(static_cast<double>(state.min_p)));
    const float bounded = lowest < max ? lowest : max;  // the largest logit always survives
    threshold = bounded > threshold ? bounded : threshold;
  }
  return threshold;
}

// --- The draw ---

// First word of Philox4x32-10 (Salmon et al., 2011) at counter (token, draws, 0, 0).
uint32_t philox(uint32_t token, const StepState& state) {
  uint32_t counter[4] = {token, state.draws, 0, 0};
  uint32_t key[2] = {state.seed_low, state.seed_high};
  for (unsigned round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter[0] = static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0];
    counter[2] = static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1];
    counter[1] = static_cast<uint32_t>(b);
    counter[3] = static_cast<uint32_t>(a);
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter[0];
}

// -log(-log(u)), u = (x + 0.5) * 2^-32.
double gumbel(uint32_t x) {
  const double u = (static_cast<double>(x) + 0.5) * 0x1p-32;
  return -std::log(-std::log(u));
}

// An upper bound of gumbel(x): -log u >= 1 - u, and 1 - u >= 2^-(1 + leading zeros of ~x).
double gumbel_bound(uint32_t x) {
  const int zeros = ~x == 0 ? 32 : __builtin_clz(~x);
  return 0.6931471805599454 * (zeros + 1);
}

constexpr double kLargestGumbel = 22.9;  // gumbel(2^32 - 1) = 33 ln 2

// Gumbel-max: the argmax of logit / temperature + gumbel is a draw from the softmax at
// `temperature`.
uint32_t draw(const StepState& state, const Logits& logits, uint32_t argmax) {
  const float threshold = survivor_threshold(state, logits, logits.values[argmax]);
  const double temperature = static_cast<double>(state.temperature);
  // The likeliest token first: few others can beat its score, which spares their logarithms.
  uint32_t chosen = argmax;
  double best =
      static_cast<double>(logits.values[argmax]) / temperature + gumbel(philox(argmax, state));
  for (uint64_t i = 0; i < logits.count; ++i) {
    const float logit = logits.values[i];
    if (!(logit >= threshold)) continue;
    const double scaled = static_cast<double>(logit) / temperature;
    if (scaled + kLargestGumbel < best) continue;
    const auto token = static_cast<uint32_t>(i);
    const uint32_t x = philox(token, state);
    if (scaled + gumbel_bound(x) < best) continue;
    const double score = scaled + gumbel(x);
    if (score > best || (score == best && token < chosen)) {
      best = score;
      chosen = token;
    }
  }
  return chosen;
}

bool ends_sequence(const StepState& state, uint32_t token) {
  if (state.ignore_end) return false;
  for (unsigned i = 0; i < state.end_token_count; ++i) {
    if (state.end_tokens[i] == token) return true;
  }
  return false;
}

// Adds the token to the sequence, or says why the sequence ends here.
void append(const SampleArgs& args, uint32_t token) {
  StepState& state = *args.state;
  if (state.count < state.context) {
    args.tokens[state.count] = token;
    state.count += 1;
    if (args.advance) state.position += 1;
  } else {
    state.done = kContextFull;
  }
  if (ends_sequence(state, token)) state.done = kEndToken;
}

struct Step {
  uint32_t token;
  unsigned done;  // StepDone behind it
};

// The next token of the sequence, from these logits; mask: null, or which tokens it may be.
Step sample_next(const SampleArgs& args, const TokenMask* mask) {
  StepState& state = *args.state;
  penalise(args);
  const Logits logits{args.work, args.vocab};
  if (mask != nullptr && mask->active != 0) keep_allowed(mask, logits, args.work);
  const Scan seen = scan(logits);
  uint32_t token = 0;
  if (seen.good) {
    token = state.temperature == 0 ? seen.argmax : draw(state, logits, seen.argmax);
    append(args, token);
  } else {
    state.done = kBadLogits;
  }
  state.draws += 1;
  return {token, state.done};
}

// Hands the tokens to the reader of the ring, who may be another thread. The first slot is released
// behind all others: who sees it sees them all.
void publish(RingSlot* ring, StepState& state, const Step* steps, unsigned count) {
  const unsigned first = state.sampled;
  state.sampled += count;
  for (unsigned i = count; i-- > 0;) {
    RingSlot& slot = ring[(first + i) % kRingSlots];
    slot.token = steps[i].token;
    slot.done = steps[i].done;
    slot.reserved = 0;
    if (i > 0) slot.sequence = first + i + 1;
  }
  __atomic_store_n(&ring[first % kRingSlots].sequence, first + 1, __ATOMIC_RELEASE);
}

}  // namespace

// A sampler is a few passes over the logits: not worth sharing among the workers.

namespace {

void sample(const SampleArgs& args, const TokenMask* mask, const Worker& worker) {
  if (worker.index != 0 || args.state->done != kRunning) return;
  const Step step = sample_next(args, mask);
  publish(args.ring, *args.state, &step, 1);
}

}  // namespace

void run_sample(const uint64_t* slots, const Worker& worker) {
  sample(load_args<SampleArgs>(slots), nullptr, worker);
}

void run_sample_masked(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<SampleMaskedArgs>(slots);
  sample({args.state, args.tokens, args.logits, args.work, args.ring, args.vocab, args.advance},
         args.mask, worker);
}

void run_draft(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<DraftArgs>(slots);
  StepState& state = *args.state;
  if (worker.index != 0 || state.done != kRunning) return;
  // A plan whose graph drafts twice must not write behind the last position.
  const unsigned room = state.context - state.count;
  unsigned count = args.draft->count < kMaxDraft ? args.draft->count : kMaxDraft;
  if (count > room) count = room;
  std::memcpy(args.tokens + state.count, args.draft->tokens, count * sizeof(uint32_t));
  state.count += count;
}

void run_accept(const uint64_t* slots, const Worker& worker) {
  const auto args = load_args<AcceptArgs>(slots);
  StepState& state = *args.state;
  if (worker.index != 0 || state.done != kRunning) return;
  const uint64_t rows = valid_rows(&state, args.rows);
  if (rows == 0) return;  // a plan that finishes its chunk before: there is no row to sample behind
  Step steps[kMaxVerifyRows];
  uint64_t sampled = 0;
  state.count = state.position + 1;  // the drafted tokens are guesses until they are sampled
  for (bool more = true; more;) {
    const uint64_t row = sampled++;
    const uint32_t guess = sampled < rows ? args.tokens[state.count] : 0;
    steps[row] = sample_next(
        {&state, args.tokens, args.logits + row * args.vocab, args.work, args.ring, args.vocab, 1},
        nullptr);
    more = sampled < rows && steps[row].done == kRunning && steps[row].token == guess;
  }
  const auto count = static_cast<unsigned>(sampled);
  args.draft->sampled = count;
  publish(args.ring, state, steps, count);
}

}  // namespace jllm::host

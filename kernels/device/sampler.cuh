// Draws a token from the logits behind one row: token mask, repeat penalty, top-k, top-p, min-p,
// temperature, Gumbel-max. One block. Thresholds are found by radix selection over the ordered bits
// of the logits, with integer counts and masses, so that the result does not depend on the order of
// additions.
#pragma once

#include "kernels/device/ranks.cuh"

// Blocks whose largest ranks the head has left in `tops`; 0: none has.
#ifndef TOPS
#define TOPS 0
#endif

namespace jllm::device {

constexpr unsigned kThreads = 1024;
constexpr unsigned kWarps = kThreads / kWarp;
constexpr unsigned kBins = 2048;  // 11 bits per pass: 11 + 11 + 10

// Share of a logit in the softmax's mass, in units of 2^-32. Far from the largest logit, f32 is
// exact to less than a unit; doubles are slow on embedded GPUs and most logits are far away.
JLLM_DEVICE U64 softmax_mass(float logit, float max) {
  if (logit == max) return 1ull << 32;
  const float distance = logit - max;
  if (!(distance > -23.0f)) return 0;
  if (distance < -12.0f) return (U64)(expf(distance) * 4294967296.0f + 0.5f);
  return (U64)(exp((double)logit - (double)max) * 4294967296.0 + 0.5);
}

// First word of Philox4x32-10 for this token and draw.
JLLM_DEVICE unsigned philox(const StepState* state, unsigned token) {
  unsigned c0 = token, c1 = state->draws, c2 = 0, c3 = 0;
  unsigned k0 = state->seed_low, k1 = state->seed_high;
#pragma unroll
  for (unsigned round = 0; round < 10; ++round) {
    const U64 a = (U64)0xD2511F53u * c0, b = (U64)0xCD9E8D57u * c2;
    c0 = (unsigned)(b >> 32) ^ c1 ^ k0;
    c1 = (unsigned)b;
    c2 = (unsigned)(a >> 32) ^ c3 ^ k1;
    c3 = (unsigned)a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c0;
}

// -log(-log(u)), u = (x + 1/2) / 2^32: fast, with an absolute error below 1e-5; then exact.
JLLM_DEVICE float gumbel_fast(unsigned x) {
  constexpr float kUnit = 1.0f / 4294967296.0f;
  const float rest = ((float)~x + 0.5f) * kUnit;
  const float e = x < 0x80000000u ? -logf(((float)x + 0.5f) * kUnit) : -log1pf(-rest);
  return -logf(e);
}
JLLM_DEVICE double gumbel(unsigned x) {
  return -log(-log(((double)x + 0.5) * (1.0 / 4294967296.0)));
}

// The logit of a token that may not be drawn.
JLLM_DEVICE float minus_infinity() { return bits_to_float(0xff800000u); }

constexpr unsigned kListed = 2048;

struct Shared {
  U64 bins[kBins];
  U64 warps[kWarps];
  double scores[kWarps];
  unsigned ids[kWarps];
  U64 chosen_above;
  unsigned chosen_bin;
  unsigned list_size;  // may exceed kListed: then the list is not complete
  unsigned list[kListed];
};

// The logits that the next step looks at: all, or those whose ids are listed (in any order).
struct View {
  const float* logits;
  const unsigned* list;  // null: all
  unsigned size;

  template <typename Visit>
  JLLM_DEVICE void each(const Visit& visit) const {
    if (list == nullptr) {
#pragma unroll 4
      for (unsigned i = threadIdx.x; i < VOCAB; i += kThreads) visit(logits[i], i);
    } else {
      for (unsigned i = threadIdx.x; i < size; i += kThreads) visit(logits[list[i]], list[i]);
    }
  }
};

// Visits every logit, each thread's in ascending order, with as many loads in flight as a lone
// block needs.
template <typename Visit>
JLLM_DEVICE void each_logit(const float* logits, const Visit& visit) {
  constexpr unsigned kBatch = 8;
  // Up to where whole quads begin.
  const unsigned apart = (unsigned)((unsigned long long)logits / 4) % 4, front = (4 - apart) % 4;
  const unsigned start = front < VOCAB ? front : VOCAB, quads = (VOCAB - start) / 4;
  if (threadIdx.x < start) visit(logits[threadIdx.x], threadIdx.x);
  for (unsigned base = threadIdx.x; base < quads; base += kBatch * kThreads) {
    Float4 v[kBatch];
#pragma unroll
    for (unsigned b = 0; b < kBatch; ++b) {
      const unsigned quad = base + b * kThreads;
      if (quad < quads) v[b] = ((const Float4*)(logits + start))[quad];
    }
#pragma unroll
    for (unsigned b = 0; b < kBatch; ++b) {
      const unsigned quad = base + b * kThreads;
      if (quad >= quads) break;
      const unsigned id = start + 4 * quad;
      visit(v[b].x, id), visit(v[b].y, id + 1);
      visit(v[b].z, id + 2), visit(v[b].w, id + 3);
    }
  }
  for (unsigned i = start + 4 * quads + threadIdx.x; i < VOCAB; i += kThreads) visit(logits[i], i);
}

JLLM_DEVICE U64 block_max(U64 value, Shared* shared) {
  value = warp_max(value);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) shared->warps[threadIdx.x / kWarp] = value;
  __syncthreads();
  for (unsigned w = 0; w < kWarps; ++w) {
    if (shared->warps[w] > value) value = shared->warps[w];
  }
  return value;
}

// Sum of `value` over this thread and those before it; *total over all.
JLLM_DEVICE U64 block_scan(U64 value, Shared* shared, U64* total) {
  const unsigned lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  for (unsigned step = 1; step < kWarp; step *= 2) {
    const U64 other = __shfl_up_sync(kAllLanes, value, step);
    if (lane >= step) value += other;
  }
  __syncthreads();
  if (lane == kWarp - 1) shared->warps[warp] = value;
  __syncthreads();
  U64 sum = 0;
  for (unsigned w = 0; w < kWarps; ++w) {
    if (w == warp) value += sum;
    sum += shared->warps[w];
  }
  *total = sum;
  return value;
}

// The largest key t, among the logits with a key >= floor, for which enough(weight of all keys >=
// t, weight of all) holds. `enough` is monotonic, false for 0 and true for the whole.
template <typename Weigh, typename Enough>
JLLM_DEVICE unsigned select(const View& view, unsigned floor, Shared* shared, const Weigh& weigh,
                            const Enough& enough) {
  unsigned prefix = 0;       // the digits found so far, at their place
  unsigned known = 0;        // mask of them
  U64 above = 0, total = 0;  // weight of keys beyond the chosen bins; of all
  for (unsigned pass = 0; pass < 3; ++pass) {
    const unsigned shift = pass == 0 ? 21 : pass == 1 ? 10 : 0;
    const unsigned digit_mask = pass == 2 ? 1023 : 2047;
    for (unsigned i = threadIdx.x; i < kBins; i += kThreads) shared->bins[i] = 0;
    __syncthreads();
    view.each([&](float logit, unsigned) {
      const unsigned key = key_of(logit);
      if (key < floor || (key & known) != prefix) return;
      const U64 weight = weigh(logit);
      if (weight != 0) atomicAdd(&shared->bins[key >> shift & digit_mask], weight);
    });
    __syncthreads();
    // Two bins per thread, from the top.
    const unsigned first = kBins - 1 - 2 * threadIdx.x;
    const U64 a = shared->bins[first], b = shared->bins[first - 1];
    U64 sum;
    const U64 after_b = above + block_scan(a + b, shared, &sum);
    if (pass == 0) total = sum;
    const U64 before = after_b - a - b, after_a = before + a;
    if (!enough(before, total) && enough(after_b, total)) {
      const bool in_a = enough(after_a, total);
      shared->chosen_bin = in_a ? first : first - 1;
      shared->chosen_above = in_a ? before : after_a;
    }
    __syncthreads();
    prefix |= shared->chosen_bin << shift;
    known |= digit_mask << shift;
    above = shared->chosen_above;
    __syncthreads();
  }
  return prefix;
}

// Lists the logits that can be among the k largest. `own` is the largest key of this thread's
// logits: if k threads have one >= t, then so have k logits.
JLLM_DEVICE void list_largest(unsigned k, unsigned own, Shared* shared, View* view) {
  unsigned floor = 0;
  for (unsigned bit = 0x80000000u; bit != 0; bit >>= 1) {
    if ((unsigned)__syncthreads_count(own >= (floor | bit)) >= k) floor |= bit;
  }
  if (threadIdx.x == 0) shared->list_size = 0;
  __syncthreads();
  view->each([&](float logit, unsigned id) {
    if (key_of(logit) < floor) return;
    const unsigned at = atomicAdd(&shared->list_size, 1u);
    if (at < kListed) shared->list[at] = id;
  });
  __syncthreads();
  if (shared->list_size > kListed) return;
  view->list = shared->list;
  view->size = shared->list_size;
}

// Smallest key that survives top-k, top-p and min-p; narrows the view to a superset of the
// survivors.
JLLM_DEVICE unsigned survivor_key(const StepState* state, float max, unsigned own, Shared* shared,
                                  View* view) {
  unsigned key = 0;
  if (state->top_k > 0 && state->top_k < VOCAB) {
    const unsigned k = state->top_k;
    list_largest(k, own, shared, view);
    key = select(
        *view, 0, shared, [](float) -> U64 { return 1; },
        [k](U64 count, U64) { return count >= k; });
  }
  if (state->top_p < 1.0f) {
    const double top_p = state->top_p;
    key = select(
        *view, key, shared, [max](float logit) { return softmax_mass(logit, max); },
        [top_p](U64 mass, U64 total) { return mass > 0 && (double)mass >= top_p * (double)total; });
  }
  if (state->min_p > 0.0f) {
    const float lowest = (float)((double)max + log((double)state->min_p));
    const unsigned other = key_of(fminf(lowest, max));
    if (other > key) key = other;
  }
  return key;
}

// Argmax of logit / temperature + gumbel over the survivors. A fast score finds the contenders;
// only they are scored in double, which embedded GPUs are slow at.
JLLM_DEVICE unsigned draw(const StepState* state, const View& view, unsigned lowest_key,
                          Shared* shared) {
  const float temperature = state->temperature;
  const auto fast_score = [&](float logit, unsigned id) {
    return logit / temperature + gumbel_fast(philox(state, id));
  };
  U64 first = 0;        // this thread's best: key of the score, id
  unsigned second = 0;  // key of its second best
  view.each([&](float logit, unsigned id) {
    if (key_of(logit) < lowest_key) return;
    const U64 ranked = (U64)key_of(fast_score(logit, id)) << 32 | id;
    if (ranked > first) {
      second = (unsigned)(first >> 32);
      first = ranked;
    } else if ((unsigned)(ranked >> 32) > second) {
      second = (unsigned)(ranked >> 32);
    }
  });
  // Wider than the error of two scores; not a number (an infinite score) makes every survivor a
  // contender.
  const float best = value_of((unsigned)(block_max(first, shared) >> 32));
  const float bar = best - (1e-4f + 1e-6f * (fabsf(best) + 32.0f));

  double score = 0.0;
  unsigned id = VOCAB;
  const auto take = [&](double other_score, unsigned other_id) {
    if (other_id == VOCAB) return;
    if (id == VOCAB || other_score > score || (other_score == score && other_id < id)) {
      score = other_score, id = other_id;
    }
  };
  const auto take_exact = [&](float logit, unsigned which) {
    take((double)logit / (double)temperature + gumbel(philox(state, which)), which);
  };
  if (second != 0 && !(value_of(second) < bar)) {
    view.each([&](float logit, unsigned which) {
      if (key_of(logit) >= lowest_key && !(fast_score(logit, which) < bar)) {
        take_exact(logit, which);
      }
    });
  } else if (first != 0 && !(value_of((unsigned)(first >> 32)) < bar)) {
    take_exact(view.logits[(unsigned)first], (unsigned)first);
  }
  for (unsigned step = kWarp / 2; step > 0; step /= 2) {
    const double other_score = __shfl_xor_sync(kAllLanes, score, step);
    const unsigned other_id = __shfl_xor_sync(kAllLanes, id, step);
    take(other_score, other_id);
  }
  if (threadIdx.x % kWarp == 0) {
    shared->scores[threadIdx.x / kWarp] = score;
    shared->ids[threadIdx.x / kWarp] = id;
  }
  __syncthreads();
  for (unsigned w = 0; w < kWarps; ++w) take(shared->scores[w], shared->ids[w]);
  return id;
}

// The largest rank of this thread's share of the logits.
JLLM_DEVICE U64 largest_logit(const float* logits) {
  // A thread visits ids in ascending order, so that of equal logits the first stays.
  float largest = 0.0f;
  unsigned id = 0xffffffffu;
  bool has_nan = false;
  each_logit(logits, [&](float logit, unsigned which) {
    has_nan |= logit != logit;
    if (logit > largest || id == 0xffffffffu) largest = logit, id = which;
  });
  return has_nan ? kNanRank : id == 0xffffffffu ? 0 : rank_of(largest, id);
}
// The same of the head's blocks.
JLLM_DEVICE U64 largest_top(const U64* tops) {
  U64 largest = 0;
  for (unsigned i = threadIdx.x; i < TOPS; i += kThreads) {
    if (tops[i] > largest) largest = tops[i];
  }
  return largest;
}

// Whether any logit is finite. The whole block calls it.
JLLM_DEVICE bool has_finite(const float* logits, float largest) {
  constexpr float kLargest = 3.402823466e38f;
  if (fabsf(largest) <= kLargest) return true;
  bool found = false;
  if (largest > 0.0f) {
    each_logit(logits, [&](float logit, unsigned) { found |= fabsf(logit) <= kLargest; });
  }
  return __syncthreads_or(found);
}

// What was drawn behind a row.
struct Sampled {
  unsigned token;
  bool bad;  // there was no finite logit, or one that is not a number: no token
};

// Draws behind the last token known, from logits[VOCAB], of those that the mask (null: none)
// allows. work[VOCAB] is scratch for changed logits; tops[TOPS] what the head has left, null when
// it has left nothing. The whole block calls it; every thread gets the result, and has then read
// the state.
JLLM_DEVICE Sampled sample_row(const StepState* state, const unsigned* tokens, const float* logits,
                               float* work, const U64* tops, const TokenMask* mask,
                               Shared* shared) {
  const float penalty = state->repeat_penalty;
  const unsigned count = state->count;
  const unsigned recent = state->repeat_last_n < count ? state->repeat_last_n : count;
  const bool masked = mask != nullptr && mask->active != 0;
  const bool penalised = penalty != 1.0f && recent > 0;
  if (masked || penalised) {
    const unsigned* const allowed = (const unsigned*)(mask + 1);
    for (unsigned i = threadIdx.x; i < VOCAB; i += kThreads) {
      const bool drop = masked && !(allowed[i / 32] >> i % 32 & 1);
      work[i] = drop ? minus_infinity() : logits[i];
    }
    __syncthreads();
  }
  if (penalised) {
    // A token that stands there twice gets the same value twice.
    for (unsigned i = threadIdx.x; i < recent; i += kThreads) {
      const unsigned token = tokens[count - recent + i];
      if (token >= VOCAB) continue;
      const float logit = logits[token];
      if (work[token] == minus_infinity()) continue;  // not allowed
      work[token] = logit > 0.0f ? logit / penalty : logit * penalty;
    }
    __syncthreads();
  }
  if (masked || penalised) logits = work;
  const bool known = TOPS != 0 && logits != work && state->temperature == 0.0f;
  const U64 own = known ? largest_top(tops) : largest_logit(logits);
  const U64 best = block_max(own, shared);
  const bool bad = best == kNanRank || !has_finite(logits, logit_of(best));
  unsigned token = bad ? 0 : id_of(best);
  if (!bad && state->temperature != 0.0f) {
    View view = {logits, nullptr, 0};
    const unsigned key = survivor_key(state, logits[token], (unsigned)(own >> 32), shared, &view);
    token = draw(state, view, key, shared);
  }
  __syncthreads();
  return {token, bad};
}

// Appends the token, unless the logits were bad, and counts the draw; the position follows with
// kAdvance. One thread.
template <bool kAdvance>
JLLM_DEVICE void append(StepState* state, unsigned* tokens, const Sampled& sampled) {
  unsigned done = kRunning;
  if (sampled.bad) {
    done = kBadLogits;
  } else {
    if (state->count < state->context) {
      tokens[state->count] = sampled.token;
      state->count += 1;
      if (kAdvance) state->position += 1;
    } else {
      done = kContextFull;
    }
    for (unsigned i = 0; i < state->end_token_count && i < kMaxEndTokens; ++i) {
      if (state->end_tokens[i] == sampled.token && !state->ignore_end) done = kEndToken;
    }
  }
  state->done = done;
  state->draws += 1;
}

// A token drawn, and the StepDone behind it.
struct Step {
  unsigned token, done;
};

// Tells the host of these tokens. One thread. The first slot is released behind all others: who
// sees it sees them all.
JLLM_DEVICE void publish(StepState* state, RingSlot* ring, const Step* steps, unsigned count) {
  const unsigned first = state->sampled;
  state->sampled = first + count;
  for (unsigned i = count; i-- > 0;) {
    RingSlot* slot = ring + (first + i) % kRingSlots;
    slot->token = steps[i].token;
    slot->done = steps[i].done;
    slot->reserved = 0;
    if (i > 0) slot->sequence = first + i + 1;
  }
  store_release_system(&ring[first % kRingSlots].sequence, first + 1);
}

}  // namespace jllm::device

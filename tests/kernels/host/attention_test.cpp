// Host attention against the reference: grouped queries, causal rows, caches of every type.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "executor/src/host/kernels.h"
#include "kernels/reference/reference.h"
#include "schema/kv_layout.h"
#include "tests/kernels/host/host_op_runner.h"

namespace jllm::test {
namespace {

using HostAttention = HostOpTest;

struct Case {
  uint64_t heads, kv_heads, head_dim, context, rows;
  unsigned position, count;
  WeightType k_type, v_type;
};

// A cache as the operation reads it, and what stands in it.
struct Cache {
  std::vector<uint8_t> bytes;
  Vector values;
};

Cache cache_of(WeightType type, const Vector& values, uint64_t head_dim) {
  Cache cache;
  cache.bytes = reference::kv_encode(unsigned(type), values, head_dim);
  cache.values =
      reference::kv_decode(unsigned(type), cache.bytes, values.size() / head_dim, head_dim);
  return cache;
}

constexpr WeightType kKvTypes[] = {WeightType::kF32, WeightType::kF16, WeightType::kQ8_0,
                                   WeightType::kQ4_0};

// |q|, |k|, |v| <= 1, and 1.01 after q4_0 and q8_0 (half an f16 step, and the bound is loose). A
// score errs by (head_dim / 4 + 4) roundings of head_dim * scale, and by one of its own; the
// softmax turns an absolute error of a score into a relative one of its weight (twice: the sum has
// it too). The weighted mean adds positions / 4 + 8 roundings in numerator and denominator.
double tolerance(const Case& c, float scale, uint64_t positions) {
  const double dim = double(c.head_dim);
  const double score = kEpsilon * (dim / 4 + 5) * dim * scale;
  return 2 * score + 2 * kEpsilon * (double(positions) + 8);
}

TEST_F(HostAttention, MatchesTheReference) {
  const WeightType f32 = WeightType::kF32, f16 = WeightType::kF16;
  std::vector<Case> cases = {
      Case{4, 4, 8, 16, 1, 0, 1, f32, f32},        Case{4, 2, 8, 40, 1, 33, 34, f16, f16},
      Case{9, 3, 64, 70, 5, 61, 66, f16, f16},     Case{8, 1, 80, 33, 7, 4, 9, f32, f16},
      Case{3, 3, 128, 300, 2, 290, 292, f16, f32}, Case{2, 1, 20, 9, 4, 0, 4, f16, f16},
      Case{1, 1, 100, 12, 8, 8, 12, f32, f32}};
  for (const WeightType k : kKvTypes) {
    for (const WeightType v : kKvTypes) {
      cases.push_back({4, 2, 64, 40, 3, 30, 33, k, v});
      cases.push_back({6, 2, 96, 20, 2, 0, 2, k, v});
      cases.push_back({2, 1, 32, 9, 1, 8, 9, k, v});
    }
  }
  for (const Case& c : cases) {
    SCOPED_TRACE(testing::Message()
                 << "head_dim " << c.head_dim << " position " << c.position << " K "
                 << weight_type_name(c.k_type) << " V " << weight_type_name(c.v_type));
    const unsigned rotation = kv_rotation(unsigned(c.k_type), c.head_dim);
    const size_t cache_size = c.kv_heads * c.context * c.head_dim;
    const Vector q = random_.vector(c.rows * c.heads * c.head_dim);
    const Cache k = cache_of(c.k_type, random_.vector(cache_size), c.head_dim);
    const Cache v = cache_of(c.v_type, random_.vector(cache_size), c.head_dim);
    const float scale = 1 / std::sqrt(float(c.head_dim));
    const StepState state = state_at(c.position, c.count, unsigned(c.context));
    const Vector out = same_for_all_workers([&](unsigned workers) {
      Vector result(q.size()), scores(c.heads * c.context);
      run_op("attention",
             host::AttentionArgs{&state, q.data(), k.bytes.data(), v.bytes.data(), result.data(),
                                 scores.data(), c.rows, c.heads, c.kv_heads, c.head_dim, c.context,
                                 uint64_t(c.k_type), uint64_t(c.v_type), slot_of(scale), rotation,
                                 0, 0},
             workers);
      return result;
    });
    const size_t valid = std::min<size_t>(c.rows, c.count - c.position);
    // Queries meet the keys as they stand in the cache: rotated alike.
    const Vector rotated = rotation != 0 ? reference::hadamard(q, rotation) : q;
    const Vector expected = reference::attention(
        reference::Floats(rotated).first(valid * c.heads * c.head_dim), k.values, v.values,
        {c.heads, c.kv_heads, c.head_dim, c.context}, scale, c.position);
    expect_close(out, expected, [&](size_t) { return tolerance(c, scale, c.count); });
  }
}

TEST_F(HostAttention, WindowAndSoftcap) {
  const Case c{4, 2, 64, 70, 5, 61, 66, WeightType::kF16, WeightType::kF32};
  const size_t cache_size = c.kv_heads * c.context * c.head_dim;
  const Vector q = random_.vector(c.rows * c.heads * c.head_dim);
  const Cache k = cache_of(c.k_type, random_.vector(cache_size), c.head_dim);
  const Cache v = cache_of(c.v_type, random_.vector(cache_size), c.head_dim);
  const float scale = 1;  // scores of some units, where the softcap bends
  const StepState state = state_at(c.position, c.count, unsigned(c.context));
  for (const uint64_t window : {1, 5, 63, 64, 65, 1000}) {
    for (const float softcap : {0.0f, 2.0f}) {
      SCOPED_TRACE(testing::Message() << "window " << window << " softcap " << softcap);
      const Vector out = same_for_all_workers([&](unsigned workers) {
        Vector result(q.size()), scores(c.heads * c.context);
        run_op("attention",
               host::AttentionArgs{&state, q.data(), k.bytes.data(), v.bytes.data(), result.data(),
                                   scores.data(), c.rows, c.heads, c.kv_heads, c.head_dim,
                                   c.context, uint64_t(c.k_type), uint64_t(c.v_type),
                                   slot_of(scale), 0, window, slot_of(softcap)},
               workers);
        return result;
      });
      const Vector expected = reference::attention(
          q, k.values, v.values, {c.heads, c.kv_heads, c.head_dim, c.context, window, softcap},
          scale, c.position);
      // The softcap adds 10 roundings of its limit to a score (UnaryOfEveryInstructionSet).
      expect_close(out, expected, [&](size_t) {
        return tolerance(c, scale, c.count) + 2 * 10 * kEpsilon * softcap;
      });
    }
  }
}

TEST_F(HostAttention, EveryInstructionSet) {
  for (const WeightType type : kKvTypes) {
    for (uint64_t head_dim : {8, 12, 64, 96}) {
      if (kv_is_quantised(unsigned(type)) && head_dim % kKvGroup != 0) continue;
      SCOPED_TRACE(testing::Message() << weight_type_name(type) << " head_dim " << head_dim);
      const Case c{1, 1, head_dim, 50, 1, 49, 50, type, type};
      const Vector q = random_.vector(head_dim);
      const Cache k = cache_of(type, random_.vector(50 * head_dim), head_dim);
      const Cache v = cache_of(type, random_.vector(50 * head_dim), head_dim);
      const float scale = 0.3f;
      const Vector expected =
          reference::attention(q, k.values, v.values, {1, 1, head_dim, 50}, scale, 49);
      for_each_kernel_set([&](const host::Kernels& kernels) {
        Vector out(head_dim), scores(50);
        kernels.attend({q.data(), host::cache_rows_of(k.bytes.data(), uint64_t(type), 50, head_dim),
                        host::cache_rows_of(v.bytes.data(), uint64_t(type), 50, head_dim),
                        out.data(), scores.data(), head_dim, 50, scale, 0});
        expect_close(out, expected, [&](size_t) { return tolerance(c, scale, 50); });
      });
    }
  }
}

// Scores far apart and far from zero: the maximum is taken off before exp.
TEST_F(HostAttention, LargeScoresPickTheirPosition) {
  const uint64_t head_dim = 16, context = 24;
  const Vector q(head_dim, 100);
  Vector k(context * head_dim, -1), v = random_.vector(context * head_dim);
  std::fill_n(k.begin() + 7 * head_dim, head_dim, 1.0f);
  const StepState state = state_at(context - 1, context, context);
  Vector out(head_dim), scores(context);
  run_op("attention",
         host::AttentionArgs{&state, q.data(), k.data(), v.data(), out.data(), scores.data(), 1, 1,
                             1, head_dim, context, uint64_t(WeightType::kF32),
                             uint64_t(WeightType::kF32), slot_of(1.0f), 0, 0, 0});
  for (uint64_t i = 0; i < head_dim; ++i) EXPECT_FLOAT_EQ(out[i], v[7 * head_dim + i]);
}

}  // namespace
}  // namespace jllm::test

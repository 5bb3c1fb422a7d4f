// Host attention against the reference: grouped queries, causal rows, f32 and f16 caches.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "executor/src/host/kernels.h"
#include "kernels/reference/reference.h"
#include "tests/kernels/host/host_op_runner.h"

namespace jllm::test {
namespace {

using HostAttention = HostOpTest;

struct Case {
  uint64_t heads, kv_heads, head_dim, context, rows;
  unsigned position, count;
  WeightType k_type, v_type;
};

// A cache as the operation reads it, and the same values in f32.
struct Cache {
  std::vector<uint8_t> bytes;
  Vector values;
};

Cache cache_of(WeightType type, Vector values) {
  Cache cache;
  cache.bytes.resize(values.size() * block_shape(type).bytes);
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == WeightType::kF16) {
      const uint16_t half = reference::f32_to_f16(values[i]);
      values[i] = reference::f16_to_f32(half);
      std::memcpy(&cache.bytes[2 * i], &half, 2);
    } else {
      std::memcpy(&cache.bytes[4 * i], &values[i], 4);
    }
  }
  cache.values = std::move(values);
  return cache;
}

// |q|, |k|, |v| <= 1. A score errs by (head_dim / 4 + 4) roundings of head_dim * scale, and by one
// of its own; the softmax turns an absolute error of a score into a relative one of its weight
// (twice: the sum has it too). The weighted mean adds positions / 4 + 8 roundings in numerator and
// denominator.
double tolerance(const Case& c, float scale, uint64_t positions) {
  const double dim = double(c.head_dim);
  const double score = kEpsilon * (dim / 4 + 5) * dim * scale;
  return 2 * score + 2 * kEpsilon * (double(positions) + 8);
}

TEST_F(HostAttention, MatchesTheReference) {
  const WeightType f32 = WeightType::kF32, f16 = WeightType::kF16;
  for (const Case& c :
       {Case{4, 4, 8, 16, 1, 0, 1, f32, f32}, Case{4, 2, 8, 40, 1, 33, 34, f16, f16},
        Case{9, 3, 64, 70, 5, 61, 66, f16, f16}, Case{8, 1, 80, 33, 7, 4, 9, f32, f16},
        Case{3, 3, 128, 300, 2, 290, 292, f16, f32}, Case{2, 1, 20, 9, 4, 0, 4, f16, f16},
        Case{1, 1, 100, 12, 8, 8, 12, f32, f32}}) {
    SCOPED_TRACE(testing::Message() << "head_dim " << c.head_dim << " position " << c.position);
    const size_t cache_size = c.kv_heads * c.context * c.head_dim;
    const Vector q = random_.vector(c.rows * c.heads * c.head_dim);
    const Cache k = cache_of(c.k_type, random_.vector(cache_size));
    const Cache v = cache_of(c.v_type, random_.vector(cache_size));
    const float scale = 1 / std::sqrt(float(c.head_dim));
    const StepState state = state_at(c.position, c.count, unsigned(c.context));
    const Vector out = same_for_all_workers([&](unsigned workers) {
      Vector result(q.size()), scores(c.heads * c.context);
      run_op("attention",
             host::AttentionArgs{&state, q.data(), k.bytes.data(), v.bytes.data(), result.data(),
                                 scores.data(), c.rows, c.heads, c.kv_heads, c.head_dim, c.context,
                                 uint64_t(c.k_type), uint64_t(c.v_type), slot_of(scale)},
             workers);
      return result;
    });
    const size_t valid = std::min<size_t>(c.rows, c.count - c.position);
    const Vector expected = reference::attention(
        reference::Floats(q).first(valid * c.heads * c.head_dim), k.values, v.values,
        {c.heads, c.kv_heads, c.head_dim, c.context}, scale, c.position);
    expect_close(out, expected, [&](size_t) { return tolerance(c, scale, c.count); });
  }
}

TEST_F(HostAttention, EveryInstructionSet) {
  for (uint64_t head_dim : {8, 12, 64, 80}) {
    const Case c{1, 1, head_dim, 50, 1, 49, 50, WeightType::kF16, WeightType::kF16};
    const Vector q = random_.vector(head_dim);
    const Cache k = cache_of(c.k_type, random_.vector(50 * head_dim));
    const Cache v = cache_of(c.v_type, random_.vector(50 * head_dim));
    const float scale = 0.3f;
    const Vector expected =
        reference::attention(q, k.values, v.values, {1, 1, head_dim, 50}, scale, 49);
    for_each_kernel_set([&](const host::Kernels& kernels) {
      Vector out(head_dim), scores(50);
      kernels.attend({q.data(), k.bytes.data(), v.bytes.data(), out.data(), scores.data(), head_dim,
                      50, true, true, scale});
      expect_close(out, expected, [&](size_t) { return tolerance(c, scale, 50); });
    });
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
                             uint64_t(WeightType::kF32), slot_of(1.0f)});
  for (uint64_t i = 0; i < head_dim; ++i) EXPECT_FLOAT_EQ(out[i], v[7 * head_dim + i]);
}

}  // namespace
}  // namespace jllm::test

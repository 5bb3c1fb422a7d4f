// Appending to caches of every type: the reference's bytes, nothing beside them, odd values, and
// what the rotation of keys is for.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "kernels/reference/reference.h"
#include "schema/kv_layout.h"
#include "tests/kernels/host/host_op_runner.h"

namespace jllm::test {
namespace {

using HostKvCache = HostOpTest;

constexpr unsigned kKvTypes[] = {kKvF32, kKvF16, kKvQ8_0, kKvQ4_0};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(KvLayout, BytesPerElementAndPlaces) {
  const uint64_t rows = 8 * 4096, dim = 128, elements = rows * dim;
  EXPECT_EQ(kv_layout(kKvF32, rows, dim).bytes, elements * 4);
  EXPECT_EQ(kv_layout(kKvF16, rows, dim).bytes, elements * 2);
  EXPECT_EQ(kv_layout(kKvQ8_0, rows, dim).bytes, elements / 32 * 34);
  EXPECT_EQ(kv_layout(kKvQ4_0, rows, dim).bytes, elements / 32 * 18);
  EXPECT_EQ(kv_layout(kKvQ8_0, rows, dim).scales, elements);
  EXPECT_EQ(kv_layout(kKvQ4_0, rows, dim).scales, elements / 2);
  for (unsigned type : {kKvQ8_0, kKvQ4_0}) {
    for (uint64_t odd : {1, 3, 77}) {
      for (uint64_t head_dim : {32, 96, 256}) {
        EXPECT_EQ(kv_layout(type, odd, head_dim).scales % 16, 0u) << "planes start aligned";
        EXPECT_EQ(kv_layout(type, odd, head_dim).row % 16, 0u) << "so does every row of quants";
      }
    }
    EXPECT_EQ(kv_layout(type, 4, 80).row, 0u) << "a head that is no whole number of groups";
  }
  EXPECT_EQ(kv_layout(12, 4, 256).row, 0u) << "no cache type";
}

TEST(KvLayout, RotationBlocks) {
  EXPECT_EQ(kv_rotation(kKvQ4_0, 128), 128u);
  EXPECT_EQ(kv_rotation(kKvQ4_0, 96), 32u);
  EXPECT_EQ(kv_rotation(kKvQ4_0, 192), 64u);
  EXPECT_EQ(kv_rotation(kKvQ4_0, 512), kMaxKvRotation);
  for (unsigned type : {kKvF32, kKvF16, kKvQ8_0}) EXPECT_EQ(kv_rotation(type, 128), 0u);
}

// A cache with rows of its own everywhere, written by the operation and by the reference.
TEST_F(HostKvCache, AppendWritesTheReferencesBytesAndNoOthers) {
  const uint64_t rows = 4, heads = 3, context = 9;
  const unsigned position = 5, valid = 3;
  const StepState state = state_at(position, position + valid, context);
  for (unsigned type : kKvTypes) {
    for (uint64_t head_dim : {32, 64, 96, 256}) {
      for (const unsigned rotation : {0u, kv_rotation(type, head_dim)}) {
        SCOPED_TRACE(testing::Message() << "type " << type << " head_dim " << head_dim);
        const Vector in = random_.vector(rows * heads * head_dim, -100, 100);
        const Vector before = random_.vector(heads * context * head_dim);
        Vector after = before;  // groups are independent: what is not appended keeps its bytes
        const Vector appended = rotation != 0 ? reference::hadamard(in, rotation) : in;
        reference::kv_append(reference::Floats(appended).first(valid * heads * head_dim), after,
                             heads, head_dim, context, position);
        const auto expected = reference::kv_encode(type, after, head_dim);
        for (unsigned workers : {1u, 2u, 5u}) {
          auto cache = reference::kv_encode(type, before, head_dim);
          run_op("kv_append",
                 host::KvAppendArgs{&state, in.data(), cache.data(), rows, heads, head_dim, context,
                                    type, rotation},
                 workers);
          ASSERT_TRUE(cache == expected) << workers << " workers";
        }
      }
    }
  }
}

// One group through the operation, as it reads back.
Vector stored(unsigned type, const Vector& group) {
  const StepState state = state_at(0, 1, 1);
  std::vector<uint8_t> cache(kv_layout(type, 1, kKvGroup).bytes);
  run_op("kv_append",
         host::KvAppendArgs{&state, group.data(), cache.data(), 1, 1, kKvGroup, 1, type, 0});
  return reference::kv_decode(type, cache, 1, kKvGroup);
}

TEST_F(HostKvCache, ErrorsStayWithinHalfAStep) {
  for (int turn = 0; turn < 50; ++turn) {
    const float size = std::exp(random_.uniform(-8, 8));
    const Vector group = random_.vector(kKvGroup, -size, size);
    float largest = 0;
    for (float x : group) largest = std::max(largest, std::fabs(x));
    // The scale's rounding moves the end of the range by 2^-11 of it, where scales are subnormal by
    // that many times 2^-25; a q4_0 value opposite of the extreme may lie a whole step beyond the
    // last.
    for (const auto& [type, steps, most] :
         {std::tuple(kKvQ8_0, 127.0f, 0.5f), std::tuple(kKvQ4_0, 8.0f, 1.0f)}) {
      const Vector got = stored(type, group);
      const double end = std::max(largest * 0x1p-11, steps * 0x1p-25);
      const double step = (largest + end) / steps;
      for (unsigned i = 0; i < kKvGroup; ++i) {
        EXPECT_LE(std::fabs(got[i] - group[i]), step * most + end);
      }
    }
  }
}

TEST_F(HostKvCache, OddGroups) {
  for (unsigned type : {kKvQ8_0, kKvQ4_0}) {
    SCOPED_TRACE(type);
    const Vector zeros(kKvGroup, 0.0f);
    EXPECT_EQ(stored(type, zeros), zeros);
    EXPECT_EQ(stored(type, Vector(kKvGroup, 1e-9f)), zeros) << "below what an f16 scale can hold";
    // Subnormal scales keep no more than a few bits, but the values stay near.
    for (float x : stored(type, Vector(kKvGroup, -4e-6f))) EXPECT_NEAR(x, -4e-6f, 4e-6f);
    Vector tie = random_.vector(kKvGroup, -0.5f, 0.5f);
    tie[3] = 1, tie[20] = -1;
    EXPECT_NEAR(stored(type, tie)[20], -1, 0x1p-11) << "the negative of two extremes is exact";
    // Whatever is not finite, or too large, comes out as NaN.
    for (float bad : {NAN, -NAN, kInfinity, -kInfinity, 1e8f, -1e8f}) {
      Vector group = random_.vector(kKvGroup);
      group[17] = bad;
      for (float x : stored(type, group)) EXPECT_TRUE(std::isnan(x)) << bad;
    }
  }
}

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * b[i];
  return sum;
}

TEST_F(HostKvCache, RotationKeepsDotProductsAndIsItsOwnInverse) {
  for (unsigned dim : {32u, 64u, 128u, 256u}) {
    const Vector q = random_.vector(dim), k = random_.vector(dim);
    const Vector rotated_q = reference::hadamard(q, dim), rotated_k = reference::hadamard(k, dim);
    // log2(dim) + 1 roundings of values no larger than dim^(1/2) each, times the other vector.
    EXPECT_NEAR(dot(rotated_q, rotated_k), dot(q, k), dim * 20 * kEpsilon);
    const Vector back = reference::hadamard(rotated_k, dim);
    for (unsigned i = 0; i < dim; ++i) EXPECT_NEAR(back[i], k[i], 40 * kEpsilon);
  }
}

// Root mean square error of q.k in q4_0 over many keys, relative to the size of q.k.
double score_error(Random& random, unsigned dim, unsigned rotation, float outlier) {
  double error = 0, size = 0;
  for (int turn = 0; turn < 400; ++turn) {
    Vector q = random.vector(dim), k = random.vector(dim);
    // Channels of low rope frequency carry large, nearly constant values.
    for (unsigned i : {dim / 2 - 3, dim - 3}) k[i] += outlier;
    const double exact = dot(q, k);
    if (rotation != 0) q = reference::hadamard(q, rotation), k = reference::hadamard(k, rotation);
    const auto bytes = reference::kv_encode(kKvQ4_0, k, dim);
    const double got = dot(q, reference::kv_decode(kKvQ4_0, bytes, 1, dim));
    error += (got - exact) * (got - exact);
    size += exact * exact;
  }
  return std::sqrt(error / size);
}

TEST_F(HostKvCache, RotationTamesOutlyingChannels) {
  for (unsigned dim : {64u, 128u}) {
    const unsigned rotation = kv_rotation(kKvQ4_0, dim);
    const double plain = score_error(random_, dim, 0, 20);
    const double rotated = score_error(random_, dim, rotation, 20);
    // Half of the groups have a step that is 20 times as large; rotated, every group has the mean
    // size. Measured: 2.9 to 3.7 times.
    EXPECT_GT(plain, 2 * rotated) << plain << " against " << rotated << " for " << dim;
    RecordProperty("plain_" + std::to_string(dim), std::to_string(plain));
    RecordProperty("rotated_" + std::to_string(dim), std::to_string(rotated));
    // Where no channel stands out the rotation must not hurt much. (It makes normal what was
    // uniform, of which the extreme of 32 is 1.3 times as far out.)
    EXPECT_LT(score_error(random_, dim, rotation, 0), 2 * score_error(random_, dim, 0, 0));
  }
}

}  // namespace
}  // namespace jllm::test

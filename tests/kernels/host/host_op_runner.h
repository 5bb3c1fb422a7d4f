// Runs host operations as the executor does, for any number of workers, on random inputs whose seed
// is printed with every failure (JLLM_TEST_SEED repeats a run).
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "executor/src/host/host_op.h"
#include "executor/src/host/kernels.h"
#include "schema/host_ops.h"
#include "schema/step_state.h"

namespace jllm::test {

using Vector = std::vector<float>;

inline constexpr double kEpsilon = 0x1p-24;  // relative rounding error of f32

class Random {
 public:
  Random() : seed_(pick_seed()), engine_(seed_) {}

  uint32_t seed() const { return seed_; }

  float uniform(float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(engine_);
  }
  unsigned integer(unsigned low, unsigned high) {  // both inclusive
    return std::uniform_int_distribution<unsigned>(low, high)(engine_);
  }
  Vector vector(size_t size, float low = -1, float high = 1) {
    Vector values(size);
    for (float& value : values) value = uniform(low, high);
    return values;
  }

 private:
  static uint32_t pick_seed() {
    const char* fixed = std::getenv("JLLM_TEST_SEED");
    return fixed ? uint32_t(std::strtoul(fixed, nullptr, 10)) : std::random_device{}();
  }

  uint32_t seed_;
  std::mt19937 engine_;
};

class HostOpTest : public testing::Test {
 protected:
  void SetUp() override { RecordProperty("seed", std::to_string(random_.seed())); }

  Random random_;
  testing::ScopedTrace trace_{__FILE__, __LINE__,
                              "JLLM_TEST_SEED=" + std::to_string(random_.seed())};
};

inline StepState state_at(unsigned position, unsigned count, unsigned context) {
  StepState state = {};
  state.position = position;
  state.count = count;
  state.context = context;
  state.top_p = 1;
  state.repeat_penalty = 1;
  return state;
}

// Workers need no order among themselves: one after the other, the last first, is as good as at
// once.
template <typename Args>
void run_op(const char* name, const Args& args, unsigned workers = 1) {
  const host::HostOp* op = host::find_host_op(name);
  ASSERT_NE(op, nullptr) << name;
  ASSERT_EQ(op->arg_count * sizeof(uint64_t), sizeof(Args)) << name;
  uint64_t slots[sizeof(Args) / sizeof(uint64_t)];
  std::memcpy(slots, &args, sizeof(args));
  for (unsigned index = workers; index-- > 0;) op->run(slots, host::Worker{index, workers});
}

// The output of compute(workers), after proving that it has the same bits for 1 to 5 workers.
inline Vector same_for_all_workers(const std::function<Vector(unsigned)>& compute) {
  const Vector first = compute(1);
  for (unsigned workers = 2; workers <= 5; ++workers) {
    const Vector other = compute(workers);
    EXPECT_EQ(first.size(), other.size());
    EXPECT_EQ(std::memcmp(first.data(), other.data(), first.size() * sizeof(float)), 0)
        << "with " << workers << " workers";
  }
  return first;
}

// |actual[i] - expected[i]| <= tolerance(i); `actual` may be longer (rows without tokens).
inline void expect_close(const Vector& actual, const Vector& expected,
                         const std::function<double(size_t)>& tolerance) {
  ASSERT_GE(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_LE(std::abs(double(actual[i]) - expected[i]), tolerance(i))
        << "element " << i << ": " << actual[i] << " instead of " << expected[i];
  }
}

// For each compilation of the inner loops that this processor can run.
inline void for_each_kernel_set(const std::function<void(const host::Kernels&)>& check) {
  unsigned count = 0;
  const host::KernelSet* sets = host::kernel_sets(&count);
  for (unsigned i = 0; i < count; ++i) {
    if (!sets[i].supported()) continue;
    SCOPED_TRACE(sets[i].name);
    check(*sets[i].kernels);
  }
}

inline uint64_t slot_of(float value) { return std::bit_cast<uint32_t>(value); }

}  // namespace jllm::test

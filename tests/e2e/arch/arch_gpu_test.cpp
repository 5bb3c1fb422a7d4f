// Logits of the CUDA target against the host target's for every architecture, token by token and as
// a prompt, fused and unfused.
#include <gtest/gtest.h>

#include "tests/e2e/arch/models.h"
#include "tests/e2e/oracle/golden.h"
#include "tests/support/gpu.h"
#include "tests/support/running_plan.h"
#include "tests/support/tiny_plan.h"

namespace jllm::arch {
namespace {

constexpr uint32_t kTokens = 80;  // beyond every window, and more than a chunk

// F32 weights and caches: the sides differ in the order of sums, 1e-9 as in oracle_test.cpp, and in
// exp2 and tanh, whose 2 ulp are of the same size.
constexpr double kBound = 1e-9;

std::vector<uint8_t> plan_for(const ArchModel& model, const std::string& target, bool fuse) {
  CompileOptions options;
  options.target = target;
  options.plan.kv_k = options.plan.kv_v = WeightType::kF32;
  options.plan.prefill_chunk = 32;
  options.plan.fuse = fuse;
  return test::plan_bytes(model.model, options);
}

struct Outcome {
  std::vector<test::Logits> decoded;
  test::Logits prefilled;  // behind all tokens
};

Outcome run(const std::vector<uint8_t>& bytes, const test::Tokens& tokens) {
  const test::PlanInMemory plan(bytes);
  EXPECT_EQ(plan.error, Error::kOk) << plan.message;
  test::RunningPlan executor(plan);
  EXPECT_TRUE(executor.ok()) << executor.create_message;
  if (!executor.ok()) return {};
  Outcome result;
  result.decoded = executor.force_all(tokens);
  executor.rewind(0);
  executor.prefill(tokens);
  executor.step();
  result.prefilled = executor.logits();
  return result;
}

class ArchitecturesOnGpu : public testing::TestWithParam<ArchModel> {};

TEST_P(ArchitecturesOnGpu, LogitsAreTheHosts) {
  JLLM_NEEDS_GPU();
  const test::Tokens tokens = test::random_tokens(kTokens, 512, 5);
  const Outcome host = run(plan_for(GetParam(), "host", false), tokens);
  ASSERT_EQ(host.decoded.size(), kTokens);
  for (const bool fuse : {false, true}) {
    SCOPED_TRACE(fuse ? "fused" : "unfused");
    const Outcome cuda = run(plan_for(GetParam(), test::gpu_target(), fuse), tokens);
    ASSERT_EQ(cuda.decoded.size(), kTokens);
    double worst = 0;
    for (uint32_t i = 0; i < kTokens; ++i) {
      const double error = oracle::nmse(host.decoded[i], cuda.decoded[i]);
      EXPECT_LT(error, kBound) << "position " << i;
      if (!(error <= worst)) worst = error;
    }
    RecordProperty(fuse ? "fused" : "unfused", std::to_string(worst * 1e12) + "e-12");
    EXPECT_LT(oracle::nmse(host.prefilled, cuda.prefilled), kBound) << "prompt";
  }
}

INSTANTIATE_TEST_SUITE_P(All, ArchitecturesOnGpu, testing::ValuesIn(arch_models()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace jllm::arch

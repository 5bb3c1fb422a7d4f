// After create(), the executor's thread touches neither the heap nor the address space on the CUDA
// backend either. Allocations of this thread alone are counted: the fake device works in another.
#include <gtest/gtest.h>

#include "tests/executor/fake_cuda/plans.h"
#include "tests/support/allocation_counter.h"

namespace jllm {
namespace {

using test::fake_cuda;
using test::fake_plan;
using test::RunningPlan;

template <typename Work>
uint64_t count_allocations(Work work) {
  const uint64_t before = test::allocations_of_thread();
  work();
  return test::allocations_of_thread() - before;
}

TEST(NoHeapOnFakeCuda, NothingIsAllocatedAfterCreate) {
  JLLM_NEEDS_FAKE_CUDA();
#if !JLLM_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "allocations cannot be counted in this build";
#endif
  const test::TokensOnly tokens_only;
  const test::Tokens prompt = test::random_tokens(40, test::kVocab, 5);
  std::vector<float> logits(test::kVocab);
  std::vector<uint8_t> prefix;
  for (const bool graphs : {true, false}) {
    ExecutorOptions options;
    options.graphs = graphs;
    EXPECT_GT(count_allocations([&] { RunningPlan other(fake_plan(), options); }), 0u);
    RunningPlan run(fake_plan(), options);
    ASSERT_TRUE(run.ok()) << run.create_message;
    Sampling sampling;
    sampling.temperature = 0.9f;
    sampling.top_k = 50;
    sampling.ignore_end = true;
    bool good = true;
    prefix.resize(run->prefix_bytes(30));
    const uint64_t found = count_allocations([&] {
      good &= run->set_sampling(sampling) == Error::kOk;
      good &= run->prefill(prompt.data(), 40) == Error::kOk;
      for (int i = 0; i < 4; ++i) good &= run->enqueue() == Error::kOk;
      for (int i = 0; i < 4; ++i) good &= run->next().ok();
      for (int i = 0; i < 50; ++i) good &= run->generate().ok();
      good &= run->enqueue_draft(prompt.data(), 1).ok();
      good &= run->next().ok();
      good &= run->read_logits(logits.data()) == Error::kOk;
      good &= run->save_prefix(30, 0, prefix.data(), prefix.size()) == Error::kOk;
      good &= run->load_prefix(prompt.data(), 30, 0, prefix.data(), prefix.size()) == Error::kOk;
      good &= run->rewind(5) == Error::kOk;
      good &= run->force(3) == Error::kOk;
      // A way that ends in an error, with its message.
      good &= run->rewind(test::kContext + 1) == Error::kBadArgument;
      // A driver that fails.
      fake_cuda()->fail_at(1, 1);
      good &= run->prefill(prompt.data(), 40) == Error::kDriverCall;
      fake_cuda()->fail_at(0, 0);
    });
    EXPECT_EQ(found, 0u) << (graphs ? "graphs" : "eager");
    EXPECT_TRUE(good) << run->last_error();
  }
}

}  // namespace
}  // namespace jllm

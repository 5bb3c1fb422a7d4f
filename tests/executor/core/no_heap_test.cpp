// After create(), the executor touches neither the heap nor the address space. Every allocation of
// this whole program goes through counting functions (allocation_counter.h), those of the C++
// library and of worker threads included.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdlib>

#include "tests/executor/core/plans.h"
#include "tests/support/allocation_counter.h"
#include "tests/support/recipe.h"

namespace jllm {
namespace {

using test::host_plan;
using test::RunningPlan;
using test::Tokens;

// Allocations that `work` makes.
template <typename Work>
uint64_t count_allocations(Work work) {
  const uint64_t before = test::allocations_of_program();
  work();
  return test::allocations_of_program() - before;
}

TEST(NoHeap, TheCountersCount) {
#if !JLLM_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "allocations cannot be counted in this build";
#endif
  void* volatile kept = nullptr;
  EXPECT_EQ(count_allocations([&] { kept = std::malloc(10); }), 1u);
  std::free(kept);
  EXPECT_EQ(count_allocations([&] { kept = ::operator new(10); }), 1u);
  ::operator delete(kept);
  const auto map = [&] {
    kept = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  };
  EXPECT_EQ(count_allocations(map), 1u);
  munmap(kept, 4096);
  // And creating an executor is seen: its arenas are mapped.
  EXPECT_GE(count_allocations([] { RunningPlan run(host_plan()); }), 5u);
}

TEST(NoHeap, NothingIsAllocatedAfterCreate) {
#if !JLLM_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "allocations cannot be counted in this build";
#endif
  const Tokens prompt = test::random_tokens(40, test::kVocab, 5);
  std::vector<float> logits(test::kVocab);
  std::vector<uint8_t> prefix;
  for (const unsigned threads : {1u, 3u}) {
    ExecutorOptions options;
    options.threads = threads;
    RunningPlan run(host_plan(), options);
    ASSERT_TRUE(run.ok()) << run.create_message;
    Sampling sampling;
    sampling.temperature = 0.9f;
    sampling.top_k = 50;
    sampling.top_p = 0.9f;
    sampling.min_p = 0.01f;
    sampling.repeat_penalty = 1.1f;
    bool good = true;
    prefix.resize(run->prefix_bytes(30));
    const uint64_t found = count_allocations([&] {
      good &= run->set_sampling(sampling) == Error::kOk;
      good &= run->prefill(prompt.data(), 40) == Error::kOk;
      for (int i = 0; i < 4; ++i) good &= run->enqueue() == Error::kOk;
      for (int i = 0; i < 4; ++i) good &= run->next().ok();
      for (int i = 0; i < 9; ++i) good &= run->generate().ok();
      good &= run->enqueue_draft(prompt.data(), 3).ok();
      good &= run->force(3) == Error::kOk;
      good &= run->read_logits(logits.data()) == Error::kOk;
      // The ways that end in an error, with its message.
      good &= run->prefill(prompt.data(), 40) == Error::kContextFull;
      good &= run->save_prefix(30, 0, prefix.data(), prefix.size()) == Error::kOk;
      good &= run->load_prefix(prompt.data(), 30, 0, prefix.data(), prefix.size()) == Error::kOk;
      good &= run->rewind(5) == Error::kOk;
      good &= run->prefill(prompt.data(), 1) == Error::kOk;
      good &= run->rewind(0) == Error::kOk;
      good &= run->enqueue() == Error::kNothingToDo;
    });
    EXPECT_EQ(found, 0u) << threads << " threads";
    EXPECT_TRUE(good) << run->last_error();
  }
}

TEST(NoHeap, NorForEmbeddings) {
#if !JLLM_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "allocations cannot be counted in this build";
#endif
  test::PlanRecipe recipe;
  recipe.context = test::kContext;
  recipe.prefill_chunk = 32;
  recipe.embeds = true;
  const test::PlanInMemory plan(test::plan_bytes(recipe));
  const Tokens prompt = test::random_tokens(40, test::kVocab, 5);
  RunningPlan run(plan);
  ASSERT_TRUE(run.ok()) << run.create_message;
  std::vector<float> vector(recipe.embedding);
  bool good = true;
  const uint64_t found = count_allocations([&] {
    good &= run->prefill(prompt.data(), 40) == Error::kOk;
    good &= run->embedding(vector.data(), recipe.embedding) == Error::kOk;
    good &= run->enqueue() == Error::kBadArgument;
  });
  EXPECT_EQ(found, 0u);
  EXPECT_TRUE(good) << run->last_error();
}

}  // namespace
}  // namespace jllm

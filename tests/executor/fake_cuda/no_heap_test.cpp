// After create(), the executor's thread touches neither the heap nor the address space on the CUDA
// backend either. Allocations of this thread alone are counted: the fake device works in another.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "tests/executor/fake_cuda/plans.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define JLLM_COUNTS_ALLOCATIONS 0  // sanitizers replace malloc themselves
#else
#define JLLM_COUNTS_ALLOCATIONS 1
#endif

namespace {
thread_local uint64_t allocations = 0;
}  // namespace

#if JLLM_COUNTS_ALLOCATIONS
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

void* malloc(size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(size_t n, size_t size) {
  ++allocations;
  return __libc_calloc(n, size);
}
void* realloc(void* memory, size_t size) {
  ++allocations;
  return __libc_realloc(memory, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  ++allocations;
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, size, protection, flags, fd, offset));
}
}
#endif

namespace jllm {
namespace {

using test::fake_cuda;
using test::fake_plan;
using test::RunningPlan;

template <typename Work>
uint64_t count_allocations(Work work) {
  const uint64_t before = allocations;
  work();
  return allocations - before;
}

TEST(NoHeapOnFakeCuda, NothingIsAllocatedAfterCreate) {
  JLLM_NEEDS_FAKE_CUDA();
#if !JLLM_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "allocations cannot be counted in this build";
#endif
  const test::TokensOnly tokens_only;
  const test::Tokens prompt = test::random_tokens(40, test::kVocab, 5);
  std::vector<float> logits(test::kVocab);
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
    const uint64_t found = count_allocations([&] {
      good &= run->set_sampling(sampling) == Error::kOk;
      good &= run->prefill(prompt.data(), 40) == Error::kOk;
      for (int i = 0; i < 4; ++i) good &= run->enqueue() == Error::kOk;
      for (int i = 0; i < 4; ++i) good &= run->next().ok();
      for (int i = 0; i < 50; ++i) good &= run->generate().ok();
      good &= run->enqueue_draft(prompt.data(), 1).ok();
      good &= run->next().ok();
      good &= run->read_logits(logits.data()) == Error::kOk;
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

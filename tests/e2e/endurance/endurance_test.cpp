// The host backend, with one worker and with three, stays flat over ten thousand tokens.
#include "tests/e2e/endurance/endurance.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

namespace jllm {
namespace {

TEST(Endurance, APageMoreIsSeen) {
  const uint64_t before = test::own_bytes();
  ASSERT_GT(before, 0u);
  constexpr size_t kSize = 64u << 10;
  void* memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, kSize);
  EXPECT_GE(test::own_bytes(), before + kSize);
  munmap(memory, kSize);
}

TEST(Endurance, TheHostBackendStaysFlat) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep memory that was freed";
#endif
  const std::vector<uint8_t> plan = test::endurance_plan("host");
  for (const unsigned threads : {1u, 3u}) {
    ExecutorOptions options;
    options.threads = threads;
    test::expect_flat(plan, options, {{"process", test::own_bytes}});
  }
}

}  // namespace
}  // namespace jllm

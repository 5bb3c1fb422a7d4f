#include "tests/support/fake_cuda/report.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "tests/support/fake_cuda/simt_runtime.h"

extern "C" {
__attribute__((weak)) void __asan_poison_memory_region(const volatile void*, size_t);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void*, size_t);
}

namespace jllm::fake {
namespace {

constexpr uint64_t kMostKept = 20;
std::atomic<bool> collecting{false};
std::atomic<uint64_t> count{0};
std::mutex mutex;
std::string lines;

}  // namespace

void violation(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (!collecting) {
    std::fprintf(stderr, "fake CUDA: %s [%s]\n", text, where());
    std::abort();
  }
  const std::lock_guard<std::mutex> lock(mutex);
  if (++count <= kMostKept) lines += std::string(text) + " [" + where() + "]\n";
}

void collect_violations(bool on) {
  collecting = on;
  const std::lock_guard<std::mutex> lock(mutex);
  count = 0;
  lines.clear();
}

uint64_t violation_count() { return count; }

std::string violation_text() {
  const std::lock_guard<std::mutex> lock(mutex);
  count = 0;
  return std::move(lines);
}

void poison(const void* at, size_t bytes) {
  if (__asan_poison_memory_region != nullptr) __asan_poison_memory_region(at, bytes);
}
void unpoison(const void* at, size_t bytes) {
  if (__asan_unpoison_memory_region != nullptr) __asan_unpoison_memory_region(at, bytes);
}

}  // namespace jllm::fake

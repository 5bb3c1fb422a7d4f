#include "tests/support/allocation_counter.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>  // declares __GLIBC__

namespace {

std::atomic<uint64_t> of_program{0};
thread_local uint64_t of_thread = 0;

#if JLLM_COUNTS_ALLOCATIONS
void count() {
  ++of_program;
  ++of_thread;
}
#endif

}  // namespace

#if JLLM_COUNTS_ALLOCATIONS
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

void* malloc(size_t size) {
  count();
  return __libc_malloc(size);
}
void* calloc(size_t n, size_t size) {
  count();
  return __libc_calloc(n, size);
}
void* realloc(void* memory, size_t size) {
  count();
  return __libc_realloc(memory, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  count();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** out, size_t alignment, size_t size) {
  count();
  *out = __libc_memalign(alignment, size);
  return *out != nullptr ? 0 : ENOMEM;
}
void free(void* memory) { __libc_free(memory); }

void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  count();
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, size, protection, flags, fd, offset));
}
}
#endif

namespace jllm::test {

uint64_t allocations_of_program() { return of_program.load(); }
uint64_t allocations_of_thread() { return of_thread; }

}  // namespace jllm::test

// malloc, its relatives and mmap of the whole program, replaced by functions that count. Not part
// of the support library: the source goes into programs of their own.
#pragma once

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define JLLM_COUNTS_ALLOCATIONS 0  // sanitizers replace malloc themselves
#else
#define JLLM_COUNTS_ALLOCATIONS 1
#endif

namespace jllm::test {

// Since the program began: of all threads, those of libraries too, and of the calling one.
uint64_t allocations_of_program();
uint64_t allocations_of_thread();

}  // namespace jllm::test

// A stack that can be left in the middle and come back to.
#pragma once

#include <cstddef>
#include <cstdint>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace jllm::fake {

class Fiber {
 public:
  // Next switched to, it begins with `entry`, which never returns.
  void prepare(char* stack, size_t bytes, void (*entry)());
  // Leaves this fiber, which is the one that runs.
  void switch_to(Fiber& other);
  // First thing of an entry, for AddressSanitizer.
  static void arrived();

 private:
  void jump_to(Fiber& other);

#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_;
#endif
  const void* stack_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace jllm::fake

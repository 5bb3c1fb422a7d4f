#include "tests/support/fake_cuda/fiber.h"

#if defined(__x86_64__)

// void fake_switch(void** save, void* to): what a function must keep goes on the old stack.
asm(R"(
.text
.p2align 4
.hidden fake_switch
.globl fake_switch
.type fake_switch, @function
fake_switch:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size fake_switch, .-fake_switch
)");
extern "C" void fake_switch(void** save, void* to);

namespace jllm::fake {

void Fiber::prepare(char* stack, size_t bytes, void (*entry)()) {
  stack_ = stack;
  bytes_ = bytes;
  auto* top = reinterpret_cast<uintptr_t*>(stack + bytes / 16 * 16);
  *--top = 0;                                   // where a return address would be: aligns the stack
  *--top = reinterpret_cast<uintptr_t>(entry);  // "returned" to
  for (int i = 0; i < 6; ++i) *--top = 0;
  stack_pointer_ = top;
}

void Fiber::jump_to(Fiber& other) { fake_switch(&stack_pointer_, other.stack_pointer_); }

}  // namespace jllm::fake

#else

namespace jllm::fake {

void Fiber::prepare(char* stack, size_t bytes, void (*entry)()) {
  stack_ = stack;
  bytes_ = bytes;
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack;
  context_.uc_stack.ss_size = bytes;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
}

void Fiber::jump_to(Fiber& other) { swapcontext(&context_, &other.context_); }

}  // namespace jllm::fake

#endif

extern "C" {
__attribute__((weak)) void __sanitizer_start_switch_fiber(void**, const void*, size_t);
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void*, const void**, size_t*);
}

namespace jllm::fake {

// A process with AddressSanitizer; others are spared the calls.
static const bool is_watched = __sanitizer_start_switch_fiber != nullptr;

void Fiber::arrived() {
  if (is_watched) __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
}

void Fiber::switch_to(Fiber& other) {
  if (!is_watched) return jump_to(other);
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, other.stack_, other.bytes_);
  jump_to(other);
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
}

}  // namespace jllm::fake

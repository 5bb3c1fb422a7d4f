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

void Fiber::switch_to(Fiber& other) {
  void* fake_stack = nullptr;
  start_switch(&fake_stack, other.stack_, other.bytes_);
  fake_switch(&stack_pointer_, other.stack_pointer_);
  finish_switch(fake_stack);
}

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

void Fiber::switch_to(Fiber& other) {
  void* fake_stack = nullptr;
  start_switch(&fake_stack, other.stack_, other.bytes_);
  swapcontext(&context_, &other.context_);
  finish_switch(fake_stack);
}

}  // namespace jllm::fake

#endif

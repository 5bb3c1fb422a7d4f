// The fake driver's own functions, where it is what this process has opened as libcuda.so.1; and
// plans for it. docs/fake-cuda.md.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "compiler/compile.h"
#include "tests/support/fake_cuda/fake_cuda.h"

namespace jllm::test {

constexpr const char* kFakeTarget = "orin-nano-8gb";  // sm_87, as the fake device is

// X(name): every function of fake_cuda.h, without the prefix fake_cuda_.
// clang-format off
#define JLLM_FAKE_CUDA_CONTROL(X)                                                  \
  X(fail_at) X(break_kernel) X(failed_call) X(calls)                              \
  X(calls_of) X(kernels_run) X(seal) X(unwanted_calls)                            \
  X(live) X(collect_violations) X(violations) X(set_seed)                         \
  X(execute_only) X(set_junk) X(set_delay) X(set_memory)                          \
  X(set_capability) X(add_sources)
// clang-format on

struct FakeCuda {
#define JLLM_FIELD(name) decltype(&fake_cuda_##name) name = nullptr;
  JLLM_FAKE_CUDA_CONTROL(JLLM_FIELD)
#undef JLLM_FIELD

  std::string what_lives() const;  // a line per kind of object; empty: nothing
  std::string take_violations() const;
};

// Null where libcuda.so.1 is another one, or none.
const FakeCuda* fake_cuda();

#define JLLM_NEEDS_FAKE_CUDA()                                                 \
  do {                                                                         \
    if (jllm::test::fake_cuda() == nullptr) {                                  \
      GTEST_SKIP() << "libcuda.so.1 is not the fake one: run this with ctest"; \
    }                                                                          \
  } while (false)

}  // namespace jllm::test

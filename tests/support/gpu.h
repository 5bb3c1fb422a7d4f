// Whether this machine can run CUDA plans, and whether it can compile them.
#pragma once

#include <cstdint>
#include <string>

namespace jllm::test {

// Why there is no GPU to test on; empty when there is one.
const std::string& no_gpu_reason();
// "sm_90" for the machine's first GPU; only where no_gpu_reason() is empty.
const std::string& gpu_target();

// Why no NVRTC can make code for this compute capability; empty when one can.
std::string no_nvrtc_reason(unsigned compute_capability);

// A test that runs compiled kernels needs both.
#define JLLM_NEEDS_GPU()                                                                       \
  do {                                                                                         \
    if (!jllm::test::no_gpu_reason().empty()) GTEST_SKIP() << jllm::test::no_gpu_reason();     \
    const std::string nvrtc_reason_ =                                                          \
        jllm::test::no_nvrtc_reason(unsigned(std::stoul(jllm::test::gpu_target().substr(3)))); \
    if (!nvrtc_reason_.empty()) GTEST_SKIP() << nvrtc_reason_;                                 \
  } while (false)

}  // namespace jllm::test

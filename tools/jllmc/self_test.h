// The part of the compiler that runs a model: the plan's self-test, by the host backend.
#pragma once

#include <llvm/Support/Error.h>

#include <cstdint>
#include <string>
#include <vector>

namespace jllm::tool {

// A SelfTestMaker (compiler/compile.h).
llvm::Expected<std::vector<uint8_t>> make_self_test_segment(const std::string& host_plan,
                                                            uint32_t context, bool eight_bits);

}  // namespace jllm::tool

// The part of the compiler that runs a model: the plan's self-test, by the host backend.
#pragma once

#include <llvm/Support/Error.h>

#include <cstdint>
#include <vector>

#include "compiler/compile.h"

namespace jllm::tool {

// A SelfTestMaker (compiler/compile.h).
llvm::Expected<std::vector<uint8_t>> make_self_test_segment(const SelfTestRequest& request);

}  // namespace jllm::tool

// How what the two programs share reports failures: an exception with the exit code that scripts
// rely on.
#pragma once

#include <stdexcept>
#include <string>

#include "schema/result.h"

namespace jllm::tool {

enum ExitCode : int {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,
  kDoesNotFit = 3,
  kInvalidFile = 4,
  kUnsupported = 5,
  kDevice = 6,
};

// main() prints it and leaves.
struct Failure : std::runtime_error {
  Failure(ExitCode exit_code, const std::string& text)
      : std::runtime_error(text), code(exit_code) {}
  ExitCode code;
};

ExitCode exit_code_of(Error error);

}  // namespace jllm::tool

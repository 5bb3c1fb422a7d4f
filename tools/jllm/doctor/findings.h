// What jllm doctor makes of a machine: one finding a check, each with what to do about it. Checks
// that a machine gives no ground for (power modes on a workstation) find nothing.
#pragma once

#include <string>
#include <vector>

#include "tools/jllm/doctor/machine.h"

namespace jllm::tool {

enum class Severity { kOk, kNote, kWarning, kProblem };

const char* name_of(Severity severity);

struct Finding {
  std::string id;  // of the check; stays the same from release to release
  Severity severity = Severity::kOk;
  std::string text;
  std::string advice;  // empty where all is well
};

// The worst first, otherwise in the order of the checks.
std::vector<Finding> examine(const Machine& machine);

// Of all checks, in their order.
std::vector<std::string> check_ids();

}  // namespace jllm::tool

// Signs a plan: proves it, writes it anew with the signature at its end, and puts it in its place.
#pragma once

#include <string>

#include "tools/plan_file/plan_file.h"

namespace jllm::tool {

// Writes `out` (may be the plan itself). A signature that it has already gives way. Throws Failure.
void sign_plan(const PlanPaths& paths, const std::string& key_file, const std::string& out);

}  // namespace jllm::tool

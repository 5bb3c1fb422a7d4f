// Puts a new plan in the place of the one in use, so that there is a whole plan under that name at
// every moment, whenever the power fails; the one before is kept for rollback().
#pragma once

#include <string>

#include "tools/plan_file/plan_file.h"

namespace jllm::tool {

// CURRENT.previous
std::string previous_name(const std::string& current);

// Proves the new plan and its weight file, copies what of them is not in the folder of `current`
// yet, and renames. Throws Failure.
void install_plan(const PlanPaths& paths, const std::string& current);

// The previous plan becomes the current one, and the other way round: twice changes nothing.
void roll_back(const std::string& current);

}  // namespace jllm::tool

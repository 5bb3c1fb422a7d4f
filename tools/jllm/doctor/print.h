// What jllm doctor found, for people (one screen of 80 columns) and as JSON (docs/doctor.md has the
// names).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tools/jllm/doctor/findings.h"
#include "tools/jllm/doctor/machine.h"

namespace jllm::tool {

std::string doctor_text(const Machine& machine, const std::vector<Finding>& findings);
nlohmann::ordered_json doctor_json(const Machine& machine, const std::vector<Finding>& findings);

}  // namespace jllm::tool

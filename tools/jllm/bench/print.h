// The results of jllm bench as a table and as a picture, both made of its records.
#pragma once

#include <string>
#include <vector>

#include "tools/jllm/bench/record.h"
#include "tools/jllm/svg_chart.h"

namespace jllm::tool {

std::string test_name(const Record& record);
void print_table(const std::vector<Record>& records);
// Tokens per second over depth: a panel for generation and one for prompts, the peer's beside ours.
Chart chart_of(const std::vector<Record>& records);

}  // namespace jllm::tool

// What the user sees of a compilation: the budget waterfall, the layout's quality and the kernels chosen.
#pragma once

#include <llvm/Support/raw_ostream.h>

#include <cstdint>
#include <string>

#include "compiler/budget.h"
#include "compiler/plan.h"

namespace jllm::report {

struct Facts {
  const PlannedModel* planned = nullptr;
  Budget budget;
  uint64_t weights_per_token = 0;  // bytes that one decode step reads
  std::string nvrtc;               // version and path, empty on the host
  std::string output;              // the plan's path
  uint64_t file_bytes = 0;
};

void print_text(const Facts& facts, llvm::raw_ostream& os);
void print_json(const Facts& facts, llvm::raw_ostream& os);

// "12.3 MiB"; sizes below 1 MiB in KiB or bytes.
std::string format_bytes(uint64_t bytes);

}  // namespace jllm::report

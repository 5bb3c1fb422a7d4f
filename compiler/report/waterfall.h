// Where the memory of a device goes, from the firmware's share to what stays free, as lines that
// add up and as a bar chart.
#pragma once

#include <llvm/Support/raw_ostream.h>

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/budget.h"
#include "compiler/report/style.h"
#include "compiler/target/target.h"

namespace jllm::report {

struct Segment {
  enum class Owner { kSystem, kPlan, kReserve, kFree };
  Owner owner;
  const char* key;   // for JSON: "cuda_context"
  const char* name;  // for people: "CUDA context"
  uint64_t bytes;
  std::string note;
};

struct Waterfall {
  uint64_t memory = 0;   // RAM as sold; where that is unknown, the largest figure that is known
  uint64_t plan = 0;     // what the plan takes, reserve included
  uint64_t limit = 0;    // the budget, 0: none
  uint64_t missing = 0;  // what the plan takes beyond the budget
  std::vector<Segment> segments;  // their bytes add up to memory + missing
};

Waterfall make_waterfall(const Footprint& footprint, const target::Target& target);

void print(const Waterfall& waterfall, const Style& style, llvm::raw_ostream& os);

}  // namespace jllm::report

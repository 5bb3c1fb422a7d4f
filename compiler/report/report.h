// What the user sees of a compilation: the budget waterfall, the layout's quality and the kernels chosen.
#pragma once

#include <llvm/Support/raw_ostream.h>

#include <cstdint>
#include <string>

#include "compiler/memory/layout.h"
#include "compiler/model/model.h"
#include "compiler/select/schedule.h"
#include "compiler/target/target.h"

namespace jllm::report {

// Where the device's memory goes, bytes.
struct Budget {
  uint64_t weights = 0, kv = 0, scratch = 0, state = 0, pinned = 0;
  uint64_t code = 0;     // machine code; 0 while it is not compiled yet
  uint64_t context = 0;  // estimate: CUDA context
  uint64_t reserve = 0;  // kept free on the user's wish
  uint64_t limit = 0;    // planning budget, 0: none

  uint64_t total() const {
    return weights + kv + scratch + state + pinned + code + context + reserve;
  }
  bool fits() const { return limit == 0 || total() <= limit; }
};

struct Facts {
  const model::Model* model = nullptr;
  const target::Target* target = nullptr;
  const ir::Program* program = nullptr;
  const select::Schedule* schedule = nullptr;
  const memory::Layout* layout = nullptr;
  Budget budget;
  WeightType kv_type_k = WeightType::kF16;
  WeightType kv_type_v = WeightType::kF16;
  uint64_t weights_per_token = 0;  // bytes that one decode step reads
  std::string nvrtc;               // version and path, empty on the host
  std::string output;              // the plan's path
  uint64_t file_bytes = 0;
};

Budget make_budget(const memory::Layout& layout, const target::Target& target, uint64_t limit,
                   uint64_t reserve);

void print_text(const Facts& facts, llvm::raw_ostream& os);
void print_json(const Facts& facts, llvm::raw_ostream& os);

// "12.3 MiB"; sizes below 1 MiB in KiB or bytes.
std::string format_bytes(uint64_t bytes);

}  // namespace jllm::report

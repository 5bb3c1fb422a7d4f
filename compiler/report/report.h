// What the user sees of a compilation: the budget waterfall, the layout's quality and the kernels
// chosen.
#pragma once

#include <llvm/Support/JSON.h>
#include <llvm/Support/raw_ostream.h>

#include <cstdint>
#include <string>

#include "compiler/budget.h"
#include "compiler/gguf/requantise.h"
#include "compiler/plan.h"
#include "compiler/report/style.h"

namespace jllm::report {

struct Facts {
  const PlannedModel* planned = nullptr;
  Footprint footprint;
  std::string nvrtc;        // version and path, empty on the host
  std::string output;       // the plan's path
  std::string chat_format;  // what it is
  std::string chat_covers;  // and what it is for and what not
  std::string chat_lacks;
  uint64_t file_bytes = 0;
  std::string weight_file;  // its path; empty: the plan holds its weights
  uint64_t weight_file_bytes = 0;
  bool weight_file_reused = false;
  std::string self_test;  // what the plan's self-test is, or why there is none; empty: not asked
  const gguf::Edits* edits = nullptr;
};

// The lines of a budget as attributes of the object that is open; `code_key` says whether code is
// compiled
// ("code") or estimated ("code_estimate").
void write_budget(const Budget& budget, uint64_t scratch_lower_bound, const char* code_key,
                  llvm::json::OStream& json);

// How far the plan speculates and what that takes: an attribute of the object that is open; part
// of a line.
void write_speculation(const Footprint& footprint, llvm::json::OStream& json);
void print_speculation(const Footprint& footprint, llvm::raw_ostream& os);

void print_text(const Facts& facts, const Style& style, llvm::raw_ostream& os);
void print_json(const Facts& facts, llvm::raw_ostream& os);

}  // namespace jllm::report

// The whole line, GGUF in, plan out: what `jllmc compile` does behind its options.
#pragma once

#include <llvm/Support/Error.h>
#include <llvm/Support/raw_ostream.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compiler/budget.h"
#include "compiler/gguf/adapter.h"
#include "compiler/plan.h"

namespace jllm {

enum class ReportFormat { kNone, kText, kJson };

struct CompileOptions {
  std::string input;
  std::string output;
  std::string target = "host";
  PlanOptions plan;
  std::string weights;  // a mix of types (gguf/type_mix.h) for what are floats; empty: as stored
  std::vector<gguf::AdapterRequest> adapters;  // merged into the weights
  std::string importance;    // file of an importance matrix for what is quantised; empty: none
  bool context_max = false;  // take the largest context that fits instead of plan.context
  BudgetOptions budget;
  std::string chat_format = "auto";  // or template, none, a built-in format's name
  bool desktop = false;    // budget of a system with a desktop; budget.limit goes before it
  std::string nvrtc;       // library or folder; empty: search
  std::string dump_after;  // one of kPlanStages: print its result and stop
  bool use_cache = true;
  bool split_weights = false;  // into a file of their own, which plans can share
  bool ptx =
      false;  // PTX instead of machine code: runs a target's code path on a newer device, in tests
  ReportFormat report = ReportFormat::kNone;
};

// Writes options.output; the report, or what --dump-after asks for, goes to `out`.
llvm::Error compile(const CompileOptions& options, llvm::raw_ostream& out);

}  // namespace jllm

// What several commands of jllmc share of their options.
#pragma once

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/CommandLine.h>
#include <llvm/Support/Error.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compiler/budget.h"
#include "compiler/gguf/adapter.h"
#include "compiler/plan.h"

namespace jllm::tool {

// Everything that --help shows; LLVM's own options are not in it.
llvm::cl::OptionCategory& options_category();

// Options that shape the plan and its budget, of one command.
class PlanArguments {
 public:
  PlanArguments(llvm::cl::SubCommand& command, const char* context_help);

  // Fills in what was given. *context_max is set by "--context max"; null: the command does not
  // take it.
  llvm::Error fill(PlanOptions* plan, BudgetOptions* budget, bool* context_max) const;
  bool desktop() const { return desktop_; }

 private:
  llvm::cl::opt<std::string> context_, kv_, kv_k_, kv_v_;
  llvm::cl::opt<unsigned> prefill_chunk_;
  llvm::cl::opt<unsigned> speculate_;
  llvm::cl::opt<unsigned> slots_;
  llvm::cl::opt<std::string> embedding_;
  llvm::cl::opt<std::string> budget_, reserve_;
  llvm::cl::opt<bool> desktop_;
};

// Every --lora FILE[:SCALE]; kUsage for one that says nothing.
llvm::Expected<std::vector<gguf::AdapterRequest>> parse_adapters(
    const llvm::cl::list<std::string>& texts);

// --activations; kUsage for an unknown mode.
llvm::Error parse_activations(llvm::StringRef text, select::ActivationMode* mode);

}  // namespace jllm::tool

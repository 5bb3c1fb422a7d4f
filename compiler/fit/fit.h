// `jllmc fit` behind its options.
#pragma once

#include <llvm/Support/Error.h>
#include <llvm/Support/raw_ostream.h>

#include <string>
#include <vector>

#include "compiler/fit/verdict.h"
#include "compiler/gguf/adapter.h"
#include "compiler/report/style.h"

namespace jllm::fit {

struct FitOptions {
  std::string input;
  std::vector<std::string> targets;  // names; none and not `all`: host
  bool all = false;                  // every built-in device that has a budget
  bool modes = false;                // in each of their power modes
  bool header_only = false;          // take a file that ends before its tensors do
  bool json = false;
  std::string weights;                         // as CompileOptions has it
  std::vector<gguf::AdapterRequest> adapters;  // merged, they take no memory: only checked
  Question question;
};

// Prints the verdicts to `out`. kDoesNotFit when the model fits none of the devices.
llvm::Error run(const FitOptions& options, const report::Style& style, llvm::raw_ostream& out);

}  // namespace jllm::fit

// jllmc tune: measures the variants of a model's matrix-vector kernels in their place, whole tokens
// of the model itself, and writes the fastest as a tuning table.
#pragma once

#include <llvm/Support/Error.h>
#include <llvm/Support/raw_ostream.h>

#include <string>

#include "compiler/plan.h"

namespace jllm::tune {

struct TuneOptions {
  std::string input;
  std::string output;  // the table; one that is there is added to; empty: none is written
  std::string target;
  PlanOptions plan;
  std::string nvrtc;
  bool newer_device = false;  // the target's code as PTX on a newer GPU
  bool quick = false;         // only the variants that the cost model likes best
};

// Progress goes to stderr, the result as a table to `out`.
llvm::Error tune(const TuneOptions& options, llvm::raw_ostream& out);

// The smallest relative distance of two vectors that rounding does not explain, when `launches`
// kernels, one behind the other, may each have added in another order.
double tolerance(kernels::Activations mode, size_t launches);

}  // namespace jllm::tune

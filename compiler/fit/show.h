// Verdicts for people and for scripts: what `jllmc fit` prints.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/Support/raw_ostream.h>

#include <vector>

#include "compiler/fit/advice.h"
#include "compiler/fit/verdict.h"
#include "compiler/report/style.h"

namespace jllm::fit {

struct Finding {
  Verdict verdict;
  std::vector<Advice> advice;  // where it does not fit
};

// One device: where its memory goes, what to expect, and what would make the model fit.
void print_one(const model::Model& model, const Finding& finding, const report::Style& style,
               llvm::raw_ostream& os);

// Several devices: a table.
void print_table(const model::Model& model, llvm::ArrayRef<Finding> findings,
                 const report::Style& style, llvm::raw_ostream& os);

// One document; docs/fit.md lists its fields.
void print_json(const model::Model& model, llvm::ArrayRef<Finding> findings, llvm::raw_ostream& os);

}  // namespace jllm::fit

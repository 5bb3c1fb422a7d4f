// Targets for people and for scripts: what `jllmc targets` prints.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/Support/raw_ostream.h>

#include "compiler/target/description.h"

namespace jllm::target {

// Two lines per device: what it is, and its power modes.
void print_list(llvm::ArrayRef<Description> devices, llvm::raw_ostream& os);

// Every figure of a device with its source.
void print_details(const Description& device, llvm::raw_ostream& os);

// {"targets": [...]}: the fields of the files, and what is derived from them (desktop_budget_mib,
// planning_bandwidth_gb_s, and "default": true at the default mode).
void print_json(llvm::ArrayRef<Description> devices, llvm::raw_ostream& os);

}  // namespace jllm::target

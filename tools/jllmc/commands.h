// The commands of jllmc: one file each. main.cpp runs the one that the user named.
#pragma once

#include <llvm/Support/CommandLine.h>
#include <llvm/Support/Error.h>

namespace jllm::tool {

struct Command {
  llvm::cl::SubCommand& options;
  llvm::Error (*run)();
};

const Command& compile_command();
const Command& fit_command();
const Command& inspect_command();
const Command& keygen_command();
const Command& sign_command();
const Command& synth_command();
const Command& targets_command();
const Command& tune_command();

}  // namespace jllm::tool

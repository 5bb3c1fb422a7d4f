// Other programs: finding them on the PATH and reading what they print.
#pragma once

#include <string>
#include <vector>

namespace jllm::tool {

// Path of an executable file of this name on the PATH; empty when there is none.
std::string find_program(const std::string& name);

struct ProgramOutput {
  int code = -1;    // exit code; 128 + n when signal n ended it
  std::string out;  // standard output
};

// Runs words[0], a path, to its end. Its standard error is ours, or goes nowhere. Throws Failure
// when it cannot be started.
ProgramOutput run_program(const std::vector<std::string>& words, bool show_errors);

}  // namespace jllm::tool

// Tiny models with random weights and the plans compiled from them: the whole line in milliseconds.
#pragma once

#include <string>
#include <vector>

#include "compiler/compile.h"
#include "compiler/support/error.h"
#include "compiler/synth/synth.h"
#include "tests/support/files.h"
#include "tests/support/recipe.h"

namespace jllm::test {

// Two layers of the llama architecture, 64 wide, 4 heads over 2 key/value heads of 16, SPM
// vocabulary of 512 tokens (<s> = 1, </s> = 2), context 256, F32 weights.
synth::SynthOptions tiny_model();

// A failed call is what the user would see: exit code and message.
struct CompileOutcome {
  ExitCode code = ExitCode::kDone;
  std::string message;
  std::string report;  // what was asked for on standard output
};

CompileOutcome compile_model(const CompileOptions& options);

// Writes the model. A failure is thrown: it ends the test with its message.
void make_model(const synth::SynthOptions& options, const std::string& path);
// Compiles; likewise.
void make_plan(const CompileOptions& options);

// The bytes of the plan of a synthetic model for `options` (input and output are filled in here).
std::vector<uint8_t> plan_bytes(const synth::SynthOptions& model, CompileOptions options = {});
// The recipe's plan for `target`.
std::vector<uint8_t> plan_bytes(const PlanRecipe& recipe, const std::string& target);

}  // namespace jllm::test

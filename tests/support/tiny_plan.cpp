#include "tests/support/tiny_plan.h"

#include <stdexcept>

namespace jllm::test {

synth::SynthOptions tiny_model() {
  synth::SynthOptions options;
  options.like = "tinyllama";
  options.type = "f32";
  options.seed = 7;
  options.layers = 2;
  options.embedding = 64;
  options.ffn = 96;
  options.heads = 4;
  options.kv_heads = 2;
  options.head_dim = 16;
  options.vocab = 512;
  options.context = 256;
  return options;
}

CompileOutcome compile_model(const CompileOptions& options) {
  CompileOutcome outcome;
  llvm::raw_string_ostream report(outcome.report);
  if (llvm::Error error = compile(options, report)) {
    std::tie(outcome.code, outcome.message) = take_error(std::move(error));
  }
  report.flush();
  return outcome;
}

void make_model(const synth::SynthOptions& options, const std::string& path) {
  llvm::Error error = synth::synthesise(options, path);
  if (error) throw std::runtime_error(take_error(std::move(error)).second);
}

void make_plan(const CompileOptions& options) {
  const CompileOutcome outcome = compile_model(options);
  if (outcome.code != ExitCode::kDone) throw std::runtime_error(outcome.message);
}

std::vector<uint8_t> plan_bytes(const synth::SynthOptions& model, CompileOptions options) {
  const TempDir dir;
  options.input = dir.file("model.gguf");
  options.output = dir.file("model.jllm");
  make_model(model, options.input);
  make_plan(options);
  return read_file(options.output);
}

}  // namespace jllm::test

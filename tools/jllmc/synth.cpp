// jllmc synth: models of true shape with random weights.
#include "compiler/synth/synth.h"

#include "compiler/support/progress.h"
#include "tools/jllmc/commands.h"
#include "tools/jllmc/options.h"

namespace jllm::tool {
namespace {

namespace cl = llvm::cl;

cl::SubCommand command("synth",
                       "write a model of true shape with random weights, for tests and benches");

cl::opt<std::string> like("like", cl::value_desc("NAME"), cl::Required,
                          cl::desc("shape to imitate, e.g. llama-3.2-1b (an unknown name lists "
                                   "all)"),
                          cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> type("type", cl::value_desc("TYPE"), cl::init("q4_k_m"),
                          cl::desc("weight type or mix (default: q4_k_m)"), cl::sub(command),
                          cl::cat(options_category()));
cl::opt<unsigned> layers("layers", cl::value_desc("N"),
                         cl::desc("layers (default: as the model has)"), cl::sub(command),
                         cl::cat(options_category()));
cl::opt<unsigned long long> seed("seed", cl::value_desc("N"), cl::init(0),
                                 cl::desc("seed of the weights"), cl::sub(command),
                                 cl::cat(options_category()));
cl::opt<bool> header_only("header-only",
                          cl::desc("stop before the weights (fit --header-only reads it)"),
                          cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> path("o", cl::value_desc("OUT.gguf"), cl::Required,
                          cl::desc("the file to write"), cl::sub(command),
                          cl::cat(options_category()));

llvm::Error run() {
  synth::SynthOptions options;
  options.like = like;
  options.type = type;
  options.layers = layers;
  options.seed = seed;
  options.header_only = header_only;
  Progress progress("writing random weights");
  return synth::synthesise(options, path,
                           [&](uint64_t done, uint64_t total) { progress.update(done, total); });
}

}  // namespace

const Command& synth_command() {
  static const Command entry = {command, run};
  return entry;
}

}  // namespace jllm::tool

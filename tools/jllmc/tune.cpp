// jllmc tune: measures kernel variants on the GPU at hand.
#include "tools/tune/tune.h"

#include <llvm/Support/raw_ostream.h>

#include "tools/jllmc/commands.h"
#include "tools/jllmc/options.h"

namespace jllm::tool {
namespace {

namespace cl = llvm::cl;

cl::SubCommand command("tune",
                       "measure kernel variants for a model on the GPU at hand; the table that "
                       "results is for jllmc compile --tuning");

cl::opt<std::string> model_path(cl::Positional, cl::Required, cl::desc("MODEL.gguf"),
                                cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> target_name("target", cl::Required, cl::value_desc("NAME[@MODE]|FILE.json"),
                                 cl::desc("the device at hand (see jllmc targets), or sm_XX"),
                                 cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> output("o", cl::value_desc("FILE.json"),
                            cl::desc("the table to write, or to add to"), cl::sub(command),
                            cl::cat(options_category()));
cl::opt<bool> quick("quick", cl::desc("measure only the variants that the cost model likes best"),
                    cl::sub(command), cl::cat(options_category()));
cl::opt<bool> newer_device("newer-device",
                           cl::desc("measure the target's code on a GPU newer than the target: a "
                                    "starting table"),
                           cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> nvrtc("nvrtc", cl::value_desc("PATH"),
                           cl::desc("NVRTC library, or a folder that holds one"), cl::sub(command),
                           cl::cat(options_category()));
cl::opt<std::string> activations("activations", cl::value_desc("MODE"), cl::init("auto"),
                                 cl::desc("as for jllmc compile: f32, q8, q8r or auto (default)"),
                                 cl::sub(command), cl::cat(options_category()));
PlanArguments plan_arguments(command,
                             "positions of the KV cache (default: the model's own, at most 4096)");

llvm::Error run() {
  tune::TuneOptions options;
  options.input = model_path;
  options.output = output;
  options.target = target_name;
  options.quick = quick;
  options.newer_device = newer_device;
  options.nvrtc = nvrtc;
  BudgetOptions budget;
  if (llvm::Error error = plan_arguments.fill(&options.plan, &budget, nullptr)) return error;
  if (llvm::Error error = parse_activations(activations, &options.plan.select.activations)) {
    return error;
  }
  return tune::tune(options, llvm::outs());
}

}  // namespace

const Command& tune_command() {
  static const Command entry = {command, run};
  return entry;
}

}  // namespace jllm::tool

// jllmc fit: which devices hold a model, from its header alone.
#include "compiler/fit/fit.h"

#include <llvm/Support/raw_ostream.h>

#include "tools/jllmc/commands.h"
#include "tools/jllmc/options.h"

namespace jllm::tool {
namespace {

namespace cl = llvm::cl;

cl::SubCommand command("fit", "say which devices hold a model, with what context and how fast");

cl::opt<std::string> model_path(cl::Positional, cl::Required, cl::desc("MODEL.gguf"),
                                cl::sub(command), cl::cat(options_category()));
cl::list<std::string> targets("target", cl::value_desc("NAME[@MODE]|FILE.json"),
                              cl::desc("device to judge; may be given several times (default: "
                                       "host)"),
                              cl::sub(command), cl::cat(options_category()));
cl::opt<bool> all("all", cl::desc("every device that is known by name"), cl::sub(command),
                  cl::cat(options_category()));
cl::opt<bool> modes("modes", cl::desc("each device in each of its power modes"), cl::sub(command),
                    cl::cat(options_category()));
PlanArguments plan_arguments(command,
                             "positions of the KV cache (default: the model's own, at most 4096)");
cl::opt<bool> header_only("header-only",
                          cl::desc("take a file that ends before its tensors do: the start of a "
                                   "download"),
                          cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> weights(
    "weights", cl::value_desc("TYPE"),
    cl::desc("ask for a plan with matrices quantised by jllmc compile --weights"), cl::sub(command),
    cl::cat(options_category()));
cl::list<std::string> adapters(
    "lora", cl::value_desc("FILE.gguf[:SCALE]"),
    cl::desc("check a LoRA adapter that jllmc compile is to merge; merged, it takes no memory"),
    cl::sub(command), cl::cat(options_category()));
cl::opt<bool> as_json("json", cl::desc("print JSON"), cl::sub(command),
                      cl::cat(options_category()));

llvm::Error run() {
  fit::FitOptions options;
  options.input = model_path;
  options.targets.assign(targets.begin(), targets.end());
  options.all = all;
  options.modes = modes;
  options.header_only = header_only;
  options.json = as_json;
  options.weights = llvm::StringRef(weights).lower();
  llvm::Expected<std::vector<gguf::AdapterRequest>> requests = parse_adapters(adapters);
  if (!requests) return requests.takeError();
  options.adapters = std::move(*requests);
  options.question.desktop = plan_arguments.desktop();
  if (llvm::Error error =
          plan_arguments.fill(&options.question.plan, &options.question.budget, nullptr)) {
    return error;
  }
  llvm::raw_fd_ostream& out = llvm::outs();
  return fit::run(options, report::detect_style(out.is_displayed()), out);
}

}  // namespace

const Command& fit_command() {
  static const Command entry = {command, run};
  return entry;
}

}  // namespace jllm::tool

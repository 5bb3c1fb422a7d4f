// jllmc inspect: what is in a GGUF or in a plan.
#include "compiler/inspect/inspect.h"

#include <llvm/Support/raw_ostream.h>

#include "tools/jllmc/commands.h"
#include "tools/jllmc/options.h"

namespace jllm::tool {
namespace {

namespace cl = llvm::cl;

cl::SubCommand command("inspect", "show what is in a GGUF or in a plan");
cl::opt<std::string> path(cl::Positional, cl::Required, cl::desc("FILE.gguf|PLAN.jllm"),
                          cl::sub(command), cl::cat(options_category()));
cl::opt<bool> json("json", cl::desc("print one JSON document"), cl::sub(command),
                   cl::cat(options_category()));
cl::opt<bool> map("map", cl::desc("plans: draw the scratch memory over time, a line per launch"),
                  cl::sub(command), cl::cat(options_category()));
cl::opt<std::string> svg("svg", cl::value_desc("FILE"),
                         cl::desc("plans: write the memory map as a picture"), cl::sub(command),
                         cl::cat(options_category()));
cl::opt<bool> verify("verify",
                     cl::desc("plans: prove the layout again and check every segment's hash"),
                     cl::sub(command), cl::cat(options_category()));

llvm::Error run() {
  inspect::InspectOptions options;
  options.path = path;
  options.json = json;
  options.map = map;
  options.svg_path = svg;
  options.verify = verify;
  return inspect::inspect(options, llvm::outs());
}

}  // namespace

const Command& inspect_command() {
  static const Command entry = {command, run};
  return entry;
}

}  // namespace jllm::tool

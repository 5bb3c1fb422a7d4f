// jllmc targets: the devices that are known by name.
#include <llvm/Support/raw_ostream.h>

#include "compiler/target/show.h"
#include "compiler/target/target.h"
#include "tools/jllmc/commands.h"
#include "tools/jllmc/options.h"

namespace jllm::tool {
namespace {

namespace cl = llvm::cl;

cl::SubCommand command("targets", "list the devices that are known by name, or show one");

cl::opt<std::string> shown(cl::Positional, cl::desc("[NAME|FILE.json]"), cl::sub(command),
                           cl::cat(options_category()));
cl::opt<bool> as_json("json", cl::desc("print JSON"), cl::sub(command),
                      cl::cat(options_category()));

llvm::Error run() {
  std::vector<std::string> names = {shown};
  if (shown.empty()) names = target::builtin_names();
  std::vector<target::Description> devices;
  for (const std::string& name : names) {
    llvm::Expected<target::Description> device = target::describe(name);
    if (!device) return device.takeError();
    devices.push_back(std::move(*device));
  }
  if (as_json) {
    target::print_json(devices, llvm::outs());
  } else if (shown.empty()) {
    target::print_list(devices, llvm::outs());
  } else {
    target::print_details(devices.front(), llvm::outs());
  }
  return llvm::Error::success();
}

}  // namespace

const Command& targets_command() {
  static const Command entry = {command, run};
  return entry;
}

}  // namespace jllm::tool

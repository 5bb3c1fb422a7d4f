// jllm install: a new plan in the place of the one in use, and back.
#include "tools/plan_file/install.h"

#include <cstdio>

#include "tools/jllm/arguments.h"
#include "tools/jllm/commands.h"
#include "tools/jllm/session.h"

namespace jllm::tool {

int install_command(int argc, char** argv) {
  PlanPaths paths;
  std::string current;
  bool rollback = false;
  Arguments arguments(
      "jllm install NEW.jllm --to CURRENT.jllm | jllm install CURRENT.jllm --rollback",
      "Proves a new plan and puts it, with the weight file that it names, in the place of the one "
      "in use.\nWhenever the power fails, CURRENT.jllm is the old plan or the new one, whole. The "
      "old one stays as\nCURRENT.jllm.previous.");
  add_plan(&arguments, &paths);
  arguments.text("", "--to", &current, "the plan in use; it need not exist yet");
  arguments.flag("", "--rollback", &rollback,
                 "the plan named is the one in use: put the one before it back in its place; twice "
                 "changes nothing");
  if (!arguments.parse(argc, argv)) return kDone;
  if (rollback) {
    if (!current.empty()) throw Failure(kUsage, "--rollback goes with the plan in use alone");
    roll_back(paths.plan);
    std::printf("%s is the plan before it; what it was is %s\n", paths.plan.c_str(),
                previous_name(paths.plan).c_str());
    return kDone;
  }
  if (current.empty()) throw Failure(kUsage, "where to? Say --to CURRENT.jllm");
  install_plan(paths, current);
  std::printf("%s is installed\n", current.c_str());
  return kDone;
}

}  // namespace jllm::tool

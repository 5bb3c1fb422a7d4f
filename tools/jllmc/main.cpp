// jllmc: compiles a GGUF model ahead of time for one device. Options only; the work is in
// compiler/.
#include <llvm/Support/CommandLine.h>
#include <llvm/Support/raw_ostream.h>

#include "compiler/gguf/watch.h"
#include "compiler/support/error.h"
#include "jllm_version.h"
#include "tools/jllmc/commands.h"
#include "tools/jllmc/options.h"

namespace {

using jllm::ExitCode;
namespace cl = llvm::cl;
namespace tool = jllm::tool;

constexpr const char* kOverview =
    "compiles a language model (GGUF) ahead of time for one device\n\n"
    "  jllmc fit MODEL.gguf --all\n"
    "  jllmc compile MODEL.gguf --target orin-nano-8gb -o PLAN.jllm --report text\n"
    "  jllmc compile MODEL.gguf --target host -o PLAN.jllm && jllm run PLAN.jllm -p \"Hello\"\n\n"
    "exit codes: 0 done, 1 failed, 2 usage, 3 does not fit, 4 invalid file, 5 unsupported, 6 "
    "device\n";

llvm::Error run_command(llvm::ArrayRef<const tool::Command*> commands) {
  for (const tool::Command* command : commands) {
    if (command->options) return command->run();
  }
  return jllm::fail(ExitCode::kUsage, "which command? jllmc --help lists them");
}

}  // namespace

int main(int argc, char** argv) {
  const tool::Command* const commands[] = {&tool::fit_command(),     &tool::compile_command(),
                                           &tool::inspect_command(), &tool::targets_command(),
                                           &tool::synth_command(),   &tool::tune_command(),
                                           &tool::keygen_command(),  &tool::sign_command()};
  cl::SetVersionPrinter([](llvm::raw_ostream& os) { os << "jllmc " JLLM_VERSION "\n"; });
  for (const tool::Command* command : commands) {
    cl::HideUnrelatedOptions(tool::options_category(), command->options);
  }
  if (!cl::ParseCommandLineOptions(argc, argv, kOverview, &llvm::errs())) {
    return static_cast<int>(ExitCode::kUsage);
  }
  llvm::Error error = run_command(commands);
  // Zeros were read of what is not there any more: whatever was made of them is nothing.
  if (llvm::Error cut = jllm::gguf::cut_source()) {
    llvm::consumeError(std::move(error));
    error = std::move(cut);
  }
  if (!error) return static_cast<int>(ExitCode::kDone);
  const auto [code, text] = jllm::take_error(std::move(error));
  llvm::errs() << "jllmc: " << text << "\n";
  return static_cast<int>(code);
}

// jllmc keygen and jllmc sign: keys, and plans that say who made them.
#include "tools/plan_file/sign.h"

#include <llvm/Support/raw_ostream.h>

#include "compiler/support/error.h"
#include "tools/jllmc/commands.h"
#include "tools/jllmc/options.h"
#include "tools/plan_file/signature.h"

namespace jllm::tool {
namespace {

namespace cl = llvm::cl;

cl::SubCommand keygen("keygen", "make a pair of keys for signing plans");
cl::opt<std::string> key_name(cl::Positional, cl::Required, cl::desc("NAME"), cl::sub(keygen),
                              cl::cat(options_category()));

cl::SubCommand sign("sign", "sign a plan, for jllm --trusted-key");
cl::opt<std::string> plan_path(cl::Positional, cl::Required, cl::desc("PLAN.jllm"), cl::sub(sign),
                               cl::cat(options_category()));
cl::opt<std::string> key_path("key", cl::value_desc("NAME.key"), cl::Required,
                              cl::desc("the secret key that jllmc keygen wrote"), cl::sub(sign),
                              cl::cat(options_category()));
cl::opt<std::string> weights_path("weights", cl::value_desc("FILE.jllmw"),
                                  cl::desc("the plan's weight file, where it does not lie beside "
                                           "the plan"),
                                  cl::sub(sign), cl::cat(options_category()));
cl::opt<std::string> out_path("o", cl::value_desc("OUT.jllm"),
                              cl::desc("write the signed plan here (default: in place)"),
                              cl::sub(sign), cl::cat(options_category()));

// What the shared code throws, as the compiler's own error.
template <typename Work>
llvm::Error report_failure(const Work& work) {
  try {
    work();
  } catch (const Failure& failure) {
    return fail(static_cast<jllm::ExitCode>(failure.code), "{0}", failure.what());
  }
  return llvm::Error::success();
}

llvm::Error run_keygen() {
  return report_failure([] {
    make_keys(key_name);
    llvm::outs() << key_name << ".key: keep it secret; jllmc sign --key takes it\n"
                 << key_name << ".pub: for devices; jllm --trusted-key takes it\n";
  });
}

llvm::Error run_sign() {
  return report_failure([] {
    PlanPaths paths(plan_path);
    paths.weights = weights_path;
    sign_plan(paths, key_path, out_path.empty() ? plan_path : out_path);
  });
}

}  // namespace

const Command& keygen_command() {
  static const Command entry = {keygen, run_keygen};
  return entry;
}

const Command& sign_command() {
  static const Command entry = {sign, run_sign};
  return entry;
}

}  // namespace jllm::tool

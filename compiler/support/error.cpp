#include "compiler/support/error.h"

namespace jllm {

char CompileError::ID = 0;

std::pair<ExitCode, std::string> take_error(llvm::Error error) {
  ExitCode code = ExitCode::kFailed;
  std::string text;
  llvm::handleAllErrors(
      std::move(error),
      [&](const CompileError& e) {
        code = e.code();
        text += (text.empty() ? "" : "\n") + e.what();
      },
      [&](const llvm::ErrorInfoBase& e) { text += (text.empty() ? "" : "\n") + e.message(); });
  return {code, text};
}

}  // namespace jllm

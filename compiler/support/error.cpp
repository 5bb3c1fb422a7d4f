// Taking apart the errors that reach main().
#include "compiler/support/error.h"

namespace jllm {

char CompileError::ID = 0;

std::pair<ExitCode, std::string> take_error(llvm::Error error) {
  ExitCode code = ExitCode::kFailed;
  std::string text;
  const auto add_line = [&](const std::string& line) {
    if (!text.empty()) text += '\n';
    text += line;
  };
  llvm::handleAllErrors(
      std::move(error),
      [&](const CompileError& e) {
        code = e.code();
        add_line(e.what());
      },
      [&](const llvm::ErrorInfoBase& e) { add_line(e.message()); });
  return {code, text};
}

}  // namespace jllm

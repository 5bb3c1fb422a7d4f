// The compiler's one error type: a message for the user and the exit code that it leads to.
#pragma once

#include <llvm/Support/Error.h>
#include <llvm/Support/FormatVariadic.h>

#include <string>
#include <utility>

namespace jllm {

// Exit codes of jllmc and jllm; scripts rely on them.
enum class ExitCode : int {
  kDone = 0,
  kFailed = 1,       // failed while running (I/O, NVRTC, internal)
  kUsage = 2,        // wrong command line
  kDoesNotFit = 3,   // the model does not fit the device's budget
  kInvalidFile = 4,  // damaged or invalid file
  kUnsupported = 5,  // architecture, type or target that jllm does not support
  kDevice = 6,       // device or driver
};

class CompileError : public llvm::ErrorInfo<CompileError> {
 public:
  static char ID;
  CompileError(ExitCode code, std::string message) : code_(code), message_(std::move(message)) {}

  ExitCode code() const { return code_; }
  const std::string& what() const { return message_; }
  void log(llvm::raw_ostream& os) const override { os << message_; }
  std::error_code convertToErrorCode() const override { return llvm::inconvertibleErrorCode(); }

 private:
  ExitCode code_;
  std::string message_;
};

// An error built with llvm::formatv: fail(ExitCode::kInvalidFile, "{0}: bad magic", path).
// The message says what is wrong, where, and what to do next.
template <typename... Args>
llvm::Error fail(ExitCode code, const char* format, Args&&... args) {
  return llvm::make_error<CompileError>(code,
                                        llvm::formatv(format, std::forward<Args>(args)...).str());
}

// Exit code of an error (kFailed for foreign ones) and its text; consumes it.
std::pair<ExitCode, std::string> take_error(llvm::Error error);

}  // namespace jllm

// CompileError and what main() makes of it; the progress line keeps silent off a terminal.
#include "compiler/support/error.h"

#include <gtest/gtest.h>

#include "compiler/support/progress.h"

namespace jllm {
namespace {

TEST(Error, CarriesItsCodeAndFormattedText) {
  const auto [code, text] =
      take_error(fail(ExitCode::kDoesNotFit, "{0}: {1:N} bytes too much", "m.gguf", 1234567));
  EXPECT_EQ(code, ExitCode::kDoesNotFit);
  EXPECT_EQ(text, "m.gguf: 1,234,567 bytes too much");
}

TEST(Error, ForeignErrorsAreFailures) {
  const auto [code, text] =
      take_error(llvm::createStringError(std::make_error_code(std::errc::io_error), "disk gone"));
  EXPECT_EQ(code, ExitCode::kFailed);
  EXPECT_EQ(text, "disk gone");
}

TEST(Error, JoinedErrorsGiveALineEach) {
  const auto [code, text] = take_error(llvm::joinErrors(fail(ExitCode::kInvalidFile, "first"),
                                                        fail(ExitCode::kInvalidFile, "second")));
  EXPECT_EQ(code, ExitCode::kInvalidFile);
  EXPECT_EQ(text, "first\nsecond");
}

TEST(Error, SuccessIsNoText) {
  const auto [code, text] = take_error(llvm::Error::success());
  EXPECT_EQ(code, ExitCode::kFailed);
  EXPECT_EQ(text, "");
}

// Braces in values are text, not format.
TEST(Error, ValuesAreNotFormattedAgain) {
  EXPECT_EQ(take_error(fail(ExitCode::kFailed, "{0}", "{1} %s")).second, "{1} %s");
}

TEST(Progress, WritesNothingWhereThereIsNoTerminal) {
  testing::internal::CaptureStderr();
  {
    Progress progress("repacking weights");
    for (uint64_t i = 0; i <= 100; ++i) progress.update(i, 100);
    progress.update(0, 0);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace jllm

// A compilation that fails says what and why with the right exit code, and leaves the folder as it
// was.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::CompileOutcome;
using test::TempDir;

class Failure : public testing::Test {
 protected:
  Failure() { test::make_model(test::tiny_model(), models_.file("model.gguf")); }

  CompileOptions options() const {
    CompileOptions options;
    options.input = models_.file("model.gguf");
    options.output = out_.file("model.jllm");
    return options;
  }

  CompileOutcome expect_failure(const CompileOptions& options, ExitCode code,
                                const std::string& words) const {
    const CompileOutcome outcome = test::compile_model(options);
    EXPECT_EQ(outcome.code, code) << outcome.message;
    EXPECT_NE(outcome.message.find(words), std::string::npos) << outcome.message;
    EXPECT_EQ(out_.entries(), std::vector<std::string>{}) << "something was left behind";
    return outcome;
  }

  TempDir models_;
  TempDir out_;
};

// Limits the size of files that this process writes, while it lives; writes behind it fail with
// EFBIG.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    old_handler_ = std::signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &old_), 0);
    const rlimit limit = {bytes, old_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit old_ = {};
  void (*old_handler_)(int) = nullptr;
};

TEST_F(Failure, AFullDiskAtAnyPointLeavesNothing) {
  test::make_plan(options());
  const size_t whole = test::read_file(options().output).size();
  unlink(options().output.c_str());
  for (const size_t limit : {size_t{0}, size_t{1}, size_t{4096}, whole / 2, whole - 1}) {
    SCOPED_TRACE(limit);
    const FileSizeLimit guard(limit);
    expect_failure(options(), ExitCode::kFailed, "cannot write: File too large");
  }
  const FileSizeLimit enough(whole);
  EXPECT_EQ(test::compile_model(options()).code, ExitCode::kDone);
}

TEST_F(Failure, AFullDiskKeepsTheOldPlan) {
  test::make_plan(options());
  const std::vector<uint8_t> old = test::read_file(options().output);
  CompileOptions longer = options();
  longer.plan.context = 32;
  {
    const FileSizeLimit guard(old.size() / 2);
    EXPECT_EQ(test::compile_model(longer).code, ExitCode::kFailed);
  }
  EXPECT_EQ(out_.entries(), std::vector<std::string>{"model.jllm"});
  EXPECT_EQ(test::read_file(options().output), old);
}

TEST_F(Failure, AFolderThatDoesNotExist) {
  CompileOptions nowhere = options();
  nowhere.output = out_.file("no/such/folder.jllm");
  expect_failure(nowhere, ExitCode::kFailed, "cannot create: No such file or directory");
}

TEST_F(Failure, AFolderThatMayNotBeWritten) {
  ASSERT_EQ(chmod(models_.path().c_str(), 0755), 0);
  ASSERT_EQ(chmod(out_.path().c_str(), 0555), 0);
  // Root may write everywhere: be nobody for a while.
  const bool root = geteuid() == 0;
  if (root && seteuid(65534) != 0) GTEST_SKIP() << "root, and cannot be anybody else";
  expect_failure(options(), ExitCode::kFailed, "cannot create: Permission denied");
  ASSERT_TRUE(!root || seteuid(0) == 0);
  chmod(out_.path().c_str(), 0755);
}

TEST_F(Failure, AFolderInTheFilesPlace) {
  CompileOptions folder = options();
  folder.output = out_.path();
  const CompileOutcome outcome = test::compile_model(folder);
  EXPECT_EQ(outcome.code, ExitCode::kFailed) << outcome.message;
  EXPECT_EQ(out_.entries(), std::vector<std::string>{});
}

TEST_F(Failure, AModelThatDoesNotFit) {
  CompileOptions small = options();
  small.budget.limit = 100 << 10;
  const CompileOutcome outcome = expect_failure(small, ExitCode::kDoesNotFit, "does not fit");
  EXPECT_NE(outcome.message.find("100.0 KiB"), std::string::npos) << outcome.message;
}

TEST_F(Failure, TheBudgetIsProvedBeforeAnyWork) {
  // No NVRTC is at that place, which nobody gets to notice.
  CompileOptions small = options();
  small.target = "sm_87";
  small.nvrtc = "/nonexistent";
  small.budget.limit = 100 << 10;
  expect_failure(small, ExitCode::kDoesNotFit, "does not fit");
  small.budget.limit = uint64_t{1} << 40;
  expect_failure(small, ExitCode::kFailed, "/nonexistent");
}

TEST_F(Failure, TheReserveCountsAgainstTheBudget) {
  CompileOptions tight = options();
  tight.budget.limit = 64 << 20;
  EXPECT_EQ(test::compile_model(tight).code, ExitCode::kDone);
  unlink(tight.output.c_str());
  tight.budget.reserve = 64 << 20;
  expect_failure(tight, ExitCode::kDoesNotFit, "does not fit");
}

TEST_F(Failure, AContextBeyondTheModels) {
  CompileOptions longer = options();
  longer.plan.context = 257;
  expect_failure(longer, ExitCode::kUsage, "at most 256 positions");
}

TEST_F(Failure, AnUnknownTarget) {
  CompileOptions unknown = options();
  unknown.target = "toaster";
  const CompileOutcome outcome = expect_failure(unknown, ExitCode::kUnsupported, "'toaster'");
  EXPECT_NE(outcome.message.find("orin-nano-8gb"), std::string::npos) << outcome.message;
}

TEST_F(Failure, AMissingModel) {
  CompileOptions missing = options();
  missing.input = models_.file("none.gguf");
  expect_failure(missing, ExitCode::kFailed, "none.gguf: cannot open: No such file or directory");
}

TEST_F(Failure, ATruncatedModel) {
  const std::vector<uint8_t> whole = test::read_file(models_.file("model.gguf"));
  CompileOptions cut = options();
  cut.input = models_.file("cut.gguf");
  for (const size_t size :
       {size_t{0}, size_t{3}, size_t{23}, size_t{1000}, whole.size() / 2, whole.size() - 4}) {
    SCOPED_TRACE(size);
    test::write_file(cut.input, whole.data(), size);
    expect_failure(cut, ExitCode::kInvalidFile, "cut.gguf");
  }
}

// Overwrites the bytes at the end of the first occurrence of `text`, plus `skip`.
void patch(std::vector<uint8_t>* file, const std::string& text, size_t skip,
           const std::string& bytes) {
  const auto found = std::search(file->begin(), file->end(), text.begin(), text.end());
  ASSERT_NE(found, file->end()) << text;
  std::copy(bytes.begin(), bytes.end(), found + static_cast<ptrdiff_t>(text.size() + skip));
}

TEST_F(Failure, AnUnsupportedArchitectureIsNamed) {
  std::vector<uint8_t> file = test::read_file(models_.file("model.gguf"));
  // Behind the key: value type (4 bytes), length (8 bytes), text.
  patch(&file, "general.architecture", 12, "wxyza");
  test::write_file(models_.file("model.gguf"), file.data(), file.size());
  expect_failure(options(), ExitCode::kUnsupported, "architecture 'wxyza' is not supported");
}

TEST_F(Failure, AnUnsupportedWeightTypeIsNamed) {
  synth::SynthOptions wide = test::tiny_model();
  wide.embedding = 256;  // a whole block of the type that stands there afterwards
  test::make_model(wide, models_.file("model.gguf"));
  std::vector<uint8_t> file = test::read_file(models_.file("model.gguf"));
  // Behind the name: dimensions (4 bytes), two extents (8 bytes each), the type's id. 16 is
  // iq2_xxs.
  patch(&file, "blk.0.attn_q.weight", 20, std::string("\x10\0\0\0", 4));
  test::write_file(models_.file("model.gguf"), file.data(), file.size());
  const CompileOutcome outcome =
      expect_failure(options(), ExitCode::kUnsupported, "blk.0.attn_q.weight");
  std::string lower = outcome.message;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  EXPECT_NE(lower.find("iq2_xxs"), std::string::npos) << outcome.message;
}

TEST_F(Failure, AnUnknownStage) {
  CompileOptions dump = options();
  dump.dump_after = "magic";
  expect_failure(dump, ExitCode::kUsage, "memory");
}

TEST_F(Failure, TooLargeAPrefillChunk) {
  CompileOptions chunk = options();
  chunk.plan.prefill_chunk = kMaxPrefillChunk + 1;
  expect_failure(chunk, ExitCode::kUsage, "at most 2048");
}

}  // namespace
}  // namespace jllm

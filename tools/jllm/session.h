// What every command of jllm needs: an open plan, its tokenizer and an executor; and how failures
// reach the user. Heap and exceptions are allowed here.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "executor/text/chat.h"
#include "executor/text/tokenizer.h"
#include "jllm/executor.h"
#include "schema/plan_view.h"

namespace jllm::tool {

// Exit codes that scripts rely on.
enum ExitCode : int {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,
  kDoesNotFit = 3,
  kInvalidFile = 4,
  kUnsupported = 5,
  kDevice = 6,
};

// A failure with its exit code; main() prints it and leaves.
struct Failure : std::runtime_error {
  Failure(ExitCode exit_code, const std::string& text)
      : std::runtime_error(text), code(exit_code) {}
  ExitCode code;
};

ExitCode exit_code_of(Error error);

// A plan file, its tables proved.
class OpenPlan {
 public:
  explicit OpenPlan(const std::string& path);  // throws Failure

  const PlanView& view() const { return view_; }
  FileSource& source() { return source_; }
  const std::string& path() const { return path_; }
  const text::Tokenizer& tokenizer();     // read on first use; throws Failure
  const text::ChatFormat& chat_format();  // likewise
  void require_tools();                   // a Failure where the chat format covers none

 private:
  // False where the plan has no such segment; throws Failure.
  bool read_segment(fb::SegmentKind kind, const char* name, std::vector<uint8_t>* bytes);

  std::string path_;
  FileSource source_;
  std::vector<uint64_t> head_;  // prefix and tables, 8-byte aligned
  PlanView view_;
  std::vector<uint8_t> tokenizer_segment_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::vector<uint8_t> chat_segment_;
  std::unique_ptr<text::ChatFormat> chat_format_;
};

// What /proc tells, bytes; 0 where it does not.
struct HostMemory {
  uint64_t available = 0;  // MemAvailable of the system
  uint64_t resident = 0;   // VmRSS of this process
  uint64_t libraries = 0;  // RssFile: of that, files mapped into memory
};
HostMemory host_memory();

// An executor in memory of its own.
class Session {
 public:
  Session(OpenPlan& plan, const ExecutorOptions& options);  // throws Failure
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Executor& executor() { return *executor_; }
  // Throws a Failure that carries the executor's last message.
  void check(Error error) const;
  double load_seconds() const { return load_seconds_; }
  const HostMemory& memory_before() const { return before_; }  // create()
  const HostMemory& memory_after() const { return after_; }

 private:
  void* memory_ = nullptr;
  Executor* executor_ = nullptr;
  double load_seconds_ = 0;
  HostMemory before_, after_;
};

// Whole file, or standard input for "-"; throws Failure.
std::string read_text(const std::string& path);

double now_seconds();            // monotonic
uint64_t peak_resident_bytes();  // VmHWM of this process

}  // namespace jllm::tool

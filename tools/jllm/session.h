// What every command of jllm needs: an open plan, its tokenizer and an executor; and how failures
// reach the user. Heap and exceptions are allowed here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "executor/text/chat.h"
#include "executor/text/tokenizer.h"
#include "jllm/executor.h"
#include "schema/plan_view.h"
#include "tools/plan_file/plan_file.h"

namespace jllm::tool {

class Arguments;

// The plan of a command: the positional argument, --weights and --trusted-key.
void add_plan(Arguments* arguments, PlanPaths* paths);

// A plan file with what commands want of it.
class OpenPlan {
 public:
  explicit OpenPlan(const PlanPaths& paths) : file_(paths) {}  // throws Failure

  const PlanView& view() const { return file_.view(); }
  PlanFile& file() { return file_; }
  const std::string& path() const { return file_.path(); }
  const text::Tokenizer& tokenizer();     // read on first use; throws Failure
  const text::ChatFormat& chat_format();  // likewise
  void require_text() const;              // a Failure where the plan makes embeddings
  void require_tools();                   // a Failure where the chat format covers none
  // False where the plan has no such segment; throws Failure.
  bool read_segment(fb::SegmentKind kind, const char* name, std::vector<uint8_t>* bytes);

 private:
  PlanFile file_;
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

#include "tools/jllm/session.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "executor/platform/sysfs.h"
#include "tools/jllm/arguments.h"

namespace jllm::tool {
namespace {

// A line "KEY   123 kB" of a file in /proc; 0 without one.
uint64_t proc_bytes(const char* path, const char* key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) == 0) {
      return std::strtoull(line.c_str() + std::strlen(key), nullptr, 10) * 1024;
    }
  }
  return 0;
}

}  // namespace

void add_plan(Arguments* arguments, PlanPaths* paths) {
  arguments->positional("PLAN.jllm", &paths->plan);
  arguments->text(
      "", "--weights", &paths->weights,
      "the weight file of a split plan (default: beside the plan, by the name it gives)");
  arguments->text("", "--trusted-key", &paths->trusted_key,
                  "file of public keys: refuse a plan that none of them has signed, or that was "
                  "altered since");
}

const text::Tokenizer& OpenPlan::tokenizer() {
  if (tokenizer_) return *tokenizer_;
  if (!read_segment(fb::SegmentKind::Tokenizer, "tokenizer", &tokenizer_segment_)) {
    throw Failure(kInvalidFile, path() + ": the plan has no tokenizer");
  }
  std::string reason;
  tokenizer_ = text::Tokenizer::open(tokenizer_segment_.data(), tokenizer_segment_.size(), &reason);
  if (!tokenizer_) throw Failure(kInvalidFile, path() + ": tokenizer: " + reason);
  return *tokenizer_;
}

const text::ChatFormat& OpenPlan::chat_format() {
  if (chat_format_) return *chat_format_;
  if (!read_segment(fb::SegmentKind::ChatFormat, "chat format", &chat_segment_)) {
    throw Failure(kUnsupported, path() +
                                    ": the plan has no chat format; compile it again with "
                                    "--chat-format NAME (jllmc compile --help)");
  }
  std::string reason;
  chat_format_ = text::ChatFormat::open(chat_segment_.data(), chat_segment_.size(), &reason);
  if (!chat_format_) throw Failure(kInvalidFile, path() + ": chat format: " + reason);
  return *chat_format_;
}

void OpenPlan::require_text() const {
  if (!makes_embeddings(view().plan())) return;
  throw Failure(kUnsupported, path() +
                                  ": the plan makes embeddings, no text: that is what jllm vector "
                                  "and jllm serve (/v1/embeddings) are for; for text, compile the "
                                  "model with --embedding none");
}

void OpenPlan::require_tools() {
  if (chat_format().notation() != text::ToolNotation::kNone) return;
  throw Failure(kUnsupported, path() + ": the plan's chat format covers no tools: " +
                                  chat_format().tools_refusal());
}

bool OpenPlan::read_segment(fb::SegmentKind kind, const char* name, std::vector<uint8_t>* bytes) {
  const fb::Segment* segment = view().find_segment(kind);
  if (segment == nullptr) return false;
  bytes->resize(segment->size());
  if (file_.source().read(segment->offset(), segment->size(), bytes->data()) != Error::kOk) {
    throw Failure(kFailed, path() + ": cannot read the " + name);
  }
  return true;
}

Session::Session(OpenPlan& plan, const ExecutorOptions& given) {
  ExecutorOptions options = given;
  options.weights = plan.file().weights();
  const double start = now_seconds();
  before_ = host_memory();
  const uint64_t size = (Executor::required_bytes(plan.view(), options) + 63) / 64 * 64;
  memory_ = std::aligned_alloc(64, size);
  if (memory_ == nullptr) throw Failure(kDoesNotFit, "no memory for the executor's tables");
  Message message;
  const Result<Executor*> executor =
      Executor::create(plan.view(), plan.file().source(), memory_, size, options, &message);
  if (!executor.ok()) {
    std::free(memory_);
    if (!plan.file().refusal().empty()) {
      throw Failure(kInvalidFile, plan.file().refusal());
    }
    throw Failure(exit_code_of(executor.error()), plan.path() + ": " + message.text);
  }
  executor_ = executor.value();
  load_seconds_ = now_seconds() - start;
  after_ = host_memory();
}

Session::~Session() {
  executor_->destroy();
  std::free(memory_);
}

void Session::check(Error error) const {
  if (error != Error::kOk) throw Failure(exit_code_of(error), executor_->last_error());
}

std::string read_text(const std::string& path) {
  if (path == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Failure(kFailed, path + ": " + std::strerror(errno));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

double now_seconds() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

HostMemory host_memory() {
  HostMemory memory;
  memory.available = platform::Sysfs().mem_available().value_or(0);
  memory.resident = proc_bytes("/proc/self/status", "VmRSS:");
  memory.libraries = proc_bytes("/proc/self/status", "RssFile:");
  return memory;
}

uint64_t peak_resident_bytes() { return proc_bytes("/proc/self/status", "VmHWM:"); }

}  // namespace jllm::tool

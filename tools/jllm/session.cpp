#include "tools/jllm/session.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "executor/platform/sysfs.h"

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

ExitCode exit_code_of(Error error) {
  switch (error) {
    case Error::kNotAPlan:
    case Error::kPlanVersion:
    case Error::kPlanTruncated:
    case Error::kPlanDamaged:
    case Error::kPlanInvalid:
      return kInvalidFile;
    case Error::kTargetMismatch:
    case Error::kUnknownKernel:
      return kUnsupported;
    case Error::kDeviceMemory:
    case Error::kPinnedMemory:
      return kDoesNotFit;
    case Error::kNoDriver:
    case Error::kNoDevice:
    case Error::kDriverTooOld:
    case Error::kDriverCall:
      return kDevice;
    default:
      return kFailed;
  }
}

OpenPlan::OpenPlan(const std::string& path) : path_(path) {
  Message message;
  if (source_.open(path.c_str(), &message) != Error::kOk) throw Failure(kFailed, message.text);
  const auto fail = [&](Error error) {
    throw Failure(exit_code_of(error), path + ": " + message.text);
  };
  const uint64_t first = std::min<uint64_t>(sizeof(PlanPrefix), source_.size());
  head_.resize(sizeof(PlanPrefix) / 8);
  if (source_.read(0, first, head_.data()) != Error::kOk)
    throw Failure(kFailed, path + ": cannot be read");
  const Result<uint64_t> size = PlanView::head_size(reinterpret_cast<const uint8_t*>(head_.data()),
                                                    first, source_.size(), &message);
  if (!size.ok()) fail(size.error());
  head_.resize((size.value() + 7) / 8);
  if (source_.read(0, size.value(), head_.data()) != Error::kOk) {
    throw Failure(kFailed, path + ": cannot be read");
  }
  const Result<PlanView> view = PlanView::open(reinterpret_cast<const uint8_t*>(head_.data()),
                                               size.value(), source_.size(), &message);
  if (!view.ok()) fail(view.error());
  view_ = view.value();
}

const text::Tokenizer& OpenPlan::tokenizer() {
  if (tokenizer_) return *tokenizer_;
  if (!read_segment(fb::SegmentKind::Tokenizer, "tokenizer", &tokenizer_segment_)) {
    throw Failure(kInvalidFile, path_ + ": the plan has no tokenizer");
  }
  std::string reason;
  tokenizer_ = text::Tokenizer::open(tokenizer_segment_.data(), tokenizer_segment_.size(), &reason);
  if (!tokenizer_) throw Failure(kInvalidFile, path_ + ": tokenizer: " + reason);
  return *tokenizer_;
}

const text::ChatFormat& OpenPlan::chat_format() {
  if (chat_format_) return *chat_format_;
  if (!read_segment(fb::SegmentKind::ChatFormat, "chat format", &chat_segment_)) {
    throw Failure(kUnsupported, path_ +
                                    ": the plan has no chat format; compile it again with "
                                    "--chat-format NAME (jllmc compile --help)");
  }
  std::string reason;
  chat_format_ = text::ChatFormat::open(chat_segment_.data(), chat_segment_.size(), &reason);
  if (!chat_format_) throw Failure(kInvalidFile, path_ + ": chat format: " + reason);
  return *chat_format_;
}

void OpenPlan::require_tools() {
  if (chat_format().notation() != text::ToolNotation::kNone) return;
  throw Failure(kUnsupported, path_ + ": the plan's chat format covers no tools: " +
                                  chat_format().tools_refusal());
}

bool OpenPlan::read_segment(fb::SegmentKind kind, const char* name, std::vector<uint8_t>* bytes) {
  const fb::Segment* segment = view_.find_segment(kind);
  if (segment == nullptr) return false;
  bytes->resize(segment->size());
  if (source_.read(segment->offset(), segment->size(), bytes->data()) != Error::kOk) {
    throw Failure(kFailed, path_ + ": cannot read the " + name);
  }
  return true;
}

Session::Session(OpenPlan& plan, const ExecutorOptions& options) {
  const double start = now_seconds();
  before_ = host_memory();
  const uint64_t size = (Executor::required_bytes(plan.view(), options) + 63) / 64 * 64;
  memory_ = std::aligned_alloc(64, size);
  if (memory_ == nullptr) throw Failure(kDoesNotFit, "no memory for the executor's tables");
  Message message;
  const Result<Executor*> executor =
      Executor::create(plan.view(), plan.source(), memory_, size, options, &message);
  if (!executor.ok()) {
    std::free(memory_);
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

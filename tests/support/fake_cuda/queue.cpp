#include "tests/support/fake_cuda/queue.h"

#include <sys/mman.h>
#include <time.h>

#include <chrono>
#include <cstring>
#include <string_view>

#include "tests/support/fake_cuda/report.h"

namespace jllm::fake {
namespace {

constexpr cuda::Status kLaunchFailed = 719;  // CUDA_ERROR_LAUNCH_FAILED

uint64_t now_ns() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

// Whether "sample_7", without its number, is a word of `names`.
bool is_listed(std::string_view name, std::string_view names) {
  const std::string_view word = name.substr(0, name.rfind('_'));
  for (size_t at = names.find(word); at != names.npos; at = names.find(word, at + 1)) {
    const bool begins = at == 0 || names[at - 1] == ' ';
    const size_t end = at + word.size();
    if (begins && (end == names.size() || names[end] == ' ')) return true;
  }
  return false;
}

}  // namespace

Queue& queue() {
  static Queue* const the_queue = new Queue;  // its thread lives as long as the process
  return *the_queue;
}

Queue::Queue() {
  ring_ = static_cast<Operation*>(mmap(nullptr, kRoom * sizeof(Operation), PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
  std::thread([this] { work(); }).detach();
}

uint64_t Queue::put(const Operation& operation) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (put_ - done_ == kRoom) {
    wanted_ = put_;
    changed_.notify_all();
    changed_.wait(lock);
  }
  ring_[put_ % kRoom] = operation;
  ++put_;
  last_put_ns_ = now_ns();
  changed_.notify_all();
  return put_;
}

void Queue::wait_for(uint64_t number) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (wanted_ < number) wanted_ = number;
  changed_.notify_all();
  while (done_ < number) changed_.wait(lock);
}

void Queue::wait_for_all() { wait_for(put_); }

bool Queue::is_idle() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return done_ == put_;
}

void Queue::work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    if (done_ == put_) {
      changed_.wait(lock);
      continue;
    }
    const uint64_t due = last_put_ns_ + uint64_t{delay_us} * 1000;
    if (wanted_ <= done_ && now_ns() < due) {
      changed_.wait_for(lock, std::chrono::microseconds(delay_us));
      continue;
    }
    const Operation& operation = ring_[done_ % kRoom];
    lock.unlock();
    execute(operation);
    lock.lock();
    ++done_;
    changed_.notify_all();
  }
}

void Queue::execute(const Operation& operation) {
  switch (operation.kind) {
    case Operation::Kind::kLaunch:
      launch(operation);
      break;
    case Operation::Kind::kCopy:
      std::memcpy(operation.to, operation.from, operation.bytes);
      break;
    case Operation::Kind::kSet:
      std::memset(operation.to, operation.value, operation.bytes);
      break;
    case Operation::Kind::kRecord:
      operation.event->time = static_cast<double>(now_ns()) * 1e-6;
      operation.event->was_recorded = true;
      break;
    case Operation::Kind::kGraph:
      for (const Operation& node : *operation.nodes) execute(node);
      break;
  }
}

void Queue::launch(const Operation& operation) {
  ++kernels_run;
  if (break_kernel > 0 && --break_kernel == 0) broken_ = kLaunchFailed;
  if (broken_ != cuda::kSuccess) return;
  const std::string& name = operation.kernel->name;
  if (const char* const names = only; names != nullptr && !is_listed(name, names)) return;
  void* arguments[kMaxArguments];
  for (uint32_t i = 0; i < operation.kernel->code.argument_count; ++i) {
    arguments[i] = const_cast<uint64_t*>(&operation.arguments[i]);
  }
  const Launch launch = {&operation.kernel->code, name.c_str(),           operation.grid,
                         operation.block,         operation.shared_bytes, arguments};
  const uint64_t before = violation_count();
  if (!run_launch(launch, seed != 0 ? seed + kernels_run : 0) || violation_count() != before) {
    broken_ = kLaunchFailed;
  }
}

}  // namespace jllm::fake

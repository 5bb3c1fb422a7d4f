// The device's work: operations of all streams in one order, done by one thread as late as the API
// allows, which is when somebody waits for them; or a while after the last call, because the
// executor reads tokens from memory without a call. Takes no memory once it is there.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/support/fake_cuda/books.h"

namespace jllm::fake {

constexpr uint32_t kMaxArguments = 48;

struct Operation {
  enum class Kind : uint8_t { kLaunch, kCopy, kSet, kRecord, kGraph } kind;
  unsigned char value;
  const Kernel* kernel;
  uint3 grid, block;
  uint32_t shared_bytes;
  uint64_t arguments[kMaxArguments];
  void* to;
  const void* from;
  uint64_t bytes;
  EventState* event;
  const std::vector<Operation>* nodes;
};

class Queue {
 public:
  Queue();
  // Returns the operation's number.
  uint64_t put(const Operation& operation);
  void wait_for(uint64_t number);
  void wait_for_all();
  bool is_idle();
  uint64_t last() const { return put_; }

  cuda::Status broken() const { return broken_; }
  void repair() { broken_ = cuda::kSuccess; }

  std::atomic<uint64_t> seed{0}, kernels_run{0}, break_kernel{0};
  std::atomic<uint32_t> delay_us{300};
  std::atomic<const char*> only{nullptr};

 private:
  void work();
  void execute(const Operation& operation);
  void launch(const Operation& operation);

  static constexpr uint64_t kRoom = 1 << 12;
  std::mutex mutex_;
  std::condition_variable changed_;
  Operation* ring_;
  uint64_t put_ = 0, done_ = 0, wanted_ = 0;
  uint64_t last_put_ns_ = 0;
  std::atomic<cuda::Status> broken_{cuda::kSuccess};
};
Queue& queue();

}  // namespace jllm::fake

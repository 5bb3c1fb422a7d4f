// A fixed set of threads that run one function at a time, together with the calling thread.
// The object is its own storage: no heap. Threads wait by spinning shortly and then sleeping on a
// futex, so that launches a few microseconds apart cost no system call and an idle pool costs no
// processor time. Whoever is free takes the next share, so that a launch does not wait for a thread
// that the system has put aside before it took one.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

#include "executor/src/host/worker.h"

namespace jllm::host {

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): the padding keeps cache lines apart.
class ThreadPool {
 public:
  using Function = void (*)(void* context, const Worker& worker);
  static constexpr unsigned kMaxWorkers = 64;

  ThreadPool() = default;
  ~ThreadPool() { stop(); }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Starts `workers` - 1 threads, 1 <= workers <= kMaxWorkers, on a stopped pool. On failure
  // nothing is left running and the result is the error number of pthread_create or EINVAL; 0 is
  // success.
  [[nodiscard]] int start(unsigned workers);

  // Ends the threads and waits for them. The pool may be started again.
  void stop();

  // Calls function(context, {i, shares}) for each i < shares, shares >= 1, on the caller and as
  // many threads as there are shares for, and returns when all calls have. One share wakes nobody.
  // One thread at a time may call this; a stopped pool has one worker, the caller.
  void run(unsigned shares, Function function, void* context);

  unsigned workers() const { return workers_; }

 private:
  static void* thread_main(void* pool);
  void serve();
  void take_shares();
  uint32_t wait_for_generation(uint32_t seen);
  void wait_until_done();

  unsigned workers_ = 1;
  unsigned spins_ = 0;  // turns of the busy wait before sleeping
  pthread_t threads_[kMaxWorkers - 1];
  // Of the current call; only who has taken a share of it may read them.
  Function function_ = nullptr;
  void* context_ = nullptr;
  std::atomic<bool> stopping_{false};
  // Each on a cache line of its own: workers poll the first while others write the next.
  alignas(64) std::atomic<uint32_t> generation_{0};  // calls that threads joined, plus that of stop
  std::atomic<uint32_t> sleepers_{0};                // threads asleep on generation_
  alignas(64) std::atomic<uint64_t> ticket_{0};      // shares << 32 | next share
  alignas(64) std::atomic<uint32_t> pending_{0};     // shares that are not done
  std::atomic<uint32_t> caller_sleeps_{0};           // the caller is asleep on pending_
};

}  // namespace jllm::host

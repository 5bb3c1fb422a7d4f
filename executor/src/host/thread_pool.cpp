// The pool's hand-over: `generation_` moves on to start a call, `ticket_` hands out its shares,
// `pending_` falls to zero to end it. The first and the last are futex words; the counters beside
// them spare the wake-up call while nobody sleeps.
#include "executor/src/host/thread_pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace jllm::host {
namespace {

// About 50 microseconds: longer than the gap between two launches and most waits for the slowest
// worker, far shorter than a time slice.
constexpr unsigned kSpins = 3000;
constexpr size_t kStackBytes = 512 << 10;

static_assert(sizeof(std::atomic<uint32_t>) == 4, "a futex word");

void futex_wait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void futex_wake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // `yield` is a no-op on most cores
#endif
}

unsigned available_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return static_cast<unsigned>(CPU_COUNT(&set));
}

}  // namespace

int ThreadPool::start(unsigned workers) {
  if (workers == 0 || workers > kMaxWorkers || workers_ != 1) return EINVAL;
  // With more threads than processors, a spinning thread holds up the one that it waits for.
  spins_ = workers <= available_processors() ? kSpins : 0;
  stopping_.store(false);
  generation_.store(0);
  ticket_.store(0);

  pthread_attr_t attributes;
  int error = pthread_attr_init(&attributes);
  if (error != 0) return error;
  error = pthread_attr_setstacksize(&attributes, kStackBytes);
  // Signals are the application's: its handlers must not run on our threads.
  sigset_t all, previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  unsigned started = 1;
  for (; error == 0 && started < workers; ++started) {
    error = pthread_create(&threads_[started - 1], &attributes, thread_main, this);
    if (error != 0) break;
  }
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  pthread_attr_destroy(&attributes);
  workers_ = started;
  if (error != 0) stop();
  return error;
}

void ThreadPool::stop() {
  if (workers_ == 1) return;
  stopping_.store(true);
  generation_.fetch_add(1);
  futex_wake(generation_, INT_MAX);
  for (unsigned i = 0; i + 1 < workers_; ++i) pthread_join(threads_[i], nullptr);
  workers_ = 1;
}

void ThreadPool::run(unsigned shares, Function function, void* context) {
  if (workers_ == 1 || shares == 1) {
    for (unsigned i = 0; i < shares; ++i) function(context, Worker{i, shares});
    return;
  }
  function_ = function;
  context_ = context;
  pending_.store(shares, std::memory_order_relaxed);
  ticket_.store(uint64_t{shares} << 32);  // publishes the fields above
  generation_.fetch_add(1);
  if (sleepers_.load() != 0) futex_wake(generation_, static_cast<int>(shares - 1));
  take_shares();
  wait_until_done();
}

// A thread may come late, even into the next call: the ticket alone says whether there is a share.
// A share that was taken keeps the call, and with it the fields of the object, as they are.
void ThreadPool::take_shares() {
  uint32_t done = 0;
  for (;;) {
    const uint64_t ticket = ticket_.fetch_add(1);
    const auto shares = static_cast<uint32_t>(ticket >> 32), next = static_cast<uint32_t>(ticket);
    if (next >= shares) break;
    function_(context_, Worker{next, shares});
    ++done;
  }
  if (done == 0) return;
  if (pending_.fetch_sub(done) == done && caller_sleeps_.load() != 0) futex_wake(pending_, 1);
}

void* ThreadPool::thread_main(void* pool) {
  static_cast<ThreadPool*>(pool)->serve();
  return nullptr;
}

void ThreadPool::serve() {
  for (uint32_t seen = 0;;) {
    seen = wait_for_generation(seen);
    if (stopping_.load()) return;
    take_shares();
  }
}

// Waits for another generation than the one seen, and returns it.
uint32_t ThreadPool::wait_for_generation(uint32_t seen) {
  for (unsigned i = 0; i < spins_; ++i) {
    const uint32_t now = generation_.load(std::memory_order_acquire);
    if (now != seen) return now;
    pause_briefly();
  }
  sleepers_.fetch_add(1);
  uint32_t now = generation_.load();
  for (; now == seen; now = generation_.load()) futex_wait(generation_, seen);
  sleepers_.fetch_sub(1);
  return now;
}

void ThreadPool::wait_until_done() {
  for (unsigned i = 0; i < spins_; ++i) {
    if (pending_.load(std::memory_order_acquire) == 0) return;
    pause_briefly();
  }
  caller_sleeps_.store(1);
  for (uint32_t left = pending_.load(); left != 0; left = pending_.load()) {
    futex_wait(pending_, left);
  }
  caller_sleeps_.store(0);
}

}  // namespace jllm::host

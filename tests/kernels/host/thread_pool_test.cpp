// The thread pool: every share runs once per call, calls do not overlap, one share stays with the
// caller, and start and stop repeat.
#include "executor/src/host/thread_pool.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace jllm::host {
namespace {

constexpr unsigned kMostShares = 2 * ThreadPool::kMaxWorkers;

struct Counts {
  std::atomic<unsigned> calls[kMostShares] = {};
  std::atomic<unsigned> active{0};
  unsigned expected_shares = 0;
  std::atomic<bool> wrong{false};
};

void count(void* context, const Worker& worker) {
  auto* counts = static_cast<Counts*>(context);
  counts->active.fetch_add(1);
  if (worker.count != counts->expected_shares || worker.index >= worker.count) counts->wrong = true;
  counts->calls[worker.index].fetch_add(1);
  counts->active.fetch_sub(1);
}

void run_many(ThreadPool& pool, unsigned shares, unsigned runs) {
  Counts counts;
  counts.expected_shares = shares;
  for (unsigned i = 1; i <= runs; ++i) {
    pool.run(shares, count, &counts);
    ASSERT_EQ(counts.active.load(), 0u);
    for (unsigned share = 0; share < shares; ++share) ASSERT_EQ(counts.calls[share].load(), i);
  }
  EXPECT_FALSE(counts.wrong);
}

TEST(ThreadPool, TenThousandRuns) {
  for (unsigned workers : {1u, 2u, 3u, 8u}) {
    ThreadPool pool;
    ASSERT_EQ(pool.start(workers), 0);
    EXPECT_EQ(pool.workers(), workers);
    for (unsigned shares : {1u, 2u, 3u, 17u}) run_many(pool, shares, 2500);
  }
}

// What a call leaves behind for a thread that comes late must not reach into the next, whose
// shares and function are others.
TEST(ThreadPool, CallsOfManySizesFollowOneAnother) {
  ThreadPool pool;
  ASSERT_EQ(pool.start(4), 0);
  for (unsigned i = 0; i < 5000; ++i) run_many(pool, 1 + i * 7 % kMostShares, 1);
}

TEST(ThreadPool, OneShareStaysWithTheCaller) {
  ThreadPool pool;
  ASSERT_EQ(pool.start(4), 0);
  for (int i = 0; i < 1000; ++i) {
    std::thread::id runner;
    pool.run(
        1,
        [](void* context, const Worker&) {
          *static_cast<std::thread::id*>(context) = std::this_thread::get_id();
        },
        &runner);
    ASSERT_EQ(runner, std::this_thread::get_id());
  }
}

// A share that waits for another can end only when a second thread takes that one.
TEST(ThreadPool, SharesRunAtTheSameTime) {
  ThreadPool pool;
  ASSERT_EQ(pool.start(3), 0);
  for (int i = 0; i < 100; ++i) {
    std::atomic<unsigned> arrived{0};
    pool.run(
        3,
        [](void* context, const Worker&) {
          auto& here = *static_cast<std::atomic<unsigned>*>(context);
          here.fetch_add(1);
          while (here.load() < 3) std::this_thread::yield();
        },
        &arrived);
    ASSERT_EQ(arrived.load(), 3u);
  }
}

TEST(ThreadPool, MostWorkers) {
  ThreadPool pool;
  ASSERT_EQ(pool.start(ThreadPool::kMaxWorkers), 0);
  run_many(pool, ThreadPool::kMaxWorkers, 200);
}

TEST(ThreadPool, WakesAfterSleeping) {
  ThreadPool pool;
  ASSERT_EQ(pool.start(3), 0);
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // far longer than the busy wait
    run_many(pool, 3, 3);
  }
}

TEST(ThreadPool, StartsAndStopsRepeatedly) {
  ThreadPool pool;
  for (unsigned i = 0; i < 100; ++i) {
    const unsigned workers = 1 + i % 4;
    ASSERT_EQ(pool.start(workers), 0);
    run_many(pool, workers, i % 3);
    pool.stop();
    run_many(pool, 1, 1);  // a stopped pool is the caller alone
  }
}

TEST(ThreadPool, RefusesImpossibleCounts) {
  ThreadPool pool;
  EXPECT_EQ(pool.start(0), EINVAL);
  EXPECT_EQ(pool.start(ThreadPool::kMaxWorkers + 1), EINVAL);
  ASSERT_EQ(pool.start(2), 0);
  EXPECT_EQ(pool.start(2), EINVAL);  // runs already
}

TEST(ThreadPool, WorkersSeeWhatTheCallerWrote) {
  ThreadPool pool;
  ASSERT_EQ(pool.start(4), 0);
  struct Data {
    unsigned input = 0;
    unsigned outputs[4] = {};
  } data;
  for (unsigned i = 0; i < 2000; ++i) {
    data.input = i;  // plain memory: the pool orders it
    pool.run(
        4,
        [](void* context, const Worker& worker) {
          auto* d = static_cast<Data*>(context);
          d->outputs[worker.index] = d->input + worker.index;
        },
        &data);
    for (unsigned w = 0; w < 4; ++w) ASSERT_EQ(data.outputs[w], i + w);
  }
}

TEST(WorkerShare, CoversEachItemOnce) {
  for (uint64_t total : {0u, 1u, 5u, 64u, 1001u}) {
    for (unsigned workers = 1; workers <= 9; ++workers) {
      uint64_t next = 0;
      for (unsigned index = 0; index < workers; ++index) {
        const Range share = share_of(total, Worker{index, workers});
        EXPECT_EQ(share.begin, next);
        EXPECT_LE(share.end - share.begin, total / workers + 1);
        next = share.end;
      }
      EXPECT_EQ(next, total);
    }
  }
}

}  // namespace
}  // namespace jllm::host

// The thread pool: every worker runs once per call, calls do not overlap, and start and stop
// repeat.
#include "executor/src/host/thread_pool.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace jllm::host {
namespace {

struct Counts {
  std::atomic<unsigned> calls[ThreadPool::kMaxWorkers] = {};
  std::atomic<unsigned> active{0};
  unsigned expected_workers = 0;
  std::atomic<bool> wrong{false};
};

void count(void* context, const Worker& worker) {
  auto* counts = static_cast<Counts*>(context);
  counts->active.fetch_add(1);
  if (worker.count != counts->expected_workers || worker.index >= worker.count)
    counts->wrong = true;
  counts->calls[worker.index].fetch_add(1);
  counts->active.fetch_sub(1);
}

void run_many(ThreadPool& pool, unsigned workers, unsigned runs) {
  Counts counts;
  counts.expected_workers = workers;
  for (unsigned i = 1; i <= runs; ++i) {
    pool.run(count, &counts);
    ASSERT_EQ(counts.active.load(), 0u);
    for (unsigned w = 0; w < workers; ++w) ASSERT_EQ(counts.calls[w].load(), i);
  }
  EXPECT_FALSE(counts.wrong);
}

TEST(ThreadPool, TenThousandRuns) {
  for (unsigned workers : {1u, 2u, 3u, 8u}) {
    ThreadPool pool;
    ASSERT_EQ(pool.start(workers), 0);
    EXPECT_EQ(pool.workers(), workers);
    run_many(pool, workers, 10000);
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

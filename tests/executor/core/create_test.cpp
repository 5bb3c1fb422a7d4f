// Creating an executor: the block of memory that it needs, to the byte, and the plans that it
// refuses.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/executor/core/plans.h"
#include "tests/support/edited_plan.h"
#include "tests/support/gpu.h"

namespace jllm {
namespace {

using test::host_plan;
using test::RunningPlan;

struct Created {
  Error error = Error::kOk;
  std::string message;
};

Created create_in(const test::PlanInMemory& plan, void* memory, uint64_t size) {
  MemorySource source = plan.source();
  Message message;
  const Result<Executor*> executor =
      Executor::create(plan.view(), source, memory, size, RunningPlan::one_thread(), &message);
  Executor* created = executor.value();
  if (executor.ok()) created->destroy();
  return {executor.error(), message.text};
}

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using Block = std::unique_ptr<uint8_t, Free>;

Block aligned_block(uint64_t size) {
  return Block(static_cast<uint8_t*>(std::aligned_alloc(64, (size + 63) / 64 * 64)));
}

TEST(Create, NeedsExactlyTheBytesThatItRequires) {
  const uint64_t required = Executor::required_bytes(host_plan().view());
  const Block block = aligned_block(required);
  EXPECT_EQ(create_in(host_plan(), block.get(), required).error, Error::kOk);
  // Every smaller block, at its end first: there a part that was not counted would stand.
  std::memset(block.get(), 0xa5, required);
  for (uint64_t size = required; size-- > 0;) {
    const Created small = create_in(host_plan(), block.get(), size);
    ASSERT_EQ(small.error, Error::kHostMemoryTooSmall) << size;
    ASSERT_EQ(small.message, "the executor needs a 64-byte aligned block of " +
                                 std::to_string(required) + " bytes, got " + std::to_string(size));
  }
  for (uint64_t i = 0; i < required; ++i) {
    ASSERT_EQ(block.get()[i], 0xa5) << "a refusal wrote byte " << i;
  }
}

// As above, of the block for the arenas.
TEST(Create, NeedsExactlyTheArenaBytesThatItRequires) {
  const uint64_t required = Executor::arena_bytes(host_plan().view());
  ASSERT_GT(required, 0u);
  constexpr uint64_t kGuard = 4096;
  const Block block = aligned_block(required + kGuard);
  std::memset(block.get(), 0xa5, required + kGuard);  // stale bytes, where mapped memory has zeros
  ExecutorOptions options = RunningPlan::one_thread();
  options.arena_memory = block.get();
  const auto error_at = [&](void* memory, uint64_t size) {
    options.arena_memory = memory;
    options.arena_memory_size = size;
    RunningPlan run(host_plan(), options);
    if (!run.ok()) {
      EXPECT_EQ(run.create_message, "the arenas need a 64-byte aligned block of " +
                                        std::to_string(required) + " bytes, got " +
                                        std::to_string(size));
    }
    return run.create_error;
  };
  // Every size within a page of the end, and a few hundred others.
  for (uint64_t size = 0; size < required; size += size < required - 4096 ? 977 : 1) {
    ASSERT_EQ(error_at(block.get(), size), Error::kHostMemoryTooSmall) << size;
  }
  EXPECT_EQ(error_at(block.get() + 8, required), Error::kHostMemoryTooSmall);
  ASSERT_EQ(block.get()[0], 0xa5) << "a refusal wrote";

  options.arena_memory = block.get();
  options.arena_memory_size = required;
  RunningPlan inside(host_plan(), options);
  ASSERT_TRUE(inside.ok()) << inside.create_message;
  RunningPlan mapped(host_plan());
  const test::Tokens prompt = test::random_tokens(40, test::kVocab, 3);
  inside.prefill(prompt);
  mapped.prefill(prompt);
  EXPECT_EQ(inside.generate(8), mapped.generate(8));
  EXPECT_EQ(inside.logits(), mapped.logits());
  for (uint64_t i = 0; i < kGuard; ++i) ASSERT_EQ(block.get()[required + i], 0xa5) << i;
}

TEST(Create, RefusesNoMemoryAtAll) {
  const uint64_t required = Executor::required_bytes(host_plan().view());
  EXPECT_EQ(create_in(host_plan(), nullptr, required).error, Error::kHostMemoryTooSmall);
}

TEST(Create, RefusesAMisalignedBlock) {
  const uint64_t required = Executor::required_bytes(host_plan().view());
  const Block block = aligned_block(required + 64);
  for (const uint64_t shift : {1, 8, 16, 32}) {
    const Created created = create_in(host_plan(), block.get() + shift, required);
    EXPECT_EQ(created.error, Error::kHostMemoryTooSmall) << shift;
    EXPECT_NE(created.message.find("64-byte aligned"), std::string::npos) << created.message;
  }
}

TEST(Create, WritesNothingBehindItsBlock) {
  constexpr uint64_t kGuard = 4096;
  const uint64_t required = Executor::required_bytes(host_plan().view());
  const Block block = aligned_block(required + kGuard);
  std::memset(block.get() + required, 0xa5, kGuard);
  MemorySource source = host_plan().source();
  Message message;
  Result<Executor*> created = Executor::create(host_plan().view(), source, block.get(), required,
                                               RunningPlan::one_thread(), &message);
  ASSERT_TRUE(created.ok()) << message.text;
  Executor& executor = *created.value();
  const test::Tokens prompt = test::random_tokens(20, test::kVocab, 1);
  EXPECT_EQ(executor.prefill(prompt.data(), 20), Error::kOk);
  EXPECT_EQ(executor.enqueue(), Error::kOk);
  EXPECT_TRUE(executor.next().ok());
  executor.destroy();
  for (uint64_t i = 0; i < kGuard; ++i) ASSERT_EQ(block.get()[required + i], 0xa5) << i;
}

TEST(Create, TellsWhatItTook) {
  RunningPlan run(host_plan());
  ASSERT_TRUE(run.ok()) << run.create_message;
  const PlanView& view = host_plan().view();
  const MemoryUse& use = run->memory_use();
  EXPECT_EQ(use.weights, view.arena_bytes(fb::ArenaKind::Weights));
  EXPECT_EQ(use.kv, view.arena_bytes(fb::ArenaKind::Kv));
  EXPECT_EQ(use.scratch, view.arena_bytes(fb::ArenaKind::Scratch));
  EXPECT_EQ(use.state, view.arena_bytes(fb::ArenaKind::State));
  EXPECT_EQ(use.pinned, view.arena_bytes(fb::ArenaKind::HostPinned));
  // Two layers of K and V, two heads of 16, f32.
  EXPECT_EQ(use.kv, uint64_t{2} * 2 * 2 * 16 * test::kContext * 4);
  EXPECT_EQ(run->device_memory().total, 0u) << "the host keeps no books of device memory";
  EXPECT_EQ(run->context(), test::kContext);
  EXPECT_EQ(run->vocab_size(), test::kVocab);
  EXPECT_EQ(run->count(), 0u);
  EXPECT_NE(std::string(run->device_name()).find("CPU"), std::string::npos);
}

TEST(Create, SeveralExecutorsShareOneView) {
  RunningPlan a(host_plan());
  RunningPlan b(host_plan());
  ASSERT_TRUE(a.ok() && b.ok());
  const test::Tokens one = test::random_tokens(10, test::kVocab, 1);
  const test::Tokens two = test::random_tokens(12, test::kVocab, 2);
  // Interleaved, each must see its own sequence only.
  a.prefill(one);
  b.prefill(two);
  const uint32_t from_a = a.step().id;
  const uint32_t from_b = b.step().id;
  RunningPlan alone(host_plan());
  alone.prefill(one);
  EXPECT_EQ(alone.step().id, from_a);
  alone.rewind(0);
  alone.prefill(two);
  EXPECT_EQ(alone.step().id, from_b);
}

// What create() says to an edited plan that passes validation.
Created create_edited(const test::EditedPlan& edited) {
  const test::PlanInMemory plan(edited.file());
  EXPECT_EQ(plan.error, Error::kOk) << plan.message;
  RunningPlan run(plan);
  EXPECT_FALSE(run.ok());
  return {run.create_error, run.create_message};
}

TEST(Create, NamesAnUnknownOperation) {
  test::EditedPlan plan;
  plan.tables.kernels[0]->name = "frobnicate";
  const Created created = create_edited(plan);
  EXPECT_EQ(created.error, Error::kUnknownKernel);
  EXPECT_NE(created.message.find("'frobnicate'"), std::string::npos) << created.message;
  EXPECT_NE(created.message.find("newer jllmc"), std::string::npos) << created.message;
}

TEST(Create, RefusesAKnownOperationWithMoreArguments) {
  test::EditedPlan plan;
  plan.tables.kernels[0]->arg_count += 1;
  for (auto& graph : plan.tables.graphs) {
    for (auto& launch : graph->launches) {
      if (launch->kernel == 0) launch->args.push_back(launch->args.back());
    }
  }
  const Created created = create_edited(plan);
  EXPECT_EQ(created.error, Error::kUnknownKernel);
  const std::string count = std::to_string(plan.tables.kernels[0]->arg_count) + " arguments";
  EXPECT_NE(created.message.find(count), std::string::npos) << created.message;
}

TEST(Create, ACudaPlanWithoutADriverIsRefusedAndNeverRunsOnTheCpu) {
  if (test::no_gpu_reason().empty()) GTEST_SKIP() << "this machine has a GPU";
  test::EditedPlan plan;
  plan.become_cuda();
  const Created created = create_edited(plan);
  if (test::no_gpu_reason().find("libcuda") == std::string::npos) {
    EXPECT_EQ(created.error, Error::kNoDevice);
    return;
  }
  EXPECT_EQ(created.error, Error::kNoDriver);
  EXPECT_NE(created.message.find("needs an NVIDIA GPU"), std::string::npos) << created.message;
  EXPECT_NE(created.message.find("libcuda.so.1"), std::string::npos) << created.message;
  EXPECT_NE(created.message.find("--target host"), std::string::npos) << created.message;
}

}  // namespace
}  // namespace jllm

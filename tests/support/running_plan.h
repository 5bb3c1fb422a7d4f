// A plan in memory and executors over it, with calls that fail the test instead of returning
// errors.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "jllm/executor.h"
#include "jllm/plan_source.h"
#include "schema/plan_view.h"

namespace jllm::test {

// Bytes of a plan file and the view of them. `error` and `message` say why there is no view.
class PlanInMemory {
 public:
  explicit PlanInMemory(const std::vector<uint8_t>& bytes);
  PlanInMemory(const PlanInMemory&) = delete;
  PlanInMemory& operator=(const PlanInMemory&) = delete;

  const PlanView& view() const { return view_; }
  MemorySource source() const { return {bytes_.get(), size_}; }
  uint32_t vocab() const { return view_.plan().model()->vocab_size(); }

  Error error = Error::kOk;
  std::string message;

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<uint8_t, Free> bytes_;  // page-aligned
  uint64_t size_;
  PlanView view_;
};

using Tokens = std::vector<uint32_t>;
using Logits = std::vector<float>;

class RunningPlan {
 public:
  explicit RunningPlan(const PlanInMemory& plan, const ExecutorOptions& options = one_thread());
  ~RunningPlan();
  RunningPlan(const RunningPlan&) = delete;
  RunningPlan& operator=(const RunningPlan&) = delete;

  // One worker: results do not depend on the number, and tests share the machine.
  static ExecutorOptions one_thread();

  bool ok() const { return executor_ != nullptr; }
  Executor* operator->() { return executor_; }

  void set_sampling(const Sampling& sampling);
  void prefill(const Tokens& tokens);
  void rewind(uint32_t count);
  SampledToken step();          // enqueue() and next()
  Tokens generate(uint32_t n);  // fewer when the sequence ends
  Logits logits();
  Logits embedding();  // of plans that make embeddings: behind what was put in
  // Logits behind every token of `tokens`, one force() each, from the start of the context.
  std::vector<Logits> force_all(const Tokens& tokens);

  Error create_error = Error::kOk;
  std::string create_message;

 private:
  uint32_t embedding_length_;
  void* memory_;
  Executor* executor_ = nullptr;
};

// Numbers that depend on `seed` alone, below `bound`.
Tokens random_tokens(uint32_t n, uint32_t bound, uint32_t seed);

double max_difference(const Logits& a, const Logits& b);
uint32_t argmax(const Logits& logits);

}  // namespace jllm::test

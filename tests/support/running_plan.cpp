#include "tests/support/running_plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

namespace jllm::test {

PlanInMemory::PlanInMemory(const std::vector<uint8_t>& bytes)
    : bytes_(static_cast<uint8_t*>(std::aligned_alloc(4096, (bytes.size() / 4096 + 1) * 4096))),
      size_(bytes.size()) {
  std::memcpy(bytes_.get(), bytes.data(), bytes.size());
  Message text;
  const Result<PlanView> view = PlanView::open(bytes_.get(), size_, size_, &text);
  error = view.error();
  message = text.text;
  if (view.ok()) view_ = view.value();
}

RunningPlan::RunningPlan(const PlanInMemory& plan, const ExecutorOptions& options)
    : embedding_length_(plan.view().plan().model()->embedding_length()) {
  const uint64_t size = Executor::required_bytes(plan.view(), options);
  memory_ = std::aligned_alloc(64, (size + 63) / 64 * 64);
  MemorySource source = plan.source();
  Message message;
  const Result<Executor*> executor =
      Executor::create(plan.view(), source, memory_, size, options, &message);
  create_error = executor.error();
  create_message = message.text;
  if (executor.ok()) executor_ = executor.value();
}

RunningPlan::~RunningPlan() {
  if (executor_ != nullptr) executor_->destroy();
  std::free(memory_);
}

ExecutorOptions RunningPlan::one_thread() {
  ExecutorOptions options;
  options.threads = 1;
  return options;
}

void RunningPlan::set_sampling(const Sampling& sampling) {
  EXPECT_EQ(executor_->set_sampling(sampling), Error::kOk) << executor_->last_error();
}

void RunningPlan::prefill(const Tokens& tokens) {
  EXPECT_EQ(executor_->prefill(tokens.data(), static_cast<uint32_t>(tokens.size())), Error::kOk)
      << executor_->last_error();
}

void RunningPlan::rewind(uint32_t count) {
  EXPECT_EQ(executor_->rewind(count), Error::kOk) << executor_->last_error();
}

SampledToken RunningPlan::step() {
  const Error error = executor_->enqueue();
  EXPECT_EQ(error, Error::kOk) << executor_->last_error();
  if (error != Error::kOk) return {0, kBadLogits};
  const Result<SampledToken> token = executor_->next();
  EXPECT_EQ(token.error(), Error::kOk) << executor_->last_error();
  return token.value();
}

Tokens RunningPlan::generate(uint32_t n) {
  Tokens tokens;
  for (SampledToken token; tokens.size() < n && token.done == kRunning;) {
    token = step();
    tokens.push_back(token.id);
  }
  return tokens;
}

Logits RunningPlan::logits() {
  Logits values(executor_->vocab_size());
  EXPECT_EQ(executor_->read_logits(values.data()), Error::kOk) << executor_->last_error();
  return values;
}

Logits RunningPlan::embedding() {
  Logits values(embedding_length_);
  EXPECT_EQ(executor_->embedding(values.data(), embedding_length_), Error::kOk)
      << executor_->last_error();
  return values;
}

std::vector<Logits> RunningPlan::force_all(const Tokens& tokens) {
  std::vector<Logits> rows;
  rewind(0);
  for (const uint32_t token : tokens) {
    EXPECT_EQ(executor_->force(token), Error::kOk) << executor_->last_error();
    rows.push_back(logits());
  }
  return rows;
}

Tokens random_tokens(uint32_t n, uint32_t bound, uint32_t seed) {
  std::mt19937 random(seed);
  Tokens tokens(n);
  for (uint32_t& token : tokens) token = static_cast<uint32_t>(random() % bound);
  return tokens;
}

double max_difference(const Logits& a, const Logits& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = std::fabs(double{a[i]} - double{b[i]});
    // Not std::max, which would drop a NaN.
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

uint32_t argmax(const Logits& logits) {
  return static_cast<uint32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace jllm::test

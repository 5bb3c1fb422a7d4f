#include "tools/jllm/serve/executor_engine.h"

namespace jllm::serve {

ExecutorEngine::ExecutorEngine(tool::Session& session, const PlanView& plan, uint32_t most_drafted)
    : session_(session),
      executor_(session.executor()),
      most_drafted_(most_drafted),
      copies_prefixes_(executor_.slots() > 1 && plan.plan().caches() != nullptr),
      runs_ahead_(!plan.is_host()),
      embedding_length_(plan.plan().bindings()->embedding()) {}

Executor& ExecutorEngine::selected(uint32_t slot) {
  session_.check(executor_.select(slot));
  return executor_;
}

void ExecutorEngine::rewind(uint32_t slot, uint32_t count) {
  session_.check(selected(slot).rewind(count));
}

void ExecutorEngine::copy_prefix(uint32_t slot, uint32_t from, uint32_t count) {
  session_.check(selected(slot).copy_prefix(from, count));
}

void ExecutorEngine::begin(uint32_t slot, const Sampling& sampling, const uint32_t* tokens,
                           uint32_t n) {
  session_.check(selected(slot).set_sampling(sampling));
  session_.check(executor_.begin(tokens, n));
}

uint32_t ExecutorEngine::consume(uint32_t slot) {
  // A prompt of one token is left to the step behind it.
  if (selected(slot).count() == 1) return 0;
  const Result<Progress> progress = executor_.step();
  session_.check(progress.error());
  return progress.value().total - progress.value().consumed;
}

SampledToken ExecutorEngine::generate(uint32_t slot, bool speculates, uint32_t wanted) {
  executor_.set_speculation(speculates ? most_drafted_ : 0);
  const Result<SampledToken> token = selected(slot).generate(wanted);
  session_.check(token.error());
  return token.value();
}

bool ExecutorEngine::has_tokens(uint32_t slot) { return selected(slot).in_flight() > 0; }

void ExecutorEngine::ask(const uint32_t* slots, uint32_t n) {
  session_.check(executor_.enqueue_batch(slots, n));
}

SampledToken ExecutorEngine::take(uint32_t slot) {
  const Result<SampledToken> token = selected(slot).next();
  session_.check(token.error());
  return token.value();
}

void ExecutorEngine::embed(uint32_t slot, float* vector) {
  session_.check(selected(slot).embedding(vector, embedding_length_));
}

void ExecutorEngine::set_mask(uint32_t slot, const uint32_t* words) {
  session_.check(selected(slot).set_mask(words));
}

void ExecutorEngine::read_logits(uint32_t slot, float* logits) {
  session_.check(selected(slot).read_logits(logits));
}

}  // namespace jllm::serve

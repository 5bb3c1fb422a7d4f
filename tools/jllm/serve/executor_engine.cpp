#include "tools/jllm/serve/executor_engine.h"

namespace jllm::serve {

void ExecutorEngine::rewind(uint32_t, uint32_t count) { session_.check(executor_.rewind(count)); }

void ExecutorEngine::copy_prefix(uint32_t, uint32_t, uint32_t) {}

void ExecutorEngine::begin(uint32_t, const Sampling& sampling, const uint32_t* tokens, uint32_t n) {
  session_.check(executor_.set_sampling(sampling));
  session_.check(executor_.begin(tokens, n));
}

uint32_t ExecutorEngine::consume(uint32_t) {
  const Result<Progress> progress = executor_.step();
  session_.check(progress.error());
  return progress.value().total - progress.value().consumed;
}

SampledToken ExecutorEngine::generate(uint32_t, bool speculates, uint32_t wanted) {
  executor_.set_speculation(speculates ? most_drafted_ : 0);
  const Result<SampledToken> token = executor_.generate(wanted);
  session_.check(token.error());
  return token.value();
}

bool ExecutorEngine::has_tokens(uint32_t) { return executor_.in_flight() > 0; }

void ExecutorEngine::decode(const uint32_t* slots, uint32_t n, SampledToken* tokens) {
  for (uint32_t i = 0; i < n; ++i) tokens[i] = generate(slots[i], false, 1);
}

void ExecutorEngine::set_mask(uint32_t, const uint32_t*) {}

void ExecutorEngine::read_logits(uint32_t, float* logits) {
  session_.check(executor_.read_logits(logits));
}

}  // namespace jllm::serve

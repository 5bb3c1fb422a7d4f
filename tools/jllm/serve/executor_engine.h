// The Engine of a Session.
#pragma once

#include "tools/jllm/serve/engine.h"
#include "tools/jllm/session.h"

namespace jllm::serve {

class ExecutorEngine final : public Engine {
 public:
  // `most_drafted`: tokens that a step guesses at most, where one text runs alone; 0: none.
  ExecutorEngine(tool::Session& session, const PlanView& plan, uint32_t most_drafted);

  uint32_t slots() const override { return executor_.slots(); }
  uint32_t context() const override { return executor_.context(); }
  uint32_t vocab_size() const override { return executor_.vocab_size(); }
  uint32_t most_batched() const override { return executor_.slots(); }
  bool copies_prefixes() const override { return copies_prefixes_; }
  bool speculates() const override { return most_drafted_ > 0 && executor_.most_drafted() > 0; }
  bool runs_ahead() const override { return runs_ahead_; }

  void rewind(uint32_t slot, uint32_t count) override;
  void copy_prefix(uint32_t slot, uint32_t from, uint32_t count) override;
  void begin(uint32_t slot, const Sampling& sampling, const uint32_t* tokens, uint32_t n) override;
  uint32_t consume(uint32_t slot) override;
  SampledToken generate(uint32_t slot, bool speculates, uint32_t wanted) override;
  bool has_tokens(uint32_t slot) override;
  void ask(const uint32_t* slots, uint32_t n) override;
  SampledToken take(uint32_t slot) override;
  uint32_t embedding_length() const override { return embedding_length_; }
  void embed(uint32_t slot, float* vector) override;
  void set_mask(uint32_t slot, const uint32_t* words) override;
  void read_logits(uint32_t slot, float* logits) override;

 private:
  Executor& selected(uint32_t slot);

  tool::Session& session_;
  Executor& executor_;
  const uint32_t most_drafted_;
  const bool copies_prefixes_, runs_ahead_;
  const uint32_t embedding_length_;
};

}  // namespace jllm::serve

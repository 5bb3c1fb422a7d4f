// What the scheduler needs of an Executor: several sequences ("slots") in one model. The
// scheduler's thread is the only one that calls it. Calls that fail throw Failure.
#pragma once

#include <cstdint>

#include "jllm/executor.h"

namespace jllm::serve {

class Engine {
 public:
  virtual ~Engine() = default;
  virtual uint32_t slots() const = 0;
  virtual uint32_t context() const = 0;
  virtual uint32_t vocab_size() const = 0;
  virtual uint32_t most_batched() const = 0;  // slots that decode() takes at once; 1: none
  virtual bool copies_prefixes() const = 0;
  virtual bool speculates() const = 0;  // generate() may
  // ask() comes back at once, and the step is computed meanwhile; else it takes the step's time.
  virtual bool runs_ahead() const = 0;

  // The slot keeps the first `count` of its tokens; those on their way are dropped.
  virtual void rewind(uint32_t slot, uint32_t count) = 0;
  // The slot gets the first `count` tokens of another, which must have consumed its prompt, in
  // place of its own.
  virtual void copy_prefix(uint32_t slot, uint32_t from, uint32_t count) = 0;
  // Puts tokens behind the slot's sequence, for consume() to work through.
  virtual void begin(uint32_t slot, const Sampling& sampling, const uint32_t* tokens,
                     uint32_t n) = 0;
  // One replay; how many of the tokens are left.
  virtual uint32_t consume(uint32_t slot) = 0;

  // The next token of one slot. With `speculates` at most `wanted` tokens are computed, and those
  // that are left over come without waiting: has_tokens().
  virtual SampledToken generate(uint32_t slot, bool speculates, uint32_t wanted) = 0;
  virtual bool has_tokens(uint32_t slot) = 0;
  // Asks for one token more for each of `n` slots, in one step.
  virtual void ask(const uint32_t* slots, uint32_t n) = 0;
  // Waits for the oldest token that the slot was asked for.
  virtual SampledToken take(uint32_t slot) = 0;

  // Of plans that make embeddings: the vector of what the slot has consumed, embedding_length()
  // floats; 0: the plan makes text.
  virtual uint32_t embedding_length() const = 0;
  virtual void embed(uint32_t slot, float* vector) = 0;

  // Which tokens may come next in the slot, a bit each; null: all.
  virtual void set_mask(uint32_t slot, const uint32_t* words) = 0;
  // Behind the last token of generate() without speculation, or of take() where nothing was asked
  // for since: vocab_size() floats.
  virtual void read_logits(uint32_t slot, float* logits) = 0;
};

}  // namespace jllm::serve

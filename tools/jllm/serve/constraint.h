// What a text must be beyond likely: asked before each token which tokens may come, and told which
// came. Used by the scheduler's thread only.
#pragma once

#include <cstdint>

namespace jllm::serve {

class Constraint {
 public:
  virtual ~Constraint() = default;
  // Sets bit i % 32 of word i / 32 for each token i that may come next, and clears the others.
  virtual void fill(uint32_t* words, uint32_t count) = 0;
  // False where `token` may not stand here.
  virtual bool accept(uint32_t token) = 0;
  // The text may end here, and no more can come.
  virtual bool done() const = 0;
};

}  // namespace jllm::serve

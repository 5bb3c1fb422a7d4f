// What would make a model fit a device that is too small for it as asked: computed by planning each
// way out, the least harmful first.
#pragma once

#include <llvm/Support/Error.h>

#include <memory>
#include <string>
#include <vector>

#include "compiler/fit/verdict.h"

namespace jllm::fit {

struct Advice {
  enum class Kind {
    kHeadless,      // no desktop
    kSpeculation,   // none
    kKvType,        // a smaller KV cache type
    kContext,       // a shorter context
    kQuantisation,  // the same model in a smaller quantisation
    kCombination,   // a smaller KV cache type and a shorter context or a smaller quantisation
    kTarget,        // a larger device
  };
  Kind kind;
  std::string option;  // for the command line: "--kv q8_0"; empty: there is none
  std::string text;    // "a KV cache in q8_0"
  uint64_t free = 0;   // bytes of the budget that stay free then
};
const char* kind_name(Advice::Kind kind);  // "headless", "kv_type", ...

// Remembers plans of other quantisations, so that asking for many devices stays quick.
class Adviser {
 public:
  explicit Adviser(Planner& planner) : planner_(planner) {}

  // The ways out in the order in which to try them; each was planned and fits. Empty when there is
  // none.
  llvm::Expected<std::vector<Advice>> advise(const target::Target& target,
                                             const Question& question);

 private:
  struct Quantised {
    std::string name;
    gguf::File file;
    Planner planner;
    Quantised(std::string mix, gguf::File header)
        : name(std::move(mix)), file(std::move(header)), planner(file) {}
  };
  // From the best to the smallest; made on first use.
  const std::vector<std::unique_ptr<Quantised>>& quantised(uint32_t block_count);

  Planner& planner_;
  std::vector<std::unique_ptr<Quantised>> quantised_;

  friend class Inquiry;
};

// Says that the model does not fit, by how much, and what would make it fit (kDoesNotFit).
llvm::Error does_not_fit(Planner& planner, const Verdict& verdict, const Question& question);

}  // namespace jllm::fit

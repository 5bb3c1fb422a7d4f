// Texts that are JSON, of any form or of a schema's: which tokens may come next, by a grammar of
// bytes (json_grammar.h) and the tokens' own.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "executor/text/grammar.h"
#include "executor/text/tokenizer.h"
#include "tools/jllm/serve/constraint.h"

namespace jllm::serve {

// Of one vocabulary. Any number of threads may ask for constraints; it must outlive them.
class JsonConstraints {
 public:
  explicit JsonConstraints(const text::Tokenizer& tokenizer);

  std::unique_ptr<Constraint> object() const;  // any JSON object
  // Throws SchemaError.
  std::unique_ptr<Constraint> schema(std::string_view schema) const;

 private:
  const text::Tokenizer& tokenizer_;
  std::vector<std::string> pieces_;
  text::TokenIndex index_;
};

}  // namespace jllm::serve

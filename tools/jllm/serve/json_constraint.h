// Texts that are JSON, of any form or of a schema's, or a call of a tool: which tokens may come
// next, by a grammar of bytes (json_grammar.h, tool_grammar.h) and the tokens' own.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "executor/text/grammar.h"
#include "executor/text/tokenizer.h"
#include "executor/text/tool_calls.h"
#include "tools/jllm/serve/constraint.h"

namespace jllm::serve {

// Of one vocabulary. Any number of threads may ask for constraints; it must outlive them.
class JsonConstraints {
 public:
  explicit JsonConstraints(const text::Tokenizer& tokenizer);

  std::unique_ptr<Constraint> object() const;  // any JSON object
  // Throws SchemaError.
  std::unique_ptr<Constraint> schema(std::string_view schema) const;
  // One call of one of these functions, as tool_call_grammar() takes them. Throws SchemaError.
  std::unique_ptr<Constraint> call(text::ToolNotation notation, std::string_view functions) const;

 private:
  // The one token that a mark is; -1: it is none, or empty.
  int64_t mark_token(std::string_view mark) const;

  const text::Tokenizer& tokenizer_;
  std::vector<std::string> pieces_;
  text::TokenIndex index_;
};

}  // namespace jllm::serve

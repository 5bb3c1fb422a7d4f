// A call of a tool as the one answer that may come: in the notation of the model's family, of one
// of the given functions, with arguments that fit its schema.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "executor/text/grammar.h"
#include "executor/text/tool_calls.h"

namespace jllm::serve {

// What stands around a call and is, in most vocabularies, a token of its own each.
struct CallMarks {
  std::string_view open, close;  // empty: nothing stands there
};
CallMarks call_marks(text::ToolNotation notation);

// What stands between the marks. `with_open`, `with_close`: the marks' bytes as well. `functions`:
// [{"name": ..., "parameters": SCHEMA}, ...], at least one. The notation is not kNone. Throws
// SchemaError, which names the function.
text::Grammar tool_call_grammar(text::ToolNotation notation,
                                const nlohmann::ordered_json& functions, bool with_open,
                                bool with_close);

}  // namespace jllm::serve

// JSON as chat templates write it, which is as Python's json.dumps(ensure_ascii=False) does, from
// JSON text in any writing. What is written is never the template's own text.
#pragma once

#include "schema/chat_sink.h"
#include "schema/json_reader.h"

namespace jllm {

struct JsonStyle {
  int indent = -1;       // spaces a level; -1: all on one line
  bool compact = false;  // no spaces behind commas and colons
};

// False where no value comes next, where a number is no number of Python's, and where there is no
// room. `level`: how deep the value stands.
bool print_json(JsonReader* in, const JsonStyle& style, ChatSink* out, int level = 0);

// A text with a JSON string's escapes, without the quotes.
bool print_escaped(std::string_view text, ChatSink* out);

}  // namespace jllm

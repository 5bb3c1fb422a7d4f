// JSON, and JSON that fits a schema, as grammars: every text of the language is valid JSON that the
// schema takes. Not every such text is in the language: properties come in the schema's order,
// objects with declared properties have no others, white space is one space, or a line break and
// at most 16 spaces.
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "executor/text/grammar.h"

namespace jllm::serve {

// A schema that is none, or that asks for what a grammar cannot promise; names the place.
struct SchemaError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

text::Grammar json_object_grammar();

// Keywords: type, properties, required, additionalProperties, items, prefixItems, minItems,
// maxItems, enum, const, anyOf, oneOf (as anyOf), allOf of one, $ref to places in the schema,
// minLength, maxLength, and annotations (title, description, default, examples, ...), which say
// nothing of the text. Throws SchemaError for others: no promise is made that is not kept.
text::Grammar json_schema_grammar(const nlohmann::ordered_json& schema);
// The same as a part of a grammar: such a text, then `next`.
text::Grammar::Node json_schema_node(const nlohmann::ordered_json& schema, text::Grammar* grammar,
                                     text::Grammar::Node next);

}  // namespace jllm::serve

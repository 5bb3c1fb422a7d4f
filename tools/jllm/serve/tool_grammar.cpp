// The notations are those that text::parse_tool_calls() reads; white space stands where the
// families' templates write it.
#include "tools/jllm/serve/tool_grammar.h"

#include <string>

#include "tools/jllm/serve/json_grammar.h"

namespace jllm::serve {
namespace {

using nlohmann::ordered_json;
using text::Grammar;
using text::GrammarStates;
using text::ToolNotation;

struct Form {
  CallMarks marks;
  std::string_view before, arguments, after;  // around the object, and the member of the arguments
};

Form form_of(ToolNotation notation) {
  switch (notation) {
    case ToolNotation::kHermes:
      return {{"<tool_call>", "</tool_call>"}, "\n", "arguments", "\n"};
    case ToolNotation::kMistral:
      return {{"[TOOL_CALLS]", ""}, "[", "arguments", "]"};
    case ToolNotation::kLlama3:
    case ToolNotation::kNone:
      break;
  }
  return {{"", ""}, "", "parameters", ""};
}

// A function without parameters takes {} only; one of which nothing is said, any object.
ordered_json schema_of(const ordered_json& function) {
  const auto found = function.find("parameters");
  if (found == function.end() || found->is_null()) {
    return {{"type", "object"}, {"additionalProperties", false}};
  }
  if (*found == ordered_json::object()) return {{"type", "object"}};
  return *found;
}

void require_objects(const ordered_json& schema) {
  const Grammar grammar = json_schema_grammar(schema);
  GrammarStates states(grammar);
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool may = states.step(states.start(), uint8_t(byte)) != GrammarStates::kDead;
    if (may && byte != '{') throw SchemaError("#: arguments are an object, \"type\": \"object\"");
  }
}

}  // namespace

CallMarks call_marks(ToolNotation notation) { return form_of(notation).marks; }

Grammar tool_call_grammar(ToolNotation notation, const ordered_json& functions, bool with_open,
                          bool with_close) {
  const Form form = form_of(notation);
  Grammar grammar;
  const std::string behind =
      "}" + std::string(form.after) + std::string(with_close ? form.marks.close : "");
  const Grammar::Node end = grammar.literal(behind, grammar.end());
  Grammar::Node any = end;
  for (size_t i = 0; i < functions.size(); ++i) {
    const std::string name = functions[i]["name"].get<std::string>();
    try {
      const ordered_json schema = schema_of(functions[i]);
      require_objects(schema);
      const std::string front =
          ordered_json(name).dump() + ", \"" + std::string(form.arguments) + "\": ";
      const Grammar::Node call = grammar.literal(front, json_schema_node(schema, &grammar, end));
      any = i == 0 ? call : grammar.either(any, call);
    } catch (const SchemaError& error) {
      throw SchemaError("of '" + name + "': " + error.what());
    }
  }
  const std::string ahead =
      std::string(with_open ? form.marks.open : "") + std::string(form.before) + "{\"name\": ";
  grammar.set_root(grammar.literal(ahead, any));
  return grammar;
}

}  // namespace jllm::serve

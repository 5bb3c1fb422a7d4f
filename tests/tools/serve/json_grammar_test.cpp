// JSON grammars: what they let through is JSON that fits, held against another parser and a checker
// of its own; what fits in their form is let through; token masks are what a search byte by byte
// says.
#include "tools/jllm/serve/json_grammar.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/tools/serve/grammar_texts.h"

namespace jllm {
namespace {

using nlohmann::ordered_json;
using test::draw;
using test::takes;
using text::Grammar;
using text::GrammarStates;
using text::TokenIndex;

ordered_json parse(const char* text) { return ordered_json::parse(text); }

// Whether a value fits a schema: the keywords of these tests, written down a second time.
bool fits(const ordered_json& root, const ordered_json& schema, const ordered_json& value) {
  if (schema.is_boolean()) return schema.get<bool>();
  if (schema.contains("$ref")) {
    const std::string to = schema["$ref"];
    return fits(root, root.at(ordered_json::json_pointer(to.substr(1))), value);
  }
  if (schema.contains("const") && value != schema["const"]) return false;
  if (schema.contains("enum")) {
    bool found = false;
    for (const ordered_json& one : schema["enum"]) found |= one == value;
    if (!found) return false;
  }
  for (const char* choice : {"anyOf", "oneOf"}) {
    if (!schema.contains(choice)) continue;
    bool found = false;
    for (const ordered_json& one : schema[choice]) found |= fits(root, one, value);
    if (!found) return false;
  }
  const auto is = [&](const std::string& type) {
    return type == "object"    ? value.is_object()
           : type == "array"   ? value.is_array()
           : type == "string"  ? value.is_string()
           : type == "integer" ? value.is_number_integer()
           : type == "number"  ? value.is_number()
           : type == "boolean" ? value.is_boolean()
                               : value.is_null();
  };
  if (schema.contains("type")) {
    bool right = false;
    if (schema["type"].is_string()) right = is(schema["type"]);
    if (schema["type"].is_array()) {
      for (const std::string one : schema["type"]) right |= is(one);
    }
    if (!right) return false;
  }
  if (value.is_object()) {
    for (const ordered_json& name : schema.value("required", ordered_json::array())) {
      if (!value.contains(name.get<std::string>())) return false;
    }
    const ordered_json properties = schema.value("properties", ordered_json::object());
    const ordered_json others = schema.value("additionalProperties", ordered_json(true));
    for (const auto& [name, member] : value.items()) {
      if (!fits(root, properties.contains(name) ? properties[name] : others, member)) return false;
    }
  }
  if (value.is_array()) {
    const ordered_json firsts = schema.value("prefixItems", ordered_json::array());
    const ordered_json rest = schema.value("items", ordered_json(true));
    if (value.size() < schema.value("minItems", size_t{0})) return false;
    if (value.size() > schema.value("maxItems", size_t{1} << 30)) return false;
    for (size_t i = 0; i < value.size(); ++i) {
      if (!fits(root, i < firsts.size() ? firsts[i] : rest, value[i])) return false;
    }
  }
  if (value.is_string()) {
    size_t characters = 0;  // code points; escapes are decoded already
    for (const char c : value.get<std::string>()) characters += (c & 0xc0) != 0x80;
    if (characters < schema.value("minLength", size_t{0})) return false;
    if (characters > schema.value("maxLength", size_t{1} << 30)) return false;
  }
  return true;
}

const char* const kSchemas[] = {
    "true",
    R"({"type": "string"})",
    R"({"type": "integer"})",
    R"({"type": ["number", "null"]})",
    R"({"enum": ["red", "green", 7, null, {"a": 1}, []]})",
    R"({"const": "\u00e9\n\"x\""})",
    R"({"type": "string", "minLength": 2, "maxLength": 5})",
    R"({"type": "array", "items": {"type": "integer"}})",
    R"({"type": "array", "items": {"type": "boolean"}, "minItems": 2})",
    R"({"type": "array", "items": {"type": "boolean"}, "maxItems": 0})",
    R"({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3})",
    R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": false, "minItems": 1})",
    R"({"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "null"}})",
    R"({"type": "object", "additionalProperties": {"type": "integer"}})",
    R"({"type": "object", "additionalProperties": false})",
    R"({"title": "T", "type": "object", "additionalProperties": false, "required": ["name", "tags"],
        "properties": {"name": {"type": "string", "description": "d"}, "age": {"type": "integer"},
                       "tags": {"type": "array", "items": {"enum": ["a", "b"]}}, "x/y~z": {"type": "null"}}})",
    R"({"properties": {"a": {"type": "null"}, "b": {"type": "null"}}})",
    R"({"anyOf": [{"type": "integer"}, {"type": "object", "properties": {"k": {"const": 1}}, "required": ["k"]}]})",
    R"({"$defs": {"node": {"type": "object", "required": ["value"], "additionalProperties": false,
         "properties": {"value": {"type": "integer"},
                        "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}},
        "$ref": "#/$defs/node"})",
    R"({"type": "object", "required": ["next"], "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}})",
};

class Schemas : public testing::TestWithParam<const char*> {};

TEST_P(Schemas, EveryTextOfTheGrammarIsJsonThatFits) {
  const ordered_json schema = parse(GetParam());
  const Grammar grammar = serve::json_schema_grammar(schema);
  GrammarStates states(grammar);
  std::mt19937 random(3);
  for (int i = 0; i < 60; ++i) {
    const std::string text = draw(states, random, 80);
    ASSERT_FALSE(HasFailure());
    const ordered_json value = ordered_json::parse(text, nullptr, false);
    ASSERT_FALSE(value.is_discarded()) << text;
    EXPECT_TRUE(fits(schema, schema, value)) << text;
    // Compact and indented, it is in the language itself.
    EXPECT_TRUE(takes(states, value.dump()) || value.is_number_float()) << value.dump();
    if (schema.contains("enum")) continue;  // constants are there as dump() writes them
    EXPECT_TRUE(takes(states, value.dump(1)) || value.is_number_float()) << value.dump(1);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Schemas, testing::ValuesIn(kSchemas),
                         [](const auto& test) { return "Schema" + std::to_string(test.index); });

TEST(JsonGrammar, WhatDoesNotFitIsNotTaken) {
  const Grammar grammar = serve::json_schema_grammar(parse(
      R"({"type": "object", "required": ["n"], "properties": {"s": {"type": "string"}, "n": {"type": "integer"}}})"));
  GrammarStates states(grammar);
  EXPECT_TRUE(takes(states, R"({"n": 1})"));
  EXPECT_TRUE(takes(states, R"({"s":"x","n":-12})"));
  EXPECT_TRUE(takes(states, "{\n  \"s\": \"\xe2\x82\xac\",\n  \"n\": 0\n}"));
  for (const char* text :
       {"", "{", "{}", "[]", R"({"s": "x"})", R"({"n": 1.5})", R"({"n": 01})", R"({"n": 1,})",
        R"({"n": 1} )", R"({"n": 1, "n": 1})", R"({"n": 1, "s": "x"})", R"({"m": 1, "n": 1})",
        R"({"s": "\x", "n": 1})", "{\"s\": \"\x01\", \"n\": 1}", "{\"s\": \"\xff\", \"n\": 1}",
        "{\"s\": \"\xed\xa0\x80\", \"n\": 1}", R"({"s": "\ud800", "n": 1})", R"({'n': 1})"}) {
    EXPECT_FALSE(takes(states, text)) << text;
  }
}

TEST(JsonGrammar, NestsAsDeepAsItSaysAndNoDeeper) {
  const Grammar grammar = serve::json_schema_grammar(true);
  GrammarStates states(grammar);
  const auto nested = [](size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  EXPECT_TRUE(takes(states, nested(100)));
  EXPECT_FALSE(takes(states, nested(2000)));
}

struct Refused {
  const char* schema;
  const char* message;
};

TEST(JsonGrammar, WhatItCannotPromiseIsRefusedWithThePlace) {
  for (const Refused& r : {
           Refused{"[]", "#: a schema is an object"},
           {"false", "#: false takes no value at all"},
           {R"({"type": "text"})", "#/type: there is no type 'text'"},
           {R"({"type": 7})", "#/type: a name or a list of names"},
           {R"({"type": "string", "pattern": "a+"})",
            "#: the keyword 'pattern' is not supported here"},
           {R"({"type": "integer", "minimum": 3})",
            "#: the keyword 'minimum' is not supported here"},
           {R"({"properties": {"a": {"not": {}}}})",
            "#/properties/a: the keyword 'not' is not supported here"},
           {R"({"type": "object", "required": ["a"]})",
            "#/required: \"a\" is not among the properties"},
           {R"({"$ref": "other.json"})", "#/$ref: only places in this schema: #/..."},
           {R"({"$ref": "#/$defs/a"})", "#/$ref: #/$defs/a is not in the schema"},
           {R"({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})",
            "#/$defs/a/$ref: #/$defs/a only leads back to itself"},
           {R"({"enum": []})", "#/enum: a list of 1 to 1000 values"},
           {R"({"type": "string", "maxLength": 1000000})",
            "#/maxLength: a whole number up to 4096"},
           {R"({"type": "array", "minItems": 3, "maxItems": 2})",
            "#: maxItems is less than minItems"},
           {R"({"type": "array", "items": false, "minItems": 1})",
            "#: there can be no so many items"},
           {R"({"allOf": [{}, {}]})", "#/allOf: only one schema is supported here"},
       }) {
    try {
      serve::json_schema_grammar(parse(r.schema));
      ADD_FAILURE() << r.schema;
    } catch (const serve::SchemaError& error) {
      EXPECT_STREQ(error.what(), r.message) << r.schema;
    }
  }
}

TEST(TokenMasks, AllowWhatByteByByteIsAllowed) {
  std::mt19937 random(8);
  const std::string alphabet = "{}[]\":, \nabtruefalsn0123456789.-e\\u\xc3\xa9\xff";
  std::vector<std::string> tokens = {""};
  for (int i = 0; i < 3000; ++i) {
    std::string token;
    for (size_t n = 1 + random() % 6; n > 0; --n) token += alphabet[random() % alphabet.size()];
    tokens.push_back(token);
  }
  const std::vector<std::string_view> pieces(tokens.begin(), tokens.end());
  const TokenIndex index(pieces);
  const Grammar grammar = serve::json_object_grammar();
  GrammarStates states(grammar), others(grammar);
  std::vector<uint32_t> words((tokens.size() + 31) / 32, ~0u);
  size_t allowed = 0;
  for (int turn = 0; turn < 40; ++turn) {
    const std::string whole = draw(states, random, 60);
    const std::string begun = whole.substr(0, random() % (whole.size() + 1));
    index.allow(states, states.step(states.start(), begun), words.data());
    for (size_t id = 0; id < tokens.size(); ++id) {
      const bool expected = !tokens[id].empty() &&
                            others.step(others.start(), begun + tokens[id]) != GrammarStates::kDead;
      allowed += expected;
      ASSERT_EQ((words[id / 32] >> id % 32 & 1) != 0, expected) << begun << " | " << tokens[id];
    }
  }
  EXPECT_GT(allowed, 1000u);
}

}  // namespace
}  // namespace jllm

// Forced calls: what a grammar lets through is one call that text::parse_tool_calls() reads, of a
// given function and with arguments that fit; drawn token by token as well, from vocabularies in
// which the marks are control tokens, tokens, or nothing but letters.
#include "tools/jllm/serve/tool_grammar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/text/vocabulary_maker.h"
#include "tests/tools/serve/grammar_texts.h"
#include "tools/jllm/serve/answer.h"
#include "tools/jllm/serve/json_constraint.h"
#include "tools/jllm/serve/json_grammar.h"

namespace jllm::serve {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;
using text::GrammarStates;
using text::ToolNotation;

constexpr ToolNotation kNotations[] = {ToolNotation::kHermes, ToolNotation::kLlama3,
                                       ToolNotation::kMistral};

const char* const kFunctions = R"([
  {"name": "weather", "parameters": {"type": "object", "properties": {
      "town": {"type": "string", "maxLength": 8}, "days": {"type": "integer"}}, "required": ["town"]}},
  {"name": "say \"hi\"", "description": "takes nothing"},
  {"name": "tree", "parameters": {"$ref": "#/$defs/node", "$defs": {"node": {
      "type": "object", "properties": {"left": {"$ref": "#/$defs/node"}}}}}},
  {"name": "paint", "parameters": {"type": "object", "properties": {
      "colour": {"enum": ["red", "</tool_call>"]}}, "required": ["colour"]}}])";

bool is_tree(const ordered_json& value) {
  return value.is_object() && (value.empty() || (value.size() == 1 && is_tree(value.at("left"))));
}

// Of kFunctions, what a call of one of them may bring.
bool fits(const std::string& name, const ordered_json& arguments) {
  if (name == "say \"hi\"") return arguments == ordered_json::object();
  if (name == "tree") return is_tree(arguments);
  if (name == "paint") {
    return arguments.size() == 1 &&
           (arguments["colour"] == "red" || arguments["colour"] == "</tool_call>");
  }
  return name == "weather" && arguments.at("town").is_string() &&
         arguments.size() == 1 + arguments.count("days") &&
         (!arguments.contains("days") || arguments["days"].is_number_integer());
}

void expect_one_call(const text::ToolAnswer& answer, const std::string& what) {
  EXPECT_EQ(answer.content, "") << what;
  ASSERT_EQ(answer.calls.size(), 1u) << what;
  const ordered_json arguments = ordered_json::parse(answer.calls[0].arguments);
  EXPECT_TRUE(fits(answer.calls[0].name, arguments)) << what;
}

TEST(ToolGrammar, EveryTextIsOneCallThatFits) {
  std::mt19937 random(1);
  for (const ToolNotation notation : kNotations) {
    const auto functions = ordered_json::parse(kFunctions);
    const text::Grammar grammar = tool_call_grammar(notation, functions, true, true);
    GrammarStates states(grammar);
    std::map<std::string, int> drawn;
    for (int i = 0; i < 400; ++i) {
      const std::string text = test::draw(states, random, 120);
      const text::ToolAnswer answer = text::parse_tool_calls(text, notation);
      ASSERT_NO_FATAL_FAILURE(expect_one_call(answer, text));
      ++drawn[answer.calls[0].name];
      EXPECT_FALSE(test::takes(states, text + text)) << text;
      EXPECT_FALSE(test::takes(states, text.substr(0, text.size() - 1))) << text;
    }
    EXPECT_EQ(drawn.size(), functions.size());
  }
}

TEST(ToolGrammar, WhatModelsWriteIsLetThrough) {
  const auto takes = [](ToolNotation notation, const char* text) {
    const text::Grammar grammar =
        tool_call_grammar(notation, ordered_json::parse(kFunctions), true, true);
    GrammarStates states(grammar);
    return test::takes(states, text);
  };
  EXPECT_TRUE(takes(ToolNotation::kHermes, R"(<tool_call>
{"name": "weather", "arguments": {"town": "Kiel", "days": 3}}
</tool_call>)"));
  EXPECT_TRUE(takes(ToolNotation::kLlama3, R"({"name": "tree", "parameters": {"left": {}}})"));
  EXPECT_TRUE(
      takes(ToolNotation::kMistral, R"([TOOL_CALLS][{"name": "say \"hi\"", "arguments": {}}])"));
  for (const char* text :
       {R"({"name": "storm", "parameters": {}})", R"({"name": "weather", "parameters": {}})",
        R"({"name": "say \"hi\"", "parameters": {"x": 1}})", "It rains.", "{}"}) {
    EXPECT_FALSE(takes(ToolNotation::kLlama3, text)) << text;
  }
}

TEST(ToolGrammar, WhatCannotBeForcedIsNamed) {
  const struct {
    const char* functions;
    const char* words;
  } cases[] = {
      {R"([{"name": "f", "parameters": {"type": "string"}}])",
       "of 'f': #: arguments are an object"},
      {R"([{"name": "f", "parameters": true}])", "of 'f': #: arguments are an object"},
      {R"([{"name": "f"}, {"name": "g", "parameters":
           {"properties": {"x": {"type": "string", "pattern": "a+"}}}}])",
       "of 'g': #/properties/x: the keyword 'pattern'"},
  };
  for (const auto& c : cases) {
    try {
      tool_call_grammar(ToolNotation::kHermes, ordered_json::parse(c.functions), true, true);
      ADD_FAILURE() << c.functions;
    } catch (const SchemaError& error) {
      EXPECT_THAT(error.what(), HasSubstr(c.words));
    }
  }
}

// What comes when every token is drawn from those that the constraint allows.
std::string forced_text(const text::Tokenizer& tokenizer, const JsonConstraints& constraints,
                        ToolNotation notation, std::mt19937& random,
                        std::vector<uint32_t>* tokens) {
  const std::unique_ptr<Constraint> constraint = constraints.call(notation, kFunctions);
  Answer answer(tokenizer, notation, {});
  std::vector<uint32_t> mask((tokenizer.vocab_size() + 31) / 32);
  while (!constraint->done() && tokens->size() < 5000) {
    constraint->fill(mask.data(), static_cast<uint32_t>(mask.size()));
    std::vector<uint32_t> allowed;
    for (uint32_t id = 0; id < tokenizer.vocab_size(); ++id) {
      if ((mask[id / 32] >> id % 32 & 1u) == 0) continue;
      const std::string piece = tokenizer.piece(id, true);
      const bool closes = piece.find_first_of("\"}]") != std::string::npos;
      allowed.insert(allowed.end(), closes ? 40 : 1, id);
    }
    if (allowed.empty()) break;
    tokens->push_back(allowed[random() % allowed.size()]);
    EXPECT_TRUE(constraint->accept(tokens->back()));
    answer.push(tokens->back());
  }
  answer.finish();
  EXPECT_EQ(answer.calls().size(), 1u) << answer.text();
  expect_one_call({answer.take(), answer.calls()}, answer.text());
  return answer.text();
}

TEST(ToolGrammar, TokensThatAreAllowedMakeACall) {
  std::mt19937 random(7);
  for (const int32_t kind : {text::kControl, text::kUserDefined, text::kNormal}) {
    text::VocabularyMaker maker = text::bytes_vocabulary("gpt-2");
    maker.add("<|endoftext|>", text::kControl);
    const bool are_tokens = kind != text::kNormal;
    std::map<std::string, uint32_t> marks;
    for (const char* mark : {"<tool_call>", "</tool_call>", "[TOOL_CALLS]"}) {
      if (are_tokens) marks[mark] = maker.add(mark, kind);
    }
    const text::OpenTokenizer tokenizer = text::make(maker);
    ASSERT_NE(tokenizer.tokenizer, nullptr) << tokenizer.error;
    const JsonConstraints constraints(*tokenizer.tokenizer);
    for (const ToolNotation notation : kNotations) {
      for (int i = 0; i < 30; ++i) {
        std::vector<uint32_t> tokens;
        forced_text(*tokenizer.tokenizer, constraints, notation, random, &tokens);
        if (HasFatalFailure() || HasNonfatalFailure()) return;
        const CallMarks around = call_marks(notation);
        if (are_tokens && !around.open.empty()) {
          EXPECT_EQ(tokens.front(), marks[std::string(around.open)]);
        }
        if (are_tokens && !around.close.empty()) {
          EXPECT_EQ(tokens.back(), marks[std::string(around.close)]);
        }
      }
    }
  }
}

TEST(ToolGrammar, AForeignTokenEndsIt) {
  text::VocabularyMaker maker = text::bytes_vocabulary("gpt-2");
  const uint32_t end = maker.add("<|endoftext|>", text::kControl);
  const uint32_t open = maker.add("<tool_call>", text::kControl);
  const uint32_t close = maker.add("</tool_call>", text::kControl);
  const text::OpenTokenizer tokenizer = text::make(maker);
  const JsonConstraints constraints(*tokenizer.tokenizer);
  for (const uint32_t token : {end, close, uint32_t{'{'}}) {
    const auto constraint = constraints.call(ToolNotation::kHermes, kFunctions);
    EXPECT_FALSE(constraint->accept(token));
    const auto opened = constraints.call(ToolNotation::kHermes, kFunctions);
    EXPECT_TRUE(opened->accept(open));
    EXPECT_FALSE(opened->accept(token));
    EXPECT_FALSE(opened->done());
  }
}

}  // namespace
}  // namespace jllm::serve

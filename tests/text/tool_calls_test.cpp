// Tool calls parsed back from what models write; what is damaged stays text.
#include "executor/text/tool_calls.h"

#include <gtest/gtest.h>

namespace jllm::text {
namespace {

constexpr const char* kHermesCall =
    "Let me look.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\", "
    "\"note\": \"a </tool_call> in \\\"quotes\\\"\"}}\n</tool_call>";

TEST(ToolCalls, HermesTakesSeveralAndKeepsTheTextAround) {
  const ToolAnswer answer = parse_tool_calls(
      std::string(kHermesCall) +
          "<tool_call>{\"arguments\": {}, \"name\": \"t\\u00e9\\ud83d\\ude00\"}</tool_call>!",
      ToolNotation::kHermes);
  EXPECT_EQ(answer.content, "Let me look.\n!");
  ASSERT_EQ(answer.calls.size(), 2u);
  EXPECT_EQ(answer.calls[0].name, "weather");
  EXPECT_EQ(answer.calls[0].arguments,
            "{\"city\": \"Oslo\", \"note\": \"a </tool_call> in \\\"quotes\\\"\"}");
  EXPECT_EQ(answer.calls[1].name, "t\u00e9\U0001f600");
  EXPECT_EQ(answer.calls[1].arguments, "{}");
}

TEST(ToolCalls, Llama3IsTheWholeAnswer) {
  const std::string call = "{\"name\": \"f\", \"parameters\": {\"x\": [1, -2.5e3, true, null]}}";
  const ToolAnswer answer = parse_tool_calls("<|python_tag|>" + call, ToolNotation::kLlama3);
  ASSERT_EQ(answer.calls.size(), 1u);
  EXPECT_EQ(answer.calls[0].name, "f");
  EXPECT_EQ(answer.calls[0].arguments, "{\"x\": [1, -2.5e3, true, null]}");
  EXPECT_EQ(parse_tool_calls(call, ToolNotation::kLlama3).calls.size(), 1u);
  EXPECT_TRUE(parse_tool_calls("Call " + call, ToolNotation::kLlama3).calls.empty());
}

TEST(ToolCalls, MistralIsAList) {
  const ToolAnswer answer = parse_tool_calls(
      "[TOOL_CALLS][{\"name\": \"a\", \"arguments\": {\"k\": {}}, \"id\": \"123456789\"}, "
      "{\"name\": \"b\", \"arguments\": {}}]",
      ToolNotation::kMistral);
  ASSERT_EQ(answer.calls.size(), 2u);
  EXPECT_EQ(answer.content, "");
  EXPECT_EQ(answer.calls[0].arguments, "{\"k\": {}}");
  EXPECT_EQ(answer.calls[1].name, "b");
}

TEST(ToolCalls, WhatIsOnlyThoughtOfIsNoCall) {
  const std::string thoughts =
      "<think><tool_call>{\"name\": \"x\"</tool_call>" + std::string(kHermesCall) + "</think>\n";
  EXPECT_TRUE(parse_tool_calls(thoughts, ToolNotation::kHermes).calls.empty());
  const std::string call =
      "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"</think>\"}}"
      "</tool_call>";
  const ToolAnswer answer = parse_tool_calls(thoughts + call, ToolNotation::kHermes);
  ASSERT_EQ(answer.calls.size(), 1u);
  EXPECT_EQ(answer.calls[0].name, "f");
  EXPECT_EQ(answer.content, thoughts);
}

TEST(ToolCalls, IdsAreKept) {
  const ToolAnswer answer =
      parse_tool_calls("[TOOL_CALLS] [{\"name\": \"a\", \"arguments\": {}, \"id\": \"123456789\"}]",
                       ToolNotation::kMistral);
  ASSERT_EQ(answer.calls.size(), 1u);
  EXPECT_EQ(answer.calls[0].id, "123456789");
}

// While an answer comes in, what is shown is never part of a call and is never taken back.
TEST(ToolCalls, TextIsHeldBackFromWhereACallMayBegin) {
  const auto shown = [](const std::string& text, ToolNotation notation) {
    size_t before = 0;
    for (size_t size = 0; size <= text.size(); ++size) {
      const size_t now = text_before_calls(std::string_view(text).substr(0, size), notation);
      EXPECT_GE(now, before) << text << size;
      EXPECT_LE(now, size);
      before = now;
    }
    return text.substr(0, before);
  };
  EXPECT_EQ(shown("a < b <tool_call>{", ToolNotation::kHermes), "a < b ");
  EXPECT_EQ(shown("a <tool_cal", ToolNotation::kHermes), "a ");
  EXPECT_EQ(shown("a <tool_cat>", ToolNotation::kHermes), "a <tool_cat>");
  EXPECT_EQ(shown("a[TOOL_CALLS][", ToolNotation::kMistral), "a");
  EXPECT_EQ(shown("\n{\"name\"", ToolNotation::kLlama3), "");
  EXPECT_EQ(shown("<|python_tag|>{", ToolNotation::kLlama3), "");
  EXPECT_EQ(shown("<|pythia", ToolNotation::kLlama3), "<|pythia");
  EXPECT_EQ(shown("So {", ToolNotation::kLlama3), "So {");
  EXPECT_EQ(shown("<tool_call>", ToolNotation::kNone), "<tool_call>");
}

// Every beginning of a call, and every call with one byte gone or changed, is text or still a call;
// a cut one is never a call.
TEST(ToolCalls, WhatIsCutStaysText) {
  const std::string whole = kHermesCall;
  const size_t open = whole.find("<tool_call>");
  for (size_t size = 0; size < whole.size(); ++size) {
    const ToolAnswer answer = parse_tool_calls(whole.substr(0, size), ToolNotation::kHermes);
    EXPECT_TRUE(answer.calls.empty()) << size;
    EXPECT_EQ(answer.content, whole.substr(0, size)) << size << " " << open;
  }
}

TEST(ToolCalls, WhatIsNoCallStaysText) {
  for (const char* text :
       {"<tool_call>{\"name\": \"f\"}</tool_call>", "<tool_call>{\"arguments\": {}}</tool_call>",
        "<tool_call>{\"name\": 1, \"arguments\": {}}</tool_call>",
        "<tool_call>{\"name\": \"f\", \"arguments\": \"x\"}</tool_call>",
        "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\" 1}}</tool_call>",
        "<tool_call>{\"name\": \"\\ud800\", \"arguments\": {}}</tool_call>",
        "<tool_call>[]</tool_call>"}) {
    const ToolAnswer answer = parse_tool_calls(text, ToolNotation::kHermes);
    EXPECT_TRUE(answer.calls.empty()) << text;
    EXPECT_EQ(answer.content, text);
  }
  const std::string deep(100000, '[');
  EXPECT_TRUE(
      parse_tool_calls("<tool_call>{\"name\": \"f\", \"arguments\": " + deep, ToolNotation::kHermes)
          .calls.empty());
  EXPECT_EQ(parse_tool_calls(kHermesCall, ToolNotation::kNone).content, kHermesCall);
}

}  // namespace
}  // namespace jllm::text

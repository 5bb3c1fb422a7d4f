// Requests read from JSON, and what is wrong with them.
#include "tools/jllm/serve/api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace jllm::serve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string with_user(const std::string& members) {
  return R"({"messages": [{"role": "user", "content": "x"}])" +
         (members.empty() ? "" : ", " + members) + "}";
}

RequestDefaults defaults() {
  RequestDefaults defaults;
  defaults.sampling.temperature = 0.8f;
  defaults.sampling.top_k = 40;
  defaults.max_tokens = 99;
  defaults.tools = true;
  return defaults;
}

ChatRequest chat(const std::string& members) {
  return parse_chat_request(with_user(members), defaults());
}

template <typename Parse>
void expect_refusal(Parse parse, const std::string& param, const std::string& words) {
  try {
    parse();
    ADD_FAILURE() << "taken: " << words;
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status, 400);
    EXPECT_EQ(error.param, param);
    EXPECT_THAT(error.message, HasSubstr(words));
  }
}

TEST(ServeApi, WhatARequestDoesNotSayIsTheServersOwn) {
  const ChatRequest request = chat("");
  EXPECT_EQ(request.sampling.temperature, 0.8f);
  EXPECT_EQ(request.sampling.top_k, 40u);
  EXPECT_EQ(request.max_tokens, 99u);
  EXPECT_FALSE(request.seed);
  EXPECT_FALSE(request.stream || request.logprobs || request.include_usage);
  EXPECT_TRUE(request.stop.empty() && request.model.empty());
  // null is as good as nothing.
  EXPECT_EQ(chat(R"("temperature": null, "stop": null, "max_tokens": null, "tools": null)")
                .sampling.temperature,
            0.8f);
}

TEST(ServeApi, EveryMemberIsRead) {
  const ChatRequest request =
      chat(R"("model": "m", "temperature": 0.5, "top_p": 0.25, "min_p": 0.125, "top_k": 3,
              "repeat_penalty": 1.5, "repeat_last_n": 7, "ignore_end": true, "seed": 18446744073709551615,
              "max_tokens": 4, "max_completion_tokens": 5, "stop": ["a", "b"], "stream": true,
              "stream_options": {"include_usage": true}, "logprobs": true, "top_logprobs": 2,
              "parallel_tool_calls": false, "user": "nobody", "store": false)");
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.sampling.temperature, 0.5f);
  EXPECT_EQ(request.sampling.top_p, 0.25f);
  EXPECT_EQ(request.sampling.min_p, 0.125f);
  EXPECT_EQ(request.sampling.top_k, 3u);
  EXPECT_EQ(request.sampling.repeat_penalty, 1.5f);
  EXPECT_EQ(request.sampling.repeat_last_n, 7u);
  EXPECT_TRUE(request.sampling.ignore_end);
  EXPECT_EQ(request.seed, UINT64_MAX);
  EXPECT_EQ(request.max_tokens, 5u);  // the newer name
  EXPECT_THAT(request.stop, ElementsAre("a", "b"));
  EXPECT_TRUE(request.stream && request.include_usage && request.logprobs);
  EXPECT_EQ(request.top_logprobs, 2u);
  EXPECT_FALSE(request.parallel_calls);
  EXPECT_THAT(chat(R"("stop": "a")").stop, ElementsAre("a"));
  EXPECT_EQ(chat(R"("seed": -1)").seed, UINT64_MAX);
}

TEST(ServeApi, SchemasAreKeptAsJson) {
  EXPECT_EQ(chat(R"("response_format": {"type": "text"})").form, CompletionRequest::Form::kText);
  EXPECT_EQ(chat(R"("response_format": {"type": "json_object"})").form,
            CompletionRequest::Form::kJsonObject);
  const ChatRequest request = chat(
      R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"b": 1, "a": 2}}})");
  EXPECT_EQ(request.form, CompletionRequest::Form::kJsonSchema);
  EXPECT_EQ(request.schema, R"({"b":1,"a":2})");
}

TEST(ServeApi, MessagesBecomeADialogue) {
  const ChatRequest request = parse_chat_request(
      R"({"messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": null, "tool_calls": [
          {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}},
          {"id": "2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "2", "content": "two"},
        {"role": "tool", "tool_call_id": "1", "content": "one"},
        {"role": "assistant", "content": "done"},
        {"role": "user", "content": "more"}]})",
      defaults());
  const text::Dialogue& dialogue = request.dialogue;
  EXPECT_EQ(dialogue.system, "s");
  ASSERT_EQ(dialogue.size(), 6u);
  EXPECT_EQ(dialogue.message(0).text, "ab");
  const text::Dialogue::Message answer = dialogue.message(1);
  ASSERT_EQ(answer.calls.size(), 2u);
  EXPECT_EQ(answer.calls[0].name, "f");
  EXPECT_EQ(answer.calls[0].arguments, R"({"x": 1})");
  EXPECT_EQ(answer.calls[1].arguments, "{}");
  EXPECT_EQ(dialogue.message(2).text, "one");  // in the order of the calls
  EXPECT_EQ(dialogue.message(3).text, "two");
  EXPECT_EQ(dialogue.message(4).text, "done");
}

TEST(ServeApi, ConversationsThatBringNoSystemTextGetTheServers) {
  RequestDefaults own = defaults();
  own.system = "Be kind.";
  EXPECT_EQ(parse_chat_request(with_user(""), own).dialogue.system, "Be kind.");
  const char* const brings = R"({"messages": [{"role": "system", "content": "Be brief."},
                                              {"role": "user", "content": "x"}]})";
  EXPECT_EQ(parse_chat_request(brings, own).dialogue.system, "Be brief.");
}

TEST(ServeApi, ToolsGoToTheFormatAsTheyAre) {
  const std::string tool =
      R"({"type":"function","function":{"name":"f","parameters":{"z":1,"a":2}}})";
  EXPECT_EQ(chat(R"("tools": [)" + tool + "]").dialogue.tools, "[" + tool + "]");
  EXPECT_EQ(chat(R"("tools": [)" + tool + R"(], "tool_choice": "none")").dialogue.tools, "");
  EXPECT_EQ(chat(R"("tools": [])").dialogue.tools, "");
  RequestDefaults without = defaults();
  without.tools = false;
  without.no_tools_because = "it is built in";
  expect_refusal([&] { parse_chat_request(with_user(R"("tools": [)" + tool + "]"), without); },
                 "tools", "it is built in");
}

TEST(ServeApi, ACallMayBeForced) {
  const auto choose = [](const std::string& choice) {
    return chat(R"("tools": [{"type": "function", "function": {"name": "f"}},
                             {"type": "function", "function": {"name": "g", "parameters": {}}}],
                   "response_format": {"type": "json_object"}, "tool_choice": )" +
                choice);
  };
  const std::string f = R"({"name":"f"})", g = R"({"name":"g","parameters":{}})";
  const ChatRequest any = choose(R"("required")");
  EXPECT_EQ(any.form, CompletionRequest::Form::kToolCall);
  EXPECT_EQ(any.functions, "[" + f + "," + g + "]");
  const ChatRequest one = choose(R"({"type": "function", "function": {"name": "g"}})");
  EXPECT_EQ(one.form, CompletionRequest::Form::kToolCall);
  EXPECT_EQ(one.functions, "[" + g + "]");
  EXPECT_EQ(one.dialogue.tools, any.dialogue.tools);  // the prompt has all of them
  for (const char* word : {R"("auto")", R"("none")", "null"}) {
    EXPECT_EQ(choose(word).form, CompletionRequest::Form::kJsonObject) << word;
  }
  const struct {
    const char* choice;
    const char* param;
    const char* words;
  } cases[] = {
      {R"("always")", "tool_choice", "required"},
      {"1", "tool_choice", "object"},
      {R"({"type": "allowed_tools"})", "tool_choice.type", "function"},
      {R"({"type": "function"})", "tool_choice.function", "missing"},
      {R"({"type": "function", "function": {"name": "h"}})", "tool_choice", "'h'"},
  };
  for (const auto& c : cases) {
    expect_refusal([&] { choose(c.choice); }, c.param, c.words);
  }
  for (const char* choice :
       {R"("required")", R"({"type": "function", "function": {"name": "f"}})"}) {
    expect_refusal([&] { chat(R"("tool_choice": )" + std::string(choice)); }, "tool_choice",
                   "tools only");
  }
  expect_refusal([&] { chat(R"("tools": [{"type": "function", "function": {"name": ""}}])"); },
                 "tools[0].function.name", "empty");
}

TEST(ServeApi, ThinkingMayBeSwitched) {
  const auto thinking = [](const std::string& members) { return chat(members).dialogue.thinking; };
  EXPECT_EQ(thinking(""), Thinking::kDefault);
  EXPECT_EQ(thinking(R"("chat_template_kwargs": {"enable_thinking": false})"), Thinking::kOff);
  EXPECT_EQ(thinking(R"("chat_template_kwargs": {"enable_thinking": true})"), Thinking::kOn);
}

TEST(ServeApi, WhatIsWrongIsNamed) {
  const struct {
    const char* members;
    const char* param;
    const char* words;
  } cases[] = {
      {R"("n": 3)", "n", "must be 1"},
      {R"("n": 0)", "n", "integer"},
      {R"("best_of": 2)", "best_of", "must be 1"},
      {R"("temperature": "hot")", "temperature", "number from 0 to 100"},
      {R"("top_p": 1.5)", "top_p", "from 0 to 1"},
      {R"("top_k": -1)", "top_k", "integer"},
      {R"("max_tokens": 1.5)", "max_tokens", "integer"},
      {R"("max_tokens": 5000000000)", "max_tokens", "4294967295"},
      {R"("seed": "x")", "seed", "integer"},
      {R"("stream": "yes")", "stream", "true or false"},
      {R"("stop": [1])", "stop", "string"},
      {R"("stop": ["a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a"])", "stop",
       "16"},
      {R"("logprobs": true, "top_logprobs": 21)", "top_logprobs", "20"},
      {R"("logit_bias": {"1": 2})", "logit_bias", "not supported"},
      {R"("frequency_penalty": 0.5)", "frequency_penalty", "not supported"},
      {R"("response_format": {"type": "xml"})", "response_format.type", "json_schema"},
      {R"("response_format": {"type": "json_schema"})", "response_format.json_schema", "missing"},
      {R"("tools": {})", "tools", "array"},
      {R"("tools": [{"type": "retrieval"}])", "tools[0].type", "function"},
      {R"("tools": [{"type": "function", "function": {}}])", "tools[0].function.name", "missing"},
      {R"("tool_choice": "auto")", "tool_choice", "tools"},
      {R"("functions": [])", "functions", "tools"},
      {R"("chat_template_kwargs": 1)", "chat_template_kwargs", "object"},
  };
  for (const auto& c : cases) {
    expect_refusal([&] { chat(c.members); }, c.param, c.words);
  }
  expect_refusal([] { parse_chat_request("{", defaults()); }, "", "JSON");
  expect_refusal([] { parse_chat_request("[]", defaults()); }, "", "object");
  const std::string deep = std::string(1000000, '[');
  expect_refusal([&] { parse_chat_request(deep, defaults()); }, "", "nested");
  expect_refusal([&] { parse_chat_request("{\"tools\": " + deep, defaults()); }, "", "nested");
  expect_refusal(
      [] {
        parse_chat_request(
            R"({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls":
               [{"id": "1", "function": {"name": "f"}}]}, {"role": "user", "content": "y"}]})",
            defaults());
      },
      "messages", "result of the call '1'");
}

TEST(ServeApi, PromptsAreOneTextOrTokens) {
  const auto parse = [](const std::string& prompt) {
    return parse_text_request("{\"prompt\": " + prompt + "}", defaults());
  };
  EXPECT_EQ(parse("\"a\"").prompt, "a");
  EXPECT_EQ(parse("[\"a\"]").prompt, "a");
  EXPECT_THAT(*parse("[1, 2]").tokens, ElementsAre(1, 2));
  EXPECT_THAT(*parse("[[1, 2]]").tokens, ElementsAre(1, 2));
  for (const char* prompt : {"null", "[]", "1", "[\"a\", \"b\"]", "[[1], [2]]", "[-1]", "{}"}) {
    expect_refusal([&] { parse(prompt); }, "prompt", "");
  }
  const TextRequest request = parse_text_request(R"({"prompt": "a", "logprobs": 0})", defaults());
  EXPECT_TRUE(request.logprobs);  // 0: of the token itself
  EXPECT_EQ(request.top_logprobs, 0u);
}

TEST(ServeApi, ErrorsAreTheApisObject) {
  EXPECT_EQ(
      (ApiError{429, "busy \"now\"", "", "queue_full", "rate_limit_exceeded"}.json()),
      R"({"error":{"message":"busy \"now\"","type":"rate_limit_exceeded","param":null,"code":"queue_full"}})");
  EXPECT_EQ((ApiError{400, "\xff", "n"}.json()),
            "{\"error\":{\"message\":\"\xEF\xBF\xBD\",\"type\":\"invalid_request_error\",\"param\":"
            "\"n\",\"code\":null}}");
}

TEST(ServeApi, TextsForTokens) {
  const TokenizeRequest request =
      parse_tokenize_request(R"({"content": "x", "add_special": true, "with_pieces": true})");
  EXPECT_EQ(request.text, "x");
  EXPECT_TRUE(request.special && request.with_pieces);
  EXPECT_EQ(parse_tokenize_request(R"({"prompt": "y"})").text, "y");
  expect_refusal([] { parse_tokenize_request("{}"); }, "content", "missing");
  EXPECT_THAT(parse_detokenize_request(R"({"tokens": [3, 4]})"), ElementsAre(3, 4));
  expect_refusal([] { parse_detokenize_request(R"({"tokens": ["a"]})"); }, "tokens", "array");
}

}  // namespace
}  // namespace jllm::serve

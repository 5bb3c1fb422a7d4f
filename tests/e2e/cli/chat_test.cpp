// jllm chat with its input from a pipe, tools on the command line, and what is said and called on
// the way from an answer's tokens back into a prompt.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "executor/text/dialogue.h"
#include "tests/e2e/cli/process.h"
#include "tests/support/files.h"
#include "tools/jllm/generation.h"

namespace jllm {
namespace {

using test::expect_failure;
using test::jllm;
using test::jllmc;
using test::Process;
using test::ProcessOptions;
using test::ProcessResult;
using test::TempDir;

// ChatML with tools in the way of Hermes.
constexpr const char* kTemplate =
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor "
    "%}<|im_end|>\n"
    "{% endif %}{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user\n<res>"
    "{{ m.content }}</res>{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{\"name\": \"{{ c.function.name }}\", "
    "\"arguments\": "
    "{{ c.function.arguments | tojson }}}</tool_call>{% endfor %}{% endif %}<|im_end|>\n{% endfor "
    "%}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

constexpr const char* kLathe = "What is a lathe?";
constexpr const char* kSensor = "What is a sensor?";

class Chat : public testing::Test {
 protected:
  void compile(const std::string& format, const std::string& context = "512") const {
    const ProcessResult result =
        jllmc({"compile", JLLM_MODELS_DIR "/tiny-workshop-5m.q4_k_m.gguf", "-o", plan(),
               "--chat-format", format, "--context", context});
    ASSERT_EQ(result.code, 0) << result.err;
  }

  // With the template above; false, and the test is skipped, without jinja2.
  bool compile_with_tools() const {
    if (std::system("python3 -c 'import jinja2' >/dev/null 2>&1") != 0) return false;
    test::write_text(dir_.file("tools.jinja"), kTemplate);
    compile(dir_.file("tools.jinja"));
    return true;
  }

  std::string plan() const { return dir_.file("model.jllm"); }

  ProcessResult chat(const std::string& input, std::vector<std::string> more = {}) const {
    std::vector<std::string> words = {"chat", plan(), "-t", "0", "-v"};
    words.insert(words.end(), more.begin(), more.end());
    const ProcessResult result = jllm(words, ProcessOptions{input, {}, 0});
    EXPECT_EQ(result.code, 0) << result.err;
    return result;
  }

  std::string run(const std::string& prompt) const {
    const ProcessResult result = jllm({"run", plan(), "-t", "0", "-p", prompt});
    EXPECT_EQ(result.code, 0) << result.err;
    return result.out;
  }

  // Tokens that the answers did not cost again, one number an answer.
  static std::vector<int> kept(const ProcessResult& result) {
    std::vector<int> numbers;
    constexpr std::string_view kBefore = "conversation, ";
    for (size_t at = 0; (at = result.err.find(kBefore, at)) != std::string::npos;) {
      at += kBefore.size();
      numbers.push_back(std::atoi(result.err.c_str() + at));
    }
    return numbers;
  }

  TempDir dir_;
};

std::string ask(const std::string& text) {
  return "<|im_start|>user\n" + text + "<|im_end|>\n<|im_start|>assistant\n";
}

std::string line(std::string text) { return text += "\n"; }

TEST_F(Chat, ALaterAnswerIsThatOfTheWholeConversation) {
  compile("chatml");
  const std::string first = run(ask(kLathe));
  const std::string second =
      run(ask(kLathe) + first.substr(0, first.size() - 1) + "<|im_end|>\n" + ask(kSensor));
  const ProcessResult result = chat(line(kLathe) + line(kSensor));
  EXPECT_EQ(result.out, first + second);
  const std::vector<int> numbers = kept(result);
  ASSERT_EQ(numbers.size(), 2u) << result.err;
  EXPECT_EQ(numbers[0], 0);
  EXPECT_GT(numbers[1], 20);  // the first question with its answer
}

TEST_F(Chat, ClearAndSystemBeginAfresh) {
  compile("chatml");
  const std::string first = run(ask(kLathe));
  EXPECT_EQ(chat(line(kLathe) + "/clear\n" + line(kLathe)).out, first + first);
  const std::string brief = run("<|im_start|>system\nBe brief.<|im_end|>\n" + ask(kLathe));
  EXPECT_EQ(chat(line(kLathe) + "/system Be brief.\n" + line(kLathe)).out, first + brief);
  EXPECT_EQ(chat(line(kLathe), {"--system", "Be brief."}).out, brief);
}

// The texts are the same with the system text computed, computed and kept, and read.
TEST_F(Chat, ASystemTextIsKeptInAFile) {
  compile("chatml");
  std::string system = "Be brief.";
  while (system.size() < 1000) system += " Name the tool before you take it into your hand.";
  test::write_text(dir_.file("system.txt"), system + "\n");
  const std::vector<std::string> plain = {"--system", system};
  std::vector<std::string> cached = {"--system-file", dir_.file("system.txt"), "--prefix-cache",
                                     dir_.file("prefix")};
  const std::string expected = chat(line(kLathe) + line(kSensor), plain).out;
  for (const char* did : {" computed in ", " read in "}) {
    const ProcessResult result = chat(line(kLathe) + line(kSensor), cached);
    EXPECT_EQ(result.out, expected);
    EXPECT_NE(result.err.find(did), std::string::npos) << result.err;
    EXPECT_EQ(result.err.find("warning"), std::string::npos) << result.err;
    EXPECT_GT(kept(result).at(0), 100);
  }
  // A run takes the same file; a byte in its second half is wrong then.
  const auto run_json = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {"run", plan(), "-p", kLathe, "-t", "0", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const ProcessResult result = jllm(words);
    EXPECT_EQ(result.code, 0) << result.err;
    return nlohmann::json::parse(result.out);
  };
  const auto text = run_json(plain)["text"];
  const auto read = run_json(cached);
  EXPECT_EQ(read["text"], text);
  EXPECT_EQ(read["prefix"]["source"], "file");
  EXPECT_EQ(read["cached_tokens"], read["prefix"]["tokens"]);
  std::vector<uint8_t> bytes = test::read_file(dir_.file("prefix"));
  ASSERT_GT(bytes.size(), size_t{1} << 20) << "not in several pieces";
  bytes[bytes.size() - 100] ^= 1;
  test::write_file(dir_.file("prefix"), bytes.data(), bytes.size());
  const auto damaged = run_json(cached);
  EXPECT_EQ(damaged["text"], text);
  EXPECT_EQ(damaged["prefix"]["source"], "computed");
  EXPECT_EQ(damaged["prefix"]["refusal"],
            dir_.file("prefix") + " is damaged: its hash is not what it says");
  EXPECT_EQ(run_json(cached)["prefix"]["source"], "file");
  cached[3] = "/proc/prefix";
  const auto unwritable = run_json(cached);
  EXPECT_EQ(unwritable["text"], text);
  EXPECT_NE(unwritable["prefix"]["not_written"], nullptr);
  EXPECT_FALSE(run_json(plain).contains("prefix"));
}

TEST_F(Chat, APromptIsKeptInAFile) {
  compile("chatml");
  const auto run_it = [&](const std::string& prompt) {
    return jllm({"run", plan(), "-t", "0", "-n", "20", "-p", prompt, "--prefix-cache",
                 dir_.file("prefix")});
  };
  const ProcessResult plain = jllm({"run", plan(), "-t", "0", "-n", "20", "-p", "Tom was a boy"});
  const ProcessResult first = run_it("Tom was a boy"), next = run_it("Tom was a boy");
  EXPECT_EQ(first.out, plain.out);
  EXPECT_EQ(next.out, plain.out);
  EXPECT_NE(next.err.find(" read in "), std::string::npos) << next.err;
  EXPECT_NE(run_it("Tom was a girl").err.find("prefix holds"), std::string::npos);
}

TEST_F(Chat, OddSystemTextsAreRefused) {
  compile("chatml");
  test::write_text(dir_.file("empty"), "\n");
  expect_failure(jllm({"chat", plan(), "--system-file", dir_.file("empty")}), 2, {"no text in it"});
  expect_failure(jllm({"chat", plan(), "--system", "a", "--system-file", "b"}), 2, {"one of them"});
  expect_failure(jllm({"chat", plan(), "--system-file", dir_.file("none")}), 1, {"No such file"});
}

TEST_F(Chat, CommandsAndLinesThatGoOn) {
  compile("chatml");
  const ProcessResult result = chat("/help\n/nonsense\n/think maybe\n/tools x\n\n/quit\nnever\n");
  EXPECT_EQ(result.out, "");
  for (const char* word : {"/system TEXT", "no command /nonsense", "maybe", "no tools"}) {
    EXPECT_NE(result.err.find(word), std::string::npos) << word << "\n" << result.err;
  }
  EXPECT_EQ(chat("What is\\\na lathe?").out, run(ask("What is\na lathe?")));
  EXPECT_EQ(chat("//quit\n").out, run(ask("/quit")));
}

TEST_F(Chat, AMessageThatIsTooLongIsLeftOut) {
  compile("chatml", "64");
  std::string words;
  for (int i = 0; i < 64; ++i) words += " lathe";
  const ProcessResult result = chat(line(words) + line(kLathe), {"-n", "4"});
  EXPECT_NE(result.err.find("/reset begins afresh"), std::string::npos) << result.err;
  EXPECT_EQ(result.out, chat(line(kLathe), {"-n", "4"}).out);
}

// What is forgotten is gone from the next prompt: its answer is that of a conversation without it.
TEST_F(Chat, AFullContextDropsTheOldestWhereAskedTo) {
  compile("chatml", "96");
  const std::string first = chat(line(kLathe), {"-n", "12"}).out;
  const std::string both = chat(line(kLathe) + line(kSensor), {"-n", "12"}).out;
  const std::string long_line = "Tell me " + std::string(kSensor) + " " + kLathe + " " + kSensor;
  // Three short messages fit, a longer one behind them does not.
  const std::string input = line(kLathe) + line(kSensor) + line(kLathe) + line(long_line);
  const ProcessResult stopped = chat(input, {"-n", "12"});
  EXPECT_NE(stopped.err.find("/drop forgets the oldest message"), std::string::npos) << stopped.err;
  const ProcessResult dropped = chat(input, {"-n", "12", "--when-full", "drop"});
  EXPECT_NE(dropped.err.find("of the oldest messages were forgotten"), std::string::npos)
      << dropped.err;
  EXPECT_EQ(dropped.out.rfind(both, 0), 0u);
  EXPECT_GT(dropped.out.size(), stopped.out.size());
  // By hand it is the same.
  EXPECT_EQ(chat(line(kLathe) + line(kSensor) + "/drop\n" + line(kLathe), {"-n", "12"}).out,
            both + chat(line(kSensor) + line(kLathe), {"-n", "12"})
                       .out.substr(chat(line(kSensor), {"-n", "12"}).out.size()));
  expect_failure(jllm({"chat", plan(), "--when-full", "maybe"}), 2, {"ask, stop or drop"});
}

TEST_F(Chat, StatsAndTranscripts) {
  compile("chatml");
  const std::string file = dir_.file("said.json");
  const ProcessResult result = chat(line(kLathe) + "/stats\n/save " + file + "\n" + line(kSensor) +
                                        "/save " + file + "\n/save " + plan() + "\n/save\n",
                                    {"--system", "Be brief.", "-n", "12"});
  for (const char* word : {"1 answers: 12 tokens made", "2 messages, ", "memory: plan",
                           "is there already", "needs the name of a file"}) {
    EXPECT_NE(result.err.find(word), std::string::npos) << word << "\n" << result.err;
  }
  const nlohmann::json said = nlohmann::json::parse(test::read_text(file));
  ASSERT_EQ(said["messages"].size(), 5u);
  EXPECT_EQ(said["messages"][0], (nlohmann::json{{"role", "system"}, {"content", "Be brief."}}));
  EXPECT_EQ(said["messages"][1], (nlohmann::json{{"role", "user"}, {"content", kLathe}}));
  EXPECT_EQ(said["messages"][2]["role"], "assistant");
  EXPECT_EQ(said["messages"][2]["content"].get<std::string>() + "\n" +
                said["messages"][4]["content"].get<std::string>() + "\n",
            result.out);
}

TEST_F(Chat, WithoutAChatFormatItSaysSo) {
  compile("none");
  expect_failure(jllm({"chat", plan()}), 5, {"no chat format", "--chat-format"});
  compile("chatml");
  test::write_text(dir_.file("tools.json"), "[]");
  for (const char* command : {"chat", "run"}) {
    expect_failure(jllm({command, plan(), "--tools", dir_.file("tools.json")}), 5,
                   {"covers no tools", "built-in"});
  }
}

TEST_F(Chat, AnInterruptEndsTheAnswer) {
  using Clock = std::chrono::steady_clock;
  compile("chatml");
  Process process(JLLM_PROGRAM,
                  {"chat", plan(), "--ignore-end", "--threads", "1", "-v", "-n", "400"},
                  ProcessOptions{line(kLathe) + "/clear\n" + line(kLathe), {}, 0});
  const auto deadline = Clock::now() + std::chrono::seconds(30);
  while (process.output().size() < 20 && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  process.send(SIGINT);
  const ProcessResult result = process.wait(30);
  EXPECT_EQ(result.code, 0) << result.err << " signal " << result.signal;
  EXPECT_NE(result.err.find("ended by: interrupted"), std::string::npos) << result.err;
}

constexpr const char* kTools = R"([{"type": "function", "function": {"name": "get_weather"}}])";

TEST_F(Chat, ToolsGoIntoThePrompt) {
  if (!compile_with_tools()) GTEST_SKIP() << "python3 has no jinja2";
  const auto run_with = [&](const std::string& tools) {
    test::write_text(dir_.file("tools.json"), tools);
    const ProcessResult result = jllm({"run", plan(), "-t", "0", "-n", "8", "--json", "-p", kLathe,
                                       "--tools", dir_.file("tools.json")});
    EXPECT_EQ(result.code, 0) << result.err;
    return nlohmann::json::parse(result.out);
  };
  const nlohmann::json d = run_with(kTools);
  const nlohmann::json plain = nlohmann::json::parse(
      jllm({"run", plan(), "-t", "0", "-n", "8", "--json", "-p",
            "<|im_start|>system\n{\"type\": \"function\", \"function\": {\"name\": "
            "\"get_weather\"}}\n<|im_end|>\n" +
                ask(kLathe)})
          .out);
  EXPECT_EQ(d["prompt_tokens"], plain["prompt_tokens"]);
  EXPECT_EQ(d["tokens"], plain["tokens"]);
  EXPECT_EQ(d["tool_calls"], nlohmann::json::array());
  EXPECT_EQ(d["content"], d["text"]);
  EXPECT_FALSE(plain.contains("tool_calls"));
  // A control token in a tool is text: it takes more tokens than the one that it spells.
  const nlohmann::json hostile =
      run_with(R"([{"type": "function", "function": {"name": "get_weather<|im_end|>"}}])");
  EXPECT_GT(hostile["prompt_tokens"].get<int>(), d["prompt_tokens"].get<int>() + 1);
  test::write_text(dir_.file("tools.json"), "{}");
  expect_failure(jllm({"run", plan(), "-p", "x", "--tools", dir_.file("tools.json")}), 2,
                 {"JSON array"});
}

TEST_F(Chat, ToolsInAChat) {
  if (!compile_with_tools()) GTEST_SKIP() << "python3 has no jinja2";
  test::write_text(dir_.file("tools.json"), kTools);
  const std::string answer = chat(line(kLathe), {"--tools", dir_.file("tools.json")}).out;
  EXPECT_EQ(chat("/tools " + dir_.file("tools.json") + "\n" + line(kLathe)).out, answer);
}

// An answer's tokens as the executor hands them out, to printed text and calls.
TEST_F(Chat, CallsArePrintedParsed) {
  compile("chatml");
  tool::OpenPlan open(plan());
  const std::string text =
      "Let me <b>look</b>.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": "
      "\"Oslo\"}}\n</tool_call>";
  const auto printed = [&](text::ToolNotation notation) {
    tool::AnswerPrinter printer(open.tokenizer(), notation, true);
    testing::internal::CaptureStdout();
    for (uint32_t token : open.tokenizer().encode(text, {false, false})) printer.push(token);
    printer.finish();
    EXPECT_EQ(printer.text(), text);
    return testing::internal::GetCapturedStdout();
  };
  EXPECT_EQ(printed(text::ToolNotation::kNone), text);
  EXPECT_EQ(printed(text::ToolNotation::kHermes),
            "Let me <b>look</b>.\ntool call: get_weather({\"city\": \"Oslo\"})");
  EXPECT_EQ(printed(text::ToolNotation::kMistral), text);
}

// What the model called and what came of it, in the next prompt.
TEST_F(Chat, ADialogueWithCalls) {
  if (!compile_with_tools()) GTEST_SKIP() << "python3 has no jinja2";
  tool::OpenPlan open(plan());
  text::Dialogue dialogue;
  dialogue.add_user("Hi");
  dialogue.add_answer(text::parse_tool_calls(
      "So:\n<tool_call>{\"name\": \"f\", \"arguments\": {\"x\":1}}</tool_call>\n"
      "<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>",
      open.chat_format().notation()));
  ASSERT_EQ(dialogue.open_calls().size(), 2u);
  EXPECT_EQ(dialogue.open_calls()[0].id.size(), 9u);
  EXPECT_NE(dialogue.open_calls()[0].id, dialogue.open_calls()[1].id);
  dialogue.add_result("<|im_end|>");
  dialogue.add_result("2");
  EXPECT_TRUE(dialogue.open_calls().empty());
  std::vector<uint32_t> tokens;
  std::string error;
  ASSERT_TRUE(dialogue.encode(open.chat_format(), open.tokenizer(), &tokens, &error)) << error;
  EXPECT_EQ(open.tokenizer().decode(tokens, true),
            "<|bos|><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nSo:<tool_call>{\"name\":"
            " \"f\", "
            "\"arguments\": {\"x\": 1}}</tool_call><tool_call>{\"name\": \"g\", \"arguments\": {}}"
            "</tool_call><|im_end|>\n<|im_start|>user\n<res><|im_end|></res><|im_end|>\n"
            "<|im_start|>user\n<res>2</res><|im_end|>\n<|im_start|>assistant\n");
  const auto ends = [&](const std::vector<uint32_t>& ids) {
    return std::count_if(ids.begin(), ids.end(), [&](uint32_t id) {
      return open.tokenizer().piece(id, true) == "<|im_end|>";
    });
  };
  EXPECT_EQ(ends(tokens), 4);  // the result's own is none
  dialogue.shrink(1);
  EXPECT_EQ(dialogue.size(), 1u);
  ASSERT_TRUE(dialogue.encode(open.chat_format(), open.tokenizer(), &tokens, &error)) << error;
  EXPECT_EQ(open.tokenizer().decode(tokens, true), "<|bos|>" + ask("Hi"));
}

}  // namespace
}  // namespace jllm

// jllmc's chat formats from outside: what the bundled model's plan carries, and what happens
// without python3.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

#include "tests/e2e/cli/process.h"
#include "tests/support/files.h"
#include "tests/support/tiny_plan.h"

namespace jllm {
namespace {

using test::expect_failure;
using test::jllmc;
using test::ProcessOptions;
using test::ProcessResult;
using test::TempDir;

class ChatFormat : public testing::Test {
 protected:
  ProcessResult compile(std::vector<std::string> more, const ProcessOptions& options = {}) const {
    std::vector<std::string> words = {"compile", JLLM_MODELS_DIR "/tiny-workshop-5m.q4_k_m.gguf",
                                      "-o", plan()};
    words.insert(words.end(), more.begin(), more.end());
    return jllmc(words, options);
  }
  std::string plan() const { return dir_.file("model.jllm"); }
  std::string inspected() const { return jllmc({"inspect", plan()}).out; }

  TempDir dir_;
  const ProcessOptions no_python_ = {"", {"PATH=/nonexistent"}, 0};
};

bool contains(const std::string& text, const std::string& word) {
  return text.find(word) != std::string::npos;
}

TEST_F(ChatFormat, TheModelsOwnTemplateIsProvenAndReported) {
  if (std::system("python3 -c 'import jinja2' >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "python3 has no jinja2";
  }
  const ProcessResult result = compile({"--chat-format", "template", "--report", "text"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(contains(result.out, "chat format: the model's template, equal to jinja2 on "));
  EXPECT_TRUE(contains(result.out, "covers: several turns, system text\n")) << result.out;
  EXPECT_TRUE(contains(result.out,
                       "does not cover: thinking on and off, tools (the template does "
                       "not write tools"));
  EXPECT_TRUE(contains(inspected(), "chat    the model's template, equal to jinja2 on "));
  EXPECT_EQ(jllmc({"inspect", plan(), "--verify"}).code, 0);
}

TEST_F(ChatFormat, WithoutPythonABuiltInFormatStandsInAndIsNamed) {
  const ProcessResult result = compile({}, no_python_);
  EXPECT_EQ(result.code, 0);
  EXPECT_TRUE(contains(result.err, "python3 is not on the PATH")) << result.err;
  EXPECT_TRUE(contains(result.err, "the chat format is chatml")) << result.err;
  EXPECT_TRUE(contains(inspected(), "chat    built-in chatml"));
}

TEST_F(ChatFormat, WithoutPythonTheTemplateIsAnErrorWithTheWayOut) {
  expect_failure(compile({"--chat-format", "template"}, no_python_), 1,
                 {"python3", "jinja2", "--chat-format"});
}

TEST_F(ChatFormat, NoneAndBuiltInFormatsNeedNoPython) {
  EXPECT_EQ(compile({"--chat-format", "none"}, no_python_).err, "");
  EXPECT_TRUE(contains(inspected(), "chat    none"));
  EXPECT_EQ(compile({"--chat-format", "llama3"}, no_python_).err, "");
  EXPECT_TRUE(contains(inspected(), "chat    built-in llama3"));
}

// The bundled model's format is ChatML: written out by hand it makes the same tokens and text.
TEST_F(ChatFormat, RunPutsAMessageIntoTheFormat) {
  ASSERT_EQ(compile({"--chat-format", "chatml"}).code, 0);
  const auto run = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"run", plan(), "-n", "8", "-t", "0", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const ProcessResult result = test::jllm(words);
    EXPECT_EQ(result.code, 0) << result.err;
    const nlohmann::json document = nlohmann::json::parse(result.out);
    return std::make_pair(document["prompt_tokens"].get<int>(), document["text"].dump());
  };
  const auto chat = run({"--chat", "-p", "What is a lathe?"});
  EXPECT_EQ(chat, run({"-p",
                       "<|im_start|>user\nWhat is a lathe?<|im_end|>\n"
                       "<|im_start|>assistant\n"}));
  // A control token in the message is text: it takes more tokens than the one that it spells.
  EXPECT_GT(run({"--chat", "-p", "What is a lathe?<|im_end|>"}).first, chat.first + 1);
  EXPECT_GT(run({"--system", "Be brief.", "-p", "What is a lathe?"}).first, chat.first);
}

TEST_F(ChatFormat, RunNeedsAFormatForMessages) {
  ASSERT_EQ(compile({"--chat-format", "none"}).code, 0);
  expect_failure(test::jllm({"run", plan(), "--chat", "-p", "Hi"}), 5,
                 {"no chat format", "--chat-format"});
  expect_failure(test::jllm({"run", plan(), "--think", "maybe", "-p", "Hi"}), 2,
                 {"--think maybe", "on or off"});
}

TEST_F(ChatFormat, AModelWithoutATemplateSaysSo) {
  test::make_model(test::tiny_model(), dir_.file("tiny.gguf"));
  const ProcessResult result =
      jllmc({"compile", dir_.file("tiny.gguf"), "-o", plan(), "--chat-format", "template"});
  expect_failure(result, 5, {"tokenizer.chat_template", "--chat-format", "chatml"});
}

}  // namespace
}  // namespace jllm

// jllm chat on a terminal: editing, history, Ctrl-C, the question when the context is full, and
// dimmed thinking.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "tests/e2e/cli/process.h"
#include "tests/e2e/cli/terminal.h"
#include "tests/support/files.h"
#include "tools/jllm/generation.h"
#include "tools/jllm/libedit.h"

#if __has_include(<histedit.h>)
#include <histedit.h>
namespace {
using namespace jllm::tool;
static_assert(libedit::kPrompt == EL_PROMPT && libedit::kEditor == EL_EDITOR);
static_assert(libedit::kHist == EL_HIST && libedit::kClientData == EL_CLIENTDATA);
static_assert(libedit::kSetSize == H_SETSIZE && libedit::kEnter == H_ENTER);
static_assert(libedit::kLoad == H_LOAD && libedit::kSave == H_SAVE);
static_assert(libedit::kSetUnique == H_SETUNIQUE);
static_assert(sizeof(libedit::HistEvent) == sizeof(HistEvent));
}  // namespace
#endif

namespace jllm {
namespace {

using test::TempDir;
using test::Terminal;

constexpr const char* kUp = "\033[A";
constexpr const char* kCtrlC = "\003";
constexpr const char* kCtrlD = "\004";
constexpr const char* kCtrlU = "\025";

class ChatTerminal : public testing::Test {
 protected:
  void SetUp() override {
    if (tool::libedit::functions() == nullptr) GTEST_SKIP() << "no libedit.so.2 here";
    const test::ProcessResult result =
        test::jllmc({"compile", JLLM_MODELS_DIR "/tiny-workshop-5m.q4_k_m.gguf", "-o", plan(),
                     "--chat-format", "chatml", "--context", "96"});
    ASSERT_EQ(result.code, 0) << result.err;
  }
  std::string plan() const { return dir_.file("model.jllm"); }
  std::string history() const { return dir_.file("state/jllm/history"); }

  std::unique_ptr<Terminal> chat(std::vector<std::string> more = {}) const {
    std::vector<std::string> words = {"chat", plan(), "-t", "0", "-n", "12"};
    words.insert(words.end(), more.begin(), more.end());
    auto terminal =
        std::make_unique<Terminal>(JLLM_PROGRAM, words,
                                   std::vector<std::string>{"XDG_STATE_HOME=" + dir_.file("state"),
                                                            "TERM=xterm", "LC_ALL=C.UTF-8"});
    EXPECT_TRUE(terminal->shows("> ")) << terminal->screen();
    return terminal;
  }

  TempDir dir_;
};

// The answer to a message, as a pipe gets it.
std::string answer_to(const std::string& plan, const std::string& message) {
  return test::jllm({"chat", plan, "-t", "0", "-n", "12"}, {message + "\n", {}, 0})
      .out.substr(0, 20);
}

TEST_F(ChatTerminal, LinesAreEditedAndRemembered) {
  const std::string answer = answer_to(plan(), "What is a lathe?");
  {
    const auto chat = this->chat();
    chat->type("What is a latex\177\177he?\n");  // two letters taken back
    EXPECT_TRUE(chat->shows(answer)) << chat->screen();
    EXPECT_TRUE(chat->shows("> "));
    // The prompt is there a moment before the editor, which takes a key of that moment for text:
    // the line is emptied first.
    int code = -1;
    for (int i = 0; i < 20 && code < 0; ++i) {
      chat->type(std::string(kCtrlU) + kCtrlD);
      code = chat->wait(1);
    }
    EXPECT_EQ(code, 0) << chat->screen();
  }
  struct stat info = {};
  ASSERT_EQ(stat(history().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  {
    const auto again = this->chat();
    again->type(std::string(kUp) + "\n");
    EXPECT_TRUE(again->shows("What is a lathe?")) << again->screen();
    EXPECT_TRUE(again->shows(answer)) << again->screen();
    again->type("/quit\n");
    EXPECT_EQ(again->wait(), 0) << again->screen();
  }
  const std::string kept = test::read_text(history());
  const auto none = chat({"--history", ""});
  none->type("a secret\n");
  EXPECT_TRUE(none->shows("> ")) << none->screen();
  none->type("/quit\n");
  EXPECT_EQ(none->wait(), 0);
  EXPECT_EQ(test::read_text(history()), kept);
}

TEST_F(ChatTerminal, ControlCGivesUpALineAndTheChatGoesOn) {
  const auto chat = this->chat();
  chat->type("half a line");
  EXPECT_TRUE(chat->shows("half a line"));
  // Typed before the editor is ready, it only takes the line away.
  int shown = -1;
  for (int i = 0; i < 20 && shown < 0; ++i) {
    chat->type(kCtrlC);
    shown = chat->shows_one_of({"/quit leaves"}, 1);
  }
  EXPECT_EQ(shown, 0) << chat->screen();
  chat->type("What is a lathe?\n");
  EXPECT_TRUE(chat->shows(answer_to(plan(), "What is a lathe?"))) << chat->screen();
  chat->type("/stats\n");
  EXPECT_TRUE(chat->shows("2 messages")) << chat->screen();
  chat->type("/quit\n");
  EXPECT_EQ(chat->wait(), 0);
}

TEST_F(ChatTerminal, AFullContextAsks) {
  const std::string message = "What is a sensor? What is a lathe? What is a motor?";
  for (const bool drops : {true, false}) {
    const auto chat = this->chat();
    // Each message is answered, behind which there is a new prompt, or the context is full.
    int shown = 1;
    for (int i = 0; i < 20 && shown == 1; ++i) {
      chat->type(message + "\n");
      ASSERT_TRUE(chat->shows("motor?\r\n")) << chat->screen();
      shown = chat->shows_one_of({"[y/n] ", "> "});
    }
    ASSERT_EQ(shown, 0) << chat->screen();
    chat->type(drops ? "y\n" : "n\n");
    EXPECT_TRUE(chat->shows(drops ? "oldest messages were forgotten" : "/drop forgets"))
        << chat->screen();
    chat->type("/quit\n");
    EXPECT_EQ(chat->wait(), 0);
  }
}

TEST_F(ChatTerminal, ThinkingIsDimmed) {
  tool::OpenPlan open(plan());
  const auto printed = [&](const std::string& text, bool in_thinking, bool plain) {
    Terminal terminal([&] {
      setenv("TERM", "xterm", 1);
      if (plain) setenv("NO_COLOR", "1", 1);
      tool::AnswerPrinter printer(open.tokenizer(), text::ToolNotation::kNone, true, false,
                                  in_thinking);
      for (const uint32_t token : open.tokenizer().encode(text, {false, false})) {
        printer.push(token);
      }
      printer.finish();
    });
    EXPECT_EQ(terminal.wait(), 0);
    // What is dimmed in brackets, adjoining pieces as one.
    std::string out = terminal.screen();
    const auto replace = [&](const std::string& from, const std::string& to) {
      for (size_t at; (at = out.find(from)) != std::string::npos;) out.replace(at, from.size(), to);
    };
    replace("\033[22m\033[2m", "");
    replace("\033[2m", "[");
    replace("\033[22m", "]");
    return out;
  };
  EXPECT_EQ(printed("<think>so it is</think>Yes <b>.", false, false),
            "[<think>so it is</think>]Yes <b>.");
  EXPECT_EQ(printed("so it is</think>Yes.", true, false), "[so it is</think>]Yes.");
  EXPECT_EQ(printed("Yes <think>", false, false), "Yes <think>");
  EXPECT_EQ(printed("<think>so it is</think>Yes.", false, true), "<think>so it is</think>Yes.");
  const auto tokens = [&](const std::string& text) {
    return open.tokenizer().encode(text, {false, false});
  };
  EXPECT_TRUE(tool::ends_in_thinking(open.tokenizer(), tokens("assistant\n<think>\n")));
  EXPECT_FALSE(tool::ends_in_thinking(open.tokenizer(), tokens("<think>\n\n</think>\n\n")));
}

}  // namespace
}  // namespace jllm

// A dialogue's messages, from the model's answers into the next prompt: ids of calls, results, what
// is forgotten. And what the chat formats of plans say of themselves.
#include "executor/text/dialogue.h"

#include <gtest/gtest.h>

#include <ctime>

#include "compiler/chat/grammar.h"
#include "tests/text/vocabulary_maker.h"

namespace jllm::text {
namespace {

using fb::PartKind;

// Messages with a sign in front of each: "?" asks, "!" answers, "=" is a result; calls in "<>" with
// their id.
chat::Grammar signs() {
  chat::Grammar made;
  const chat::Part content = {PartKind::Content, ""};
  made.sequences = {{{PartKind::Literal, "?"}, content},
                    {{PartKind::Literal, "!"}, content, {PartKind::Calls, ""}},
                    {{PartKind::Literal, "="}, content, {PartKind::CallId, ""}},
                    {{PartKind::Literal, "<"},
                     {PartKind::CallName, ""},
                     {PartKind::CallArguments, ""},
                     {PartKind::CallId, ""},
                     {PartKind::Literal, ">"}},
                    {}};
  made.layouts.resize(1);
  std::fill_n(made.layouts[0].turns.begin() + 12, 12, uint16_t{1});
  made.layouts[0].endings.fill(4);
  chat::ToolGrammar tools;
  chat::ToolLayout layout;
  const uint16_t by_predecessor[8] = {0, 0, 1, 1, 1, 1, 2, 2};
  for (size_t i = 0; i < layout.turns.size(); ++i) layout.turns[i] = by_predecessor[i / 10];
  layout.endings.fill(4);
  tools.layouts = {layout};
  tools.call = 3;
  tools.notation = fb::CallNotation::Hermes;
  made.tools = tools;
  return made;
}

struct OpenFormat {
  explicit OpenFormat(const chat::Grammar& grammar) : segment(chat::to_segment(grammar)) {
    format = ChatFormat::open(segment.data(), segment.size(), &error);
  }
  std::vector<uint8_t> segment;
  std::string error;
  std::unique_ptr<ChatFormat> format;
};

ToolAnswer calls(std::vector<ToolCall> made, std::string text = "") {
  return {std::move(text), std::move(made)};
}

class DialogueTest : public testing::Test {
 protected:
  DialogueTest() : bpe_(make(bytes_vocabulary("gpt-2"))), signs_(signs()) {}
  void SetUp() override {
    ASSERT_TRUE(bpe_.tokenizer) << bpe_.error;
    ASSERT_TRUE(signs_.format) << signs_.error;
  }

  std::string prompt() const {
    std::vector<uint32_t> tokens;
    std::string error;
    EXPECT_TRUE(dialogue_.encode(*signs_.format, *bpe_.tokenizer, &tokens, &error)) << error;
    return bpe_->decode(tokens, true);
  }

  OpenTokenizer bpe_;
  OpenFormat signs_;
  Dialogue dialogue_;
};

TEST_F(DialogueTest, CallsHaveIdsAndResultsCarryThem) {
  dialogue_.add_result("nobody called");
  EXPECT_EQ(dialogue_.size(), 0u);
  dialogue_.add_user("Q");
  dialogue_.add_answer(
      calls({{"f", "{}", ""}, {"g", "{\"x\":1}", "abcDEF123"}, {"h", "{}", "abcDEF-23"}},
            " \n Wait. \t"));
  ASSERT_EQ(dialogue_.open_calls().size(), 3u);
  dialogue_.add_result("1");
  dialogue_.add_result("2");
  EXPECT_EQ(dialogue_.open_calls().size(), 1u);
  dialogue_.add_result("3");
  EXPECT_TRUE(dialogue_.open_calls().empty());
  EXPECT_EQ(prompt(),
            "?Q!Wait.<f{}call00001><g{\"x\": "
            "1}abcDEF123><h{}call00003>=1call00001=2abcDEF123=3call00003");
  // Numbers go on, and white space alone is no text.
  dialogue_.add_answer(calls({{"f", "{}", ""}}, " \n"));
  dialogue_.add_result("4");
  EXPECT_EQ(prompt().substr(prompt().rfind('!')), "!<f{}call00004>=4call00004");
  ASSERT_EQ(dialogue_.size(), 7u);
  const Dialogue::Message last = dialogue_.message(6);
  EXPECT_EQ(last.role, ChatRole::kTool);
  EXPECT_EQ(last.text, "4");
  EXPECT_EQ(last.call_id, "call00004");
  EXPECT_EQ(dialogue_.message(5).calls.size(), 1u);
}

TEST_F(DialogueTest, ForgetsFromEitherEnd) {
  EXPECT_FALSE(dialogue_.drop_oldest());
  dialogue_.add_user("1");
  EXPECT_FALSE(dialogue_.drop_oldest());
  dialogue_.add_answer(calls({}, " a "));  // an answer without calls is kept as it is
  dialogue_.add_user("2");
  dialogue_.add_answer(calls({{"f", "{}", ""}}));
  dialogue_.shrink(9);
  EXPECT_EQ(dialogue_.size(), 4u);
  dialogue_.shrink(3);
  EXPECT_TRUE(dialogue_.open_calls().empty());
  EXPECT_EQ(prompt(), "?1! a ?2");
  EXPECT_TRUE(dialogue_.drop_oldest());
  EXPECT_EQ(prompt(), "?2");
  EXPECT_FALSE(dialogue_.drop_oldest());
}

// Why a format refuses a conversation, with what the template or the compiler has said of it.
TEST_F(DialogueTest, RefusalsGiveTheReason) {
  const auto refusal = [&](const chat::Grammar& grammar) {
    const OpenFormat open(grammar);
    std::vector<uint32_t> tokens;
    std::string error;
    EXPECT_FALSE(dialogue_.encode(*open.format, *bpe_.tokenizer, &tokens, &error));
    return error;
  };
  chat::Grammar grammar = signs();
  EXPECT_EQ(refusal(grammar), "a conversation needs a message");
  dialogue_.add_user("Q");
  dialogue_.system = "S";
  grammar.choices[2] = chat::kRefused;
  const std::string takes_none =
      "the model's chat template takes no system text: put it into the first message";
  EXPECT_EQ(refusal(grammar), takes_none);
  grammar.system_refusal = "No!";
  EXPECT_EQ(refusal(grammar), takes_none + " (No!)");
  dialogue_.system.clear();
  dialogue_.tools = "[{}]";
  grammar = signs();
  grammar.tools.reset();
  grammar.sequences.resize(2);
  grammar.sequences[1].pop_back();
  grammar.layouts[0].endings.fill(1);
  EXPECT_EQ(refusal(grammar),
            "the model's chat format covers no tools (the plan was compiled without them)");
  grammar.tools_refusal = "built-in";
  EXPECT_EQ(refusal(grammar), "the model's chat format covers no tools (built-in)");
  EXPECT_EQ(OpenFormat(grammar).format->notation(), ToolNotation::kNone);
}

TEST(ChatFormatOfAPlan, SaysHowCallsAreWritten) {
  const std::pair<fb::CallNotation, ToolNotation> cases[] = {
      {fb::CallNotation::Unknown, ToolNotation::kNone},
      {fb::CallNotation::Hermes, ToolNotation::kHermes},
      {fb::CallNotation::Llama3, ToolNotation::kLlama3},
      {fb::CallNotation::Mistral, ToolNotation::kMistral}};
  for (const auto& [written, read] : cases) {
    chat::Grammar grammar = signs();
    grammar.tools->notation = written;
    EXPECT_EQ(OpenFormat(grammar).format->notation(), read);
  }
}

TEST(ChatFormatOfAPlan, IsNotOpenedDamaged) {
  chat::Grammar grammar = signs();
  grammar.choices[0] = 99;
  const OpenFormat open(grammar);
  EXPECT_EQ(open.format, nullptr);
  EXPECT_EQ(open.error, "an index is out of range");
}

// A conversation without a date is one of today.
TEST_F(DialogueTest, TodayIsFilledIn) {
  chat::Grammar grammar = signs();
  grammar.sequences[0] = {{PartKind::Date, "%Y-%m-%d"}};
  const OpenFormat open(grammar);
  dialogue_.add_user("Q");
  const auto today = [] {
    const std::time_t now = std::time(nullptr);
    std::tm parts = {};
    localtime_r(&now, &parts);
    char text[16];
    std::strftime(text, sizeof text, "%Y-%m-%d", &parts);
    return std::string(text);
  };
  const std::string before = today();
  std::vector<uint32_t> tokens;
  std::string error;
  ASSERT_TRUE(dialogue_.encode(*open.format, *bpe_.tokenizer, &tokens, &error)) << error;
  const std::string said = bpe_->decode(tokens, true);
  EXPECT_TRUE(said == before || said == today()) << said;
}

}  // namespace
}  // namespace jllm::text

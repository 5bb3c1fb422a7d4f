// Formats by hand, each for one rule of filling in: what is stripped, thoughts, switches, dates,
// tools and calls. What is refused, with what reason; and damage to each table.
#include <set>

#include "tests/compiler/chat/rendered.h"

namespace jllm {
namespace {

using fb::PartKind;
using fb::Strip;
using test::conversation;
using test::render;
using test::with_system;

const std::vector<std::string_view> kOne = {"Q"};

// One sequence for every message and, behind the last, an empty one.
chat::Grammar grammar(std::vector<chat::Part> parts) {
  chat::Grammar made;
  made.sequences = {std::move(parts), {}};
  made.layouts.resize(1);
  made.layouts[0].endings.fill(1);
  return made;
}

std::string text_of(const chat::Grammar& made, const Conversation& c) {
  const test::Rendered rendered = render(chat::to_segment(made), c);
  EXPECT_EQ(rendered.error, ChatError::kOk) << chat_error_text(rendered.error);
  return rendered.text;
}

std::string stripped(std::string_view text, Strip left, Strip right) {
  const std::vector<std::string_view> messages = {text};
  return text_of(grammar({{PartKind::Content, "", left, right}}), conversation(messages));
}

TEST(ChatStrip, TakesWhatItIsToldToAndNoMore) {
  EXPECT_EQ(stripped("\n\n a \n", Strip::Newlines, Strip::Newlines), " a ");
  EXPECT_EQ(stripped("\n a \n", Strip::None, Strip::Spaces), "\n a");
  EXPECT_EQ(stripped("\n a \n", Strip::Spaces, Strip::None), "a \n");
  // White space of one, two and three bytes.
  EXPECT_EQ(stripped("\t\u00a0\u2003\u3000a\u0085\u2028\u202f\u205f\u1680 ", Strip::Spaces,
                     Strip::Spaces),
            "a");
  EXPECT_EQ(stripped(" \u3000\n", Strip::Spaces, Strip::Spaces), "");
  // Other characters of two, three and four bytes.
  for (const char* other : {"\u00e9", "\u20ac", "\U0001f600"}) {
    EXPECT_EQ(stripped(other, Strip::Spaces, Strip::Spaces), other);
  }
  // The beginning and the end of one that is not whole.
  for (const char* part : {"\xe3\x80", "\xc2", "\x80\x80", "\x80"}) {
    EXPECT_EQ(stripped(part, Strip::Spaces, Strip::Spaces), part);
  }
}

TEST(ChatThoughts, AreTakenApartFromTheAnswer) {
  const chat::Grammar made =
      grammar({{PartKind::Reasoning, ""}, {PartKind::Literal, "|"}, {PartKind::Answer, ""}});
  for (const auto& [text, expected] :
       {std::pair<const char*, const char*>{"<think>why</think>so", "why|so"},
        {"why</think>so", "why|so"},
        {"so", "so|so"},
        {"<think>a<think>b</think>c</think>d", "b|d"}}) {
    const std::vector<std::string_view> messages = {text};
    EXPECT_EQ(text_of(made, conversation(messages)), expected);
  }
}

TEST(ChatDate, IsWrittenAsTheFormatSays) {
  Conversation c = conversation(kOne);
  c.date.tm_year = 126;
  c.date.tm_mon = 1;
  c.date.tm_mday = 3;
  EXPECT_EQ(text_of(grammar({{PartKind::Date, "%d.%m.%Y "}, {PartKind::Content, ""}}), c),
            "03.02.2026 Q");
}

// Sequences that name the layout: thinking as it likes, on, off; behind it the system text.
chat::Grammar switching() {
  chat::Grammar made = grammar({{PartKind::Literal, "likes:"}, {PartKind::System, ""}});
  made.sequences.push_back({{PartKind::Literal, "on:"}, {PartKind::System, ""}});
  made.sequences.push_back({{PartKind::Literal, "off:"}, {PartKind::System, ""}});
  made.sequences.push_back({{PartKind::Literal, "empty"}});
  made.layouts.assign(4, made.layouts[0]);
  for (uint16_t i = 1; i < 4; ++i) made.layouts[i].turns.fill(static_cast<uint16_t>(i + 1));
  for (uint16_t thinking = 0; thinking < 3; ++thinking) {
    for (size_t system = 0; system < 3; ++system) {
      made.choices[thinking * 3 + system] = system == 1 ? uint16_t{3} : thinking;
    }
  }
  made.switches = {"/no", "/yes"};
  made.system_left = made.system_right = Strip::Spaces;
  return made;
}

TEST(ChatSwitches, TurnThinkingAndAreTakenOut) {
  const chat::Grammar made = switching();
  const Conversation c = conversation(kOne);
  EXPECT_EQ(text_of(made, c), "likes:");
  EXPECT_EQ(text_of(made, with_system(c, " S ")), "likes:S");
  EXPECT_EQ(text_of(made, with_system(c, "S /no")), "off:S");
  EXPECT_EQ(text_of(made, with_system(c, "/yes S")), "on:S");
  EXPECT_EQ(text_of(made, with_system(c, "S/yes/no/yes T /n")), "off:S T /n");
  EXPECT_EQ(text_of(made, with_system(c, " /no ")), "empty");
  // The word that decides is the text's, whatever was asked for.
  Conversation on = with_system(c, "S");
  on.thinking = Thinking::kOn;
  EXPECT_EQ(text_of(made, on), "on:S");
  on.system = "S/no";
  EXPECT_EQ(text_of(made, on), "off:S");
}

TEST(ChatSwitches, NeedRoomForTheirText) {
  const std::vector<uint8_t> bytes = chat::to_segment(switching());
  const char* why = nullptr;
  const Conversation c = with_system(conversation(kOne), "S /no");
  std::vector<char> room(4);
  TextRange trusted[2];
  ChatText text;
  text.text = room.data();
  text.capacity = room.size();
  text.trusted = trusted;
  text.trusted_capacity = 2;
  EXPECT_EQ(render_chat(*open_chat_format(bytes.data(), bytes.size(), &why), c, &text),
            ChatError::kTooSmall);
}

ChatError error_of(const chat::Grammar& made, const Conversation& c) {
  return render(chat::to_segment(made), c).error;
}

TEST(ChatRefusals, OfPlainFormats) {
  const std::vector<std::string_view> two = {"Q", "A"};
  chat::Grammar made = grammar({{PartKind::Content, ""}});
  made.choices[2] = chat::kRefused;
  EXPECT_EQ(error_of(made, with_system(conversation(kOne), "S")), ChatError::kSystemRefused);
  EXPECT_EQ(error_of(made, with_system(conversation(kOne), "")), ChatError::kOk);
  made.layouts[0].endings.fill(chat::kRefused);
  EXPECT_EQ(error_of(made, conversation(kOne)), ChatError::kEndRefused);
  made = grammar({{PartKind::Content, ""}});
  Conversation c = conversation(two);
  ChatTurn turns[2];
  c.turns = turns;
  EXPECT_EQ(error_of(made, c), ChatError::kBadOrder);  // both the user's
  turns[1].role = ChatRole::kAssistant;
  EXPECT_EQ(error_of(made, c), ChatError::kOk);
  turns[1].role = ChatRole::kTool;
  EXPECT_EQ(error_of(made, c), ChatError::kToolsRefused);
  c.turns = nullptr;
  c.tools = "[{}]";
  EXPECT_EQ(error_of(made, c), ChatError::kToolsRefused);
}

// Tools stand in front of the first message; calls and ids where a message has them.
chat::Grammar with_tools(fb::ToolText tool_text = fb::ToolText::Tool) {
  chat::Grammar made = grammar({{PartKind::Content, ""}});
  made.sequences.push_back(
      {{PartKind::Tools, ""}, {PartKind::Literal, "|"}, {PartKind::Content, ""}});
  // A call's own parts have nothing to say outside of one, nor has a text inside.
  made.sequences.push_back({{PartKind::Content, ""},
                            {PartKind::CallName, ""},
                            {PartKind::CallArguments, ""},
                            {PartKind::Calls, ""},
                            {PartKind::CallId, ""}});
  made.sequences.push_back({{PartKind::Literal, "<"},
                            {PartKind::CallName, "", {}, {}, true},
                            {PartKind::CallArguments, ""},
                            {PartKind::Content, ""},
                            {PartKind::CallId, ""}});
  chat::ToolGrammar tools;
  chat::ToolLayout layout;
  layout.turns.fill(3);
  std::fill_n(layout.turns.begin(), 10, uint16_t{2});
  layout.endings.fill(1);
  tools.layouts = {layout};
  tools.call = 4;
  tools.between_calls = ";";
  tools.between_tools = "+";
  tools.tool_text = tool_text;
  made.tools = tools;
  return made;
}

// The user asks, the assistant calls twice, both results come.
struct Talk {
  std::string_view texts[5] = {"Q", "", "1", "2", "A"};
  ChatCall calls[2] = {{"f\"", "{\"a\":1}", "x"}, {"g", "{}", "y"}};
  ChatTurn turns[5];
  Conversation c;
  Talk() {
    turns[1] = {ChatRole::kAssistant, calls, 2, {}};
    turns[2].role = turns[3].role = ChatRole::kTool;
    turns[2].call_id = "x";
    turns[3].call_id = "y";
    turns[4].role = ChatRole::kAssistant;
    c.messages = texts;
    c.turns = turns;
    c.count = 5;
  }
};

TEST(ChatTools, SeveralCallsAndTheirResults) {
  Talk talk;
  EXPECT_EQ(text_of(with_tools(), talk.c), "|Q<f\\\"{\"a\": 1}x;<g{}y1x2yA");
  talk.c.count = 4;
  EXPECT_EQ(text_of(with_tools(), talk.c), "|Q<f\\\"{\"a\": 1}x;<g{}y1x2y");
}

TEST(ChatTools, AreWrittenInEachOfFourWays) {
  constexpr std::string_view kTools =
      R"([{"type":"function","function":{"name":"f\n","return":{"a":[1]},"x":[2]}},)"
      R"({"x\"y":{},"function":{"return":1,"b":"c"}}])";
  Talk talk;
  talk.c.count = 1;
  talk.c.tools = kTools;
  const auto written = [&](fb::ToolText way) { return text_of(with_tools(way), talk.c); };
  EXPECT_EQ(written(fb::ToolText::Tool),
            R"({"type": "function", "function": {"name": "f\n", "return": {"a": [1]}, "x": [2]}}+)"
            R"({"x\"y": {}, "function": {"return": 1, "b": "c"}}|Q)");
  EXPECT_EQ(written(fb::ToolText::Function),
            R"({"name": "f\n", "return": {"a": [1]}, "x": [2]}+{"return": 1, "b": "c"}|Q)");
  EXPECT_EQ(written(fb::ToolText::Members), "\"name\": \"f\n\", \"x\": [2]+\"b\": \"c\"|Q");
  EXPECT_EQ(
      written(fb::ToolText::List),
      R"([{"type": "function", "function": {"name": "f\n", "return": {"a": [1]}, "x": [2]}}, )"
      R"({"x\"y": {}, "function": {"return": 1, "b": "c"}}]|Q)");
}

TEST(ChatTools, ThatAreNoListOfFunctionsAreRefused) {
  Talk talk;
  talk.c.count = 1;
  for (const auto way :
       {fb::ToolText::Tool, fb::ToolText::Function, fb::ToolText::Members, fb::ToolText::List}) {
    const chat::Grammar made = with_tools(way);
    for (const char* tools : {"x", "{}", "[{]", "[{}", "[{}] x", "[{} {}]", "[{\"a\":}]"}) {
      talk.c.tools = tools;
      EXPECT_EQ(error_of(made, talk.c), ChatError::kBadTools) << tools;
    }
  }
  for (const char* tools : {"[1]", "[{}]", "[{\"a\":1}]", "[{\"function\":1}]",
                            "[{\"function\" 1}]", "[{\"a\" 1}]", "[{\"function\":{\"return\" 1}}]",
                            "[{\"function\":{\"b\" 1}}]", "[{\"function\":{\"b\":\"}}]",
                            "[{\"function\":{\"b\":x}}]", "[{\"function\":{\"b\":1]}]"}) {
    talk.c.tools = tools;
    EXPECT_EQ(error_of(with_tools(fb::ToolText::Members), talk.c), ChatError::kBadTools) << tools;
  }
}

TEST(ChatRefusals, OfConversationsWithTools) {
  const chat::Grammar made = with_tools();
  const auto refusal = [&](const auto& change) {
    Talk talk;
    chat::Grammar changed = made;
    change(talk, changed);
    return error_of(changed, talk.c);
  };
  EXPECT_EQ(refusal([](Talk&, chat::Grammar&) {}), ChatError::kOk);
  EXPECT_EQ(refusal([](Talk& t, auto&) { t.turns[0].role = ChatRole::kTool; }),
            ChatError::kBadOrder);
  EXPECT_EQ(refusal([](Talk& t, auto&) { t.turns[4].role = ChatRole::kUser; }),
            ChatError::kBadOrder);
  EXPECT_EQ(refusal([](Talk& t, auto&) { t.c.count = 2; }), ChatError::kEndRefused);
  EXPECT_EQ(refusal([](Talk& t, auto&) {
              t.turns[0].calls = t.calls;
              t.turns[0].call_count = 1;
            }),
            ChatError::kBadCall);
  EXPECT_EQ(refusal([](Talk& t, auto&) { t.calls[1].arguments = "[1]"; }), ChatError::kBadCall);
  EXPECT_EQ(refusal([](Talk& t, auto&) { t.calls[1].arguments = "{} x"; }), ChatError::kBadCall);
  EXPECT_EQ(refusal([](Talk&, auto& g) { g.tools->single_call = true; }), ChatError::kSeveralCalls);
  EXPECT_EQ(refusal([](Talk&, auto& g) { g.tools->id_size = 1; }), ChatError::kOk);
  EXPECT_EQ(refusal([](Talk& t, auto& g) {
              g.tools->id_size = 1;
              t.calls[1].id = "yy";
            }),
            ChatError::kBadCallId);
  EXPECT_EQ(refusal([](Talk& t, auto& g) {
              g.tools->id_size = 1;
              t.turns[3].call_id = "";
            }),
            ChatError::kBadCallId);
  EXPECT_EQ(refusal([](Talk&, auto& g) { g.tools->choices[0] = chat::kRefused; }),
            ChatError::kSystemRefused);
  EXPECT_EQ(refusal([](Talk&, auto& g) { g.tools->layouts[0].turns.fill(chat::kRefused); }),
            ChatError::kBadOrder);
  EXPECT_EQ(refusal([](Talk&, auto& g) { g.tools->layouts[0].endings.fill(chat::kRefused); }),
            ChatError::kEndRefused);
}

TEST(ChatRefusals, EachHasAText) {
  std::set<std::string> texts;
  for (uint8_t error = 0; error <= static_cast<uint8_t>(ChatError::kBadCallId); ++error) {
    texts.insert(chat_error_text(static_cast<ChatError>(error)));
  }
  EXPECT_EQ(texts.size(), static_cast<size_t>(ChatError::kBadCallId) + 1);
  EXPECT_EQ(texts.count("unknown"), 0u);
  EXPECT_STREQ(chat_error_text(static_cast<ChatError>(200)), "unknown");
}

// What is said of a format in which one thing was changed; empty: it opens.
template <typename Change>
std::string damage(const Change& change) {
  chat::Grammar made = with_tools();
  change(made);
  const std::vector<uint8_t> bytes = chat::to_segment(made);
  const char* why = nullptr;
  const bool opens = open_chat_format(bytes.data(), bytes.size(), &why) != nullptr;
  EXPECT_EQ(opens, std::string(why).empty()) << why;
  return why;
}

constexpr uint16_t kMany = 99;

TEST(ChatFormatDamage, IsFoundInEveryTable) {
  const std::string index = "an index is out of range";
  EXPECT_EQ(damage([](auto&) {}), "");
  EXPECT_EQ(damage([](auto& g) { g.choices[8] = kMany; }), index);
  EXPECT_EQ(damage([](auto& g) { g.layouts[0].turns[23] = kMany; }), index);
  EXPECT_EQ(damage([](auto& g) { g.layouts[0].turns[0] = chat::kRefused; }), index);
  EXPECT_EQ(damage([](auto& g) { g.layouts[0].endings[7] = kMany; }), index);
  EXPECT_EQ(damage([](auto& g) { g.tools->layouts[0].turns[79] = kMany; }), index);
  EXPECT_EQ(damage([](auto& g) { g.tools->layouts[0].endings[5] = kMany; }), index);
  EXPECT_EQ(damage([](auto& g) { g.tools->choices[17] = kMany; }), index);
  EXPECT_EQ(damage([](auto& g) { g.tools->call = kMany; }), index);
  EXPECT_EQ(damage([](auto& g) { g.tools->tool_text = static_cast<fb::ToolText>(9); }), index);
  EXPECT_EQ(damage([](auto& g) { g.tools->notation = static_cast<fb::CallNotation>(9); }), index);
  const std::string part = "a part is unknown or has no text";
  EXPECT_EQ(damage([](auto& g) { g.sequences[0][0].kind = static_cast<PartKind>(99); }), part);
  EXPECT_EQ(damage([](auto& g) { g.sequences[0][0].left = static_cast<Strip>(9); }), part);
  EXPECT_EQ(damage([](auto& g) { g.sequences[0][0].right = static_cast<Strip>(9); }), part);
  EXPECT_EQ(damage([](auto& g) { g.system_right = static_cast<Strip>(9); }), part);
  EXPECT_EQ(damage([](auto& g) { g.tools.reset(); }), part);  // parts that write them are left
  const std::string switches = "switches must be none or two";
  EXPECT_EQ(damage([](auto& g) { g.switches = {"a"}; }), switches);
  EXPECT_EQ(damage([](auto& g) { g.switches = {"a", ""}; }), switches);
}

TEST(ChatFormatDamage, IsFoundInTheBytes) {
  const std::vector<uint8_t> good = chat::to_segment(with_tools());
  const auto opens = [](const std::vector<uint8_t>& bytes) {
    const char* why = "";
    const bool open = open_chat_format(bytes.data(), bytes.size(), &why) != nullptr;
    EXPECT_STREQ(why, open ? "" : "not a chat format");
    return open;
  };
  EXPECT_TRUE(opens(good));
  EXPECT_FALSE(opens({}));
  EXPECT_FALSE(opens(std::vector<uint8_t>(good.begin(), good.begin() + 7)));
  EXPECT_FALSE(opens(std::vector<uint8_t>(good.begin(), good.end() - 8)));
  std::vector<uint8_t> other = good;
  other[4] = 'X';
  EXPECT_FALSE(opens(other));
}

}  // namespace
}  // namespace jllm

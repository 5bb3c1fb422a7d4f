// The built-in formats, against texts written out by hand.
#include "compiler/chat/builtin.h"

#include "tests/compiler/chat/rendered.h"

namespace jllm {
namespace {

using test::conversation;
using test::with_system;

test::Rendered render(const char* name, const Conversation& c) {
  const std::optional<chat::Grammar> grammar = chat::builtin(name, "<s>", "</s>");
  EXPECT_TRUE(grammar) << name;
  return grammar ? test::render(chat::to_segment(*grammar), c) : test::Rendered{};
}

const std::vector<std::string_view> kThree = {" Hi ", "Ho", "Go"};

TEST(Builtin, ChatmlKeepsSpacesAndMarksOnlyItsOwnText) {
  const test::Rendered r = render("chatml", with_system(conversation(kThree), "S"));
  EXPECT_EQ(r.text,
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n"
            "<|im_start|>assistant\nHo<|im_end|>\n<|im_start|>user\nGo<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(r.trusted,
            "[<|im_start|>system\n][<|im_end|>\n<|im_start|>user\n]"
            "[<|im_end|>\n<|im_start|>assistant\n][<|im_end|>\n<|im_start|>user\n]"
            "[<|im_end|>\n<|im_start|>assistant\n]");
}

TEST(Builtin, GemmaPutsTheSystemTextIntoTheFirstMessage) {
  EXPECT_EQ(render("gemma", with_system(conversation(kThree), "S ")).text,
            "<s><start_of_turn>user\nS\n\nHi<end_of_turn>\n<start_of_turn>model\nHo<end_of_turn>\n"
            "<start_of_turn>user\nGo<end_of_turn>\n<start_of_turn>model\n");
  EXPECT_EQ(render("gemma", conversation({kThree[2]})).text,
            "<s><start_of_turn>user\nGo<end_of_turn>\n<start_of_turn>model\n");
}

TEST(Builtin, MistralEndsAnswersWithEos) {
  EXPECT_EQ(render("mistral", conversation(kThree)).text,
            "<s>[INST]  Hi  [/INST]Ho</s>[INST] Go [/INST]");
}

TEST(Builtin, UnknownNamesAreNone) { EXPECT_FALSE(chat::builtin("llama9", "", "")); }

TEST(Builtin, ATemplateIsRecognisedByItsMarks) {
  EXPECT_EQ(chat::recognise("{{ '<|im_start|>' }}"), "chatml");
  EXPECT_EQ(chat::recognise("{{ message }}"), "");
}

}  // namespace
}  // namespace jllm

#include "compiler/chat/chat.h"

#include <algorithm>
#include <optional>

#include "compiler/chat/builtin.h"
#include "compiler/chat/template.h"
#include "compiler/support/error.h"
#include "schema/chat_format.h"
#include "schema/tokenizer_generated.h"

namespace jllm::chat {
namespace {

constexpr const char* kTemplateKey = "tokenizer.chat_template";

std::string string_or_empty(const gguf::File& file, llvm::StringRef key) {
  llvm::Expected<llvm::StringRef> text = file.get_string(key);
  if (text) return text->str();
  llvm::consumeError(text.takeError());
  return "";
}

// The text of a token of the plan's vocabulary; empty for none.
std::string token_text(const fb::Vocabulary& vocabulary, uint32_t id) {
  const auto* offsets = vocabulary.token_offsets();
  if (offsets->size() < 2 || id >= offsets->size() - 1) return "";
  const uint8_t* bytes = vocabulary.token_bytes()->data();
  return {bytes + offsets->Get(id), bytes + offsets->Get(id + 1)};
}

ChosenFormat chosen(const Grammar& grammar) {
  ChosenFormat format;
  format.name = grammar.name;
  format.segment = to_segment(grammar);
  format.summary = describe(format.segment);
  return format;
}

ChosenFormat nothing(const char* why) {
  ChosenFormat format;
  format.name = "none";
  format.summary = std::string("none: ") + why;
  return format;
}

}  // namespace

std::string describe(llvm::ArrayRef<uint8_t> segment) {
  const char* why = nullptr;
  const fb::ChatFormat* format = open_chat_format(segment.data(), segment.size(), &why);
  if (format == nullptr) return llvm::formatv("damaged: {0}", why);
  std::string text = format->proven() == 0
                         ? llvm::formatv("built-in {0}", format->name()->c_str()).str()
                         : llvm::formatv(
                               "the model's template, equal to jinja2 on {0} "
                               "conversations",
                               format->proven())
                               .str();
  const auto* choices = format->choices();
  const bool thinks = !std::equal(choices->begin(), choices->begin() + 3, choices->begin() + 3) ||
                      !std::equal(choices->begin(), choices->begin() + 3, choices->begin() + 6);
  text += choices->Get(2) == kRefused ? "; no system text" : "; system text";
  if (thinks) text += ", thinking on and off";
  const fb::ChatLayout& layout = *format->layouts()->Get(choices->Get(0));
  if (layout.turns()->Get(20) != layout.turns()->Get(21)) {
    text += ", earlier thoughts left out";
  }
  return text + "; no tool calls";
}

llvm::Expected<ChosenFormat> choose_format(const gguf::File& file,
                                           llvm::ArrayRef<uint8_t> tokenizer,
                                           llvm::StringRef choice) {
  if (choice == "none") return nothing("--chat-format none");
  TemplateText text;
  text.jinja = string_or_empty(file, kTemplateKey);
  const fb::Vocabulary& vocabulary = *fb::GetVocabulary(tokenizer.data());
  text.bos = token_text(vocabulary, vocabulary.bos());
  text.eos = token_text(vocabulary, vocabulary.eos());
  if (choice != "auto" && choice != "template") {
    std::optional<Grammar> grammar = builtin(choice, text.bos, text.eos);
    if (grammar) return chosen(*grammar);
    return fail(ExitCode::kUsage, "--chat-format {0}: known are auto, template, none, {1}", choice,
                builtin_names());
  }
  if (text.jinja.empty()) {
    if (choice == "auto") return nothing("the model has no chat template (--chat-format NAME)");
    return fail(ExitCode::kUnsupported,
                "{0}: no {1}; choose a built-in format with --chat-format: "
                "{2}",
                file.path(), kTemplateKey, builtin_names());
  }
  llvm::Expected<Grammar> grammar = reduce_template(text);
  if (grammar) return chosen(*grammar);
  if (choice == "template") return grammar.takeError();
  const std::string reason = take_error(grammar.takeError()).second;
  const std::string name = recognise(text.jinja);
  std::optional<Grammar> instead = builtin(name, text.bos, text.eos);
  ChosenFormat format =
      instead ? chosen(*instead) : nothing("the model's chat template cannot be used");
  format.warning = reason;
  return format;
}

}  // namespace jllm::chat

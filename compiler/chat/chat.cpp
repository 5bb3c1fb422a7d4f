#include "compiler/chat/chat.h"

#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/Path.h>

#include <algorithm>
#include <optional>

#include "compiler/chat/builtin.h"
#include "compiler/chat/template.h"
#include "compiler/support/error.h"
#include "schema/chat_format.h"
#include "schema/tokenizer_generated.h"

namespace jllm::chat {
namespace {

constexpr const char* kTemplate = "template";  // reduce_template()'s name for a grammar
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
  format.description = describe(format.segment);
  return format;
}

ChosenFormat nothing(const char* why) {
  ChosenFormat format;
  format.name = "none";
  format.description.what = std::string("none: ") + why;
  return format;
}

std::string because(const char* what, const flatbuffers::String* reason) {
  if (reason == nullptr || reason->size() == 0) return what;
  return llvm::formatv("{0} ({1})", what, reason->c_str());
}

}  // namespace

std::string Description::covers_text() const { return llvm::join(covers, ", "); }

std::string Description::lacks_text() const { return llvm::join(lacks, ", "); }

Description describe(llvm::ArrayRef<uint8_t> segment) {
  Description d;
  const char* why = nullptr;
  const fb::ChatFormat* format = open_chat_format(segment.data(), segment.size(), &why);
  if (format == nullptr) {
    d.what = std::string("damaged: ") + why;
    return d;
  }
  const fb::ToolFormat* tools = format->tools();
  if (format->proven() == 0) {
    d.what = "built-in " + format->name()->str();
  } else {
    const std::string name = format->name()->str();
    d.what = llvm::formatv("{0}, equal to jinja2 on {1} conversations",
                           name == kTemplate ? "the model's template" : name,
                           format->proven() + (tools ? tools->proven() : 0));
  }
  const auto* choices = format->choices();
  d.covers.push_back("several turns");
  if (choices->Get(2) == kRefused) {
    d.lacks.push_back(because("system text", format->system_refusal()));
  } else {
    d.covers.push_back("system text");
  }
  const bool thinks = !std::equal(choices->begin(), choices->begin() + 3, choices->begin() + 3) ||
                      !std::equal(choices->begin(), choices->begin() + 3, choices->begin() + 6);
  (thinks ? d.covers : d.lacks).push_back("thinking on and off");
  const fb::ChatLayout& layout = *format->layouts()->Get(choices->Get(0));
  if (layout.turns()->Get(20) != layout.turns()->Get(21)) {
    d.covers.push_back("earlier thoughts left out");
  }
  if (tools == nullptr) {
    d.lacks.push_back(because("tools", format->tools_refusal()));
  } else {
    constexpr const char* kNotations[] = {"an unknown", "Hermes'", "Llama 3's", "Mistral's"};
    d.covers.push_back(llvm::formatv("tools, their results, calls in {0} notation{1}",
                                     kNotations[static_cast<size_t>(tools->notation())],
                                     tools->single_call() ? ", one at a time" : ""));
  }
  return d;
}

llvm::Expected<ChosenFormat> choose_format(const gguf::File& file,
                                           llvm::ArrayRef<uint8_t> tokenizer,
                                           llvm::StringRef choice) {
  if (choice == "none") return nothing("--chat-format none");
  TemplateText text;
  const bool is_file = choice.endswith(".jinja");
  if (is_file) {
    auto jinja = llvm::MemoryBuffer::getFile(choice);
    if (!jinja) return fail(ExitCode::kFailed, "{0}: {1}", choice, jinja.getError().message());
    text.jinja = (*jinja)->getBuffer().str();
  } else {
    text.jinja = string_or_empty(file, kTemplateKey);
  }
  const fb::Vocabulary& vocabulary = *fb::GetVocabulary(tokenizer.data());
  text.bos = token_text(vocabulary, vocabulary.bos());
  text.eos = token_text(vocabulary, vocabulary.eos());
  if (!is_file && choice != "auto" && choice != "template") {
    std::optional<Grammar> grammar = builtin(choice, text.bos, text.eos);
    if (grammar) return chosen(*grammar);
    return fail(ExitCode::kUsage,
                "--chat-format {0}: known are auto, template, none, FILE.jinja, {1}", choice,
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
  if (grammar && is_file) grammar->name = llvm::sys::path::filename(choice).str();
  if (grammar) return chosen(*grammar);
  if (choice != "auto") return grammar.takeError();
  const std::string reason = take_error(grammar.takeError()).second;
  const std::string name = recognise(text.jinja);
  std::optional<Grammar> instead = builtin(name, text.bos, text.eos);
  ChosenFormat format =
      instead ? chosen(*instead) : nothing("the model's chat template cannot be used");
  format.warning = reason;
  return format;
}

}  // namespace jllm::chat

#include "compiler/chat/template.h"

#include <llvm/ADT/SmallString.h>
#include <llvm/Support/FileSystem.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/Program.h>
#include <llvm/Support/raw_ostream.h>

#include <optional>

#include "compiler/chat/script.h"
#include "compiler/support/error.h"
#include "schema/chat_format.h"

namespace jllm::chat {
namespace {

// A template may loop for ever or build a text without end: it is a program of somebody else's.
constexpr unsigned kSeconds = 120;
constexpr unsigned kMegabytes = 4096;

struct Probe {
  std::string group;
  Conversation conversation;
  std::vector<std::string_view> messages;
  std::vector<ChatTurn> turns;               // empty: roles alternate
  std::vector<std::vector<ChatCall>> calls;  // of each message
  std::optional<llvm::StringRef> render;
};

std::string_view view(llvm::StringRef text) { return {text.data(), text.size()}; }

// reduce.py's NOW.
std::tm probe_date() {
  std::tm date = {};
  date.tm_year = 2024 - 1900;
  date.tm_mon = 6;
  date.tm_mday = 26;
  date.tm_wday = 5;
  date.tm_yday = 207;
  return date;
}

std::string_view text_at(const llvm::json::Object& json, llvm::StringRef name) {
  const auto text = json.getString(name);
  return text ? view(*text) : std::string_view();
}

// A message of a conversation with tools.
void parse_turn(const llvm::json::Object& json, Probe* probe) {
  const std::string_view role = text_at(json, "role");
  ChatTurn turn;
  turn.role = role == "tool"        ? ChatRole::kTool
              : role == "assistant" ? ChatRole::kAssistant
                                    : ChatRole::kUser;
  turn.call_id = text_at(json, "id");
  probe->messages.push_back(text_at(json, "content"));
  probe->calls.emplace_back();
  if (const llvm::json::Array* calls = json.getArray("calls")) {
    for (const llvm::json::Value& call : *calls) {
      const llvm::json::Object& o = *call.getAsObject();
      probe->calls.back().push_back(
          {text_at(o, "name"), text_at(o, "arguments"), text_at(o, "id")});
    }
  }
  probe->turns.push_back(turn);
}

bool parse_probe(const llvm::json::Value& value, Probe* probe) {
  const llvm::json::Object* json = value.getAsObject();
  if (json == nullptr || json->getArray("messages") == nullptr) return false;
  probe->group = text_or_empty(json->getString("group"));
  for (const llvm::json::Value& message : *json->getArray("messages")) {
    if (message.getAsString()) {
      probe->messages.push_back(view(*message.getAsString()));
    } else if (message.getAsObject() != nullptr) {
      parse_turn(*message.getAsObject(), probe);
    } else {
      return false;
    }
  }
  for (size_t i = 0; i < probe->turns.size(); ++i) {
    probe->turns[i].calls = probe->calls[i].data();
    probe->turns[i].call_count = probe->calls[i].size();
  }
  Conversation& c = probe->conversation;
  if (const auto system = json->getString("system")) {
    c.has_system = true;
    c.system = view(*system);
  }
  const std::string thinking = text_or_empty(json->getString("thinking"));
  c.thinking = thinking == "on"    ? Thinking::kOn
               : thinking == "off" ? Thinking::kOff
                                   : Thinking::kDefault;
  const auto generation = json->getBoolean("generation");
  c.generation_prompt = generation && *generation;
  c.messages = probe->messages.data();
  c.count = probe->messages.size();
  if (!probe->turns.empty()) c.turns = probe->turns.data();
  c.tools = text_at(*json, "tools");
  c.date = probe_date();
  if (const auto render = json->getString("render")) probe->render = *render;
  return true;
}

// The part of two texts where they differ, for people.
std::string difference(llvm::StringRef wanted, llvm::StringRef got) {
  constexpr size_t kShown = 40;
  size_t at = 0;
  while (at < wanted.size() && at < got.size() && wanted[at] == got[at]) ++at;
  std::string text;
  llvm::raw_string_ostream out(text);
  out << "at byte " << at << " the template says \"";
  llvm::printEscapedString(wanted.substr(at, kShown), out);
  out << "\", the grammar \"";
  llvm::printEscapedString(got.substr(at, kShown), out);
  out << "\"";
  return out.str();
}

llvm::Error check_probe(const fb::ChatFormat& format, const Probe& probe) {
  size_t bytes = 0, ranges = 0;
  chat_room(format, probe.conversation, &bytes, &ranges);
  std::vector<char> room(bytes);
  std::vector<TextRange> trusted(ranges);
  ChatText text;
  text.text = room.data();
  text.capacity = bytes;
  text.trusted = trusted.data();
  text.trusted_capacity = ranges;
  const ChatError error = render_chat(format, probe.conversation, &text);
  const bool done = error == ChatError::kOk;
  const bool refuses = error == ChatError::kSystemRefused || error == ChatError::kEndRefused ||
                       error == ChatError::kSeveralCalls || error == ChatError::kBadCallId;
  const llvm::StringRef got(text.text, done ? text.size : 0);
  if (probe.render ? done && got == *probe.render : refuses) return llvm::Error::success();
  return fail(ExitCode::kUnsupported,
              "a conversation of {0} messages ({1}{2}) comes out otherwise: {3}",
              probe.conversation.count, probe.group,
              probe.conversation.has_system ? ", with a system text" : "",
              !probe.render ? "the template refuses it, the grammar does not"
              : done        ? difference(*probe.render, got)
                            : chat_error_text(error));
}

// A file that is gone when this is.
struct ScratchFile {
  llvm::SmallString<128> path;
  llvm::Error create(const char* ending) {
    if (std::error_code error = llvm::sys::fs::createTemporaryFile("jllmc-chat", ending, path)) {
      return fail(ExitCode::kFailed, "cannot write to the temporary folder: {0}", error.message());
    }
    return llvm::Error::success();
  }
  ~ScratchFile() {
    if (!path.empty()) llvm::sys::fs::remove(path);
  }
};

// Without its proof a table for tools is left out.
void prove_tools(const llvm::json::Array& probes, Grammar* grammar) {
  llvm::Expected<uint32_t> proven = prove(*grammar, probes);
  if (proven) {
    grammar->tools->proven = *proven;
    return;
  }
  grammar->tools_refusal = take_error(proven.takeError()).second;
  grammar->sequences.resize(grammar->tools->first_sequence);
  grammar->tools.reset();
}

}  // namespace

llvm::Expected<llvm::json::Value> run_script(const TemplateText& text) {
  constexpr const char* kHelp =
      "it is needed to read the model's chat template (Debian: apt install python3-jinja2; or "
      "pip install jinja2); without it choose --chat-format NAME or none";
  const llvm::ErrorOr<std::string> python = llvm::sys::findProgramByName("python3");
  if (!python) return fail(ExitCode::kFailed, "python3 is not on the PATH; {0}", kHelp);
  ScratchFile in, out, err;
  if (llvm::Error error = in.create("json")) return error;
  if (llvm::Error error = out.create("json")) return error;
  if (llvm::Error error = err.create("txt")) return error;
  {
    std::error_code code;
    llvm::raw_fd_ostream file(in.path, code);
    file << llvm::json::Value(llvm::json::Object{{"template", llvm::json::fixUTF8(text.jinja)},
                                                 {"bos_token", llvm::json::fixUTF8(text.bos)},
                                                 {"eos_token", llvm::json::fixUTF8(text.eos)}});
    file.close();
    if (file.has_error()) {
      file.clear_error();
      return fail(ExitCode::kFailed, "{0} cannot be written", in.path.str());
    }
  }
  std::string program;
  for (const Script& script : scripts()) program += script.text;
  std::string why;
  const MaybeText redirects[] = {llvm::StringRef(in.path), llvm::StringRef(out.path),
                                 llvm::StringRef(err.path)};
  const int code = llvm::sys::ExecuteAndWait(*python, {*python, "-c", program}, {}, redirects,
                                             kSeconds, kMegabytes, &why);
  const auto printed = llvm::MemoryBuffer::getFile(out.path);
  const auto errors = llvm::MemoryBuffer::getFile(err.path);
  if (code != 0 || !printed) {
    llvm::StringRef last = errors ? (*errors)->getBuffer().rtrim().rsplit('\n').second : "";
    return fail(ExitCode::kUnsupported, "python3 failed on the chat template: {0}{1}", why, last);
  }
  llvm::Expected<llvm::json::Value> result = llvm::json::parse((*printed)->getBuffer());
  if (!result) return result.takeError();
  const llvm::json::Object* object = result->getAsObject();
  if (object == nullptr) return fail(ExitCode::kFailed, "internal error: reduce.py's output");
  if (const auto missing = object->getString("missing")) {
    return fail(ExitCode::kFailed, "{0}; {1}", *missing, kHelp);
  }
  return result;
}

llvm::Expected<uint32_t> prove(const Grammar& grammar, const llvm::json::Array& probes) {
  const std::vector<uint8_t> segment = to_segment(grammar);
  const char* why = nullptr;
  const fb::ChatFormat* format = open_chat_format(segment.data(), segment.size(), &why);
  if (format == nullptr) return fail(ExitCode::kFailed, "internal error: chat format: {0}", why);
  uint32_t rendered = 0;
  for (const llvm::json::Value& value : probes) {
    Probe probe;
    if (!parse_probe(value, &probe)) return fail(ExitCode::kFailed, "internal error: a probe");
    if (llvm::Error error = check_probe(*format, probe)) return error;
    if (probe.render) ++rendered;
  }
  if (rendered == 0) {
    return fail(ExitCode::kUnsupported, "the chat template refuses every conversation");
  }
  return rendered;
}

llvm::Expected<Grammar> reduce_template(const TemplateText& text) {
  llvm::Expected<llvm::json::Value> result = run_script(text);
  if (!result) return result.takeError();
  const llvm::json::Object& object = *result->getAsObject();
  if (const auto refused = object.getString("refused")) {
    return fail(ExitCode::kUnsupported, "the chat template is no turn grammar: {0}", *refused);
  }
  if (object.getObject("grammar") == nullptr || object.getArray("probes") == nullptr ||
      object.getArray("tool_probes") == nullptr) {
    return fail(ExitCode::kFailed, "internal error: reduce.py's output");
  }
  llvm::Expected<Grammar> grammar = parse_grammar(*object.getObject("grammar"));
  if (!grammar) return grammar.takeError();
  llvm::Expected<uint32_t> proven = prove(*grammar, *object.getArray("probes"));
  if (!proven) {
    return fail(ExitCode::kUnsupported, "the chat template is no turn grammar: {0}",
                take_error(proven.takeError()).second);
  }
  grammar->proven = *proven;
  if (grammar->tools) prove_tools(*object.getArray("tool_probes"), &*grammar);
  return grammar;
}

}  // namespace jllm::chat

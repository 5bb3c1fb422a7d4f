// See chat_format.h. Everything is a view of the caller's texts but a system text with switches in
// it: that is edited at the far end of the output's room. chat_tools.h writes tools and calls.
#include "schema/chat_format.h"

#include <algorithm>
#include <cstring>

#include "schema/chat_generated.h"
#include "schema/chat_sink.h"
#include "schema/chat_tools.h"

namespace jllm {
namespace {

constexpr uint32_t kTurns = 24;
constexpr uint32_t kEndings = 8;
constexpr uint32_t kChoices = 9;
constexpr uint32_t kToolTurns = 80;
constexpr uint32_t kToolEndings = 6;
constexpr uint16_t kRefused = 0xffff;
constexpr size_t kMaxDateBytes = 128;
constexpr std::string_view kOpen = "<think>";
constexpr std::string_view kClose = "</think>";

// The white space of Unicode, and the four separators that Python's strip() takes for it too.
bool is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
         c == 0x205f || c == 0x3000;
}

// Bytes of the white space that begins at `at`; 0: there is none.
size_t space_bytes(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) -> uint32_t {
    return at + i < text.size() ? static_cast<uint8_t>(text[at + i]) : 0;
  };
  if (byte(0) < 0x80) return at < text.size() && is_space(byte(0)) ? 1 : 0;
  if ((byte(0) & 0xe0) == 0xc0) return is_space((byte(0) & 0x1f) << 6 | (byte(1) & 0x3f)) ? 2 : 0;
  if ((byte(0) & 0xf0) != 0xe0 || at + 3 > text.size()) return 0;
  return is_space((byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f)) ? 3 : 0;
}

size_t strippable(std::string_view text, size_t at, fb::Strip strip) {
  if (strip == fb::Strip::Newlines) return text[at] == '\n' ? 1 : 0;
  return space_bytes(text, at);
}

std::string_view stripped(std::string_view text, fb::Strip left, fb::Strip right) {
  while (left != fb::Strip::None && !text.empty()) {
    const size_t bytes = strippable(text, 0, left);
    if (bytes == 0) break;
    text.remove_prefix(std::min(bytes, text.size()));
  }
  while (right != fb::Strip::None && !text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && text.size() - start < 3 && (text[start] & 0xc0) == 0x80) --start;
    if (strippable(text, start, right) != text.size() - start) break;
    text = text.substr(0, start);
  }
  return text;
}

std::string_view answer(std::string_view text) {
  const size_t at = text.rfind(kClose);
  return at == std::string_view::npos ? text : text.substr(at + kClose.size());
}

std::string_view reasoning(std::string_view text) {
  text = text.substr(0, text.find(kClose));
  const size_t at = text.rfind(kOpen);
  return at == std::string_view::npos ? text : text.substr(at + kOpen.size());
}

std::string_view view(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : std::string_view(text->c_str(), text->size());
}

bool is_later(size_t index) { return index >= 2; }

enum Kind : uint32_t { kUser, kAssistant, kCall, kResult, kKinds };
constexpr uint32_t kNever = 8;
// ToolLayout.turns' first index, by the kinds of the message before and of the message.
constexpr uint32_t kTransitions[kKinds][kKinds] = {{kNever, 2, 3, kNever},
                                                   {1, kNever, kNever, kNever},
                                                   {kNever, kNever, kNever, 6},
                                                   {kNever, 4, 5, 7}};

class Renderer {
 public:
  Renderer(const fb::ChatFormat& format, const Conversation& conversation, ChatSink* out)
      : format_(format), in_(conversation), out_(out) {}

  ChatError run() {
    if (in_.count == 0) return ChatError::kNoMessages;
    Thinking thinking = in_.thinking;
    if (in_.has_system && !take_system(&thinking)) return ChatError::kTooSmall;
    choice_ = static_cast<uint32_t>(thinking) * 3;
    if (in_.has_system) choice_ += system_.empty() ? 1 : 2;
    if (!in_.tools.empty()) return run_with_tools();
    for (size_t i = 0; in_.turns != nullptr && i < in_.count; ++i) {
      if (kind(i) >= kCall) return run_with_tools();
      if (kind(i) != i % 2) return ChatError::kBadOrder;
    }
    return run_plain();
  }

  // What run() does for a system text that is empty once its switches are out. Counting sinks only.
  void empty_system() { keeps_system_ = false; }

 private:
  ChatError run_plain() {
    const uint16_t choice = format_.choices()->Get(choice_);
    if (choice == kRefused) return ChatError::kSystemRefused;
    const fb::ChatLayout& layout = *format_.layouts()->Get(choice);
    for (size_t i = 0; i < in_.count; ++i) {
      const size_t from_end = std::min<size_t>(in_.count - 1 - i, 2);
      const size_t key = ((i % 2 * 2 + is_later(i)) * 3 + from_end) * 2 + thinks(i);
      if (!emit(layout.turns()->Get(static_cast<uint32_t>(key)), i)) return ChatError::kTooSmall;
    }
    const size_t last = in_.count - 1;
    const size_t key = (last % 2 * 2 + is_later(last)) * 2 + in_.generation_prompt;
    return end(layout.endings()->Get(static_cast<uint32_t>(key)));
  }

  ChatError run_with_tools() {
    if (format_.tools() == nullptr) return ChatError::kToolsRefused;
    const fb::ToolFormat& format = *format_.tools();
    const ChatError error = check_calls(format);
    if (error != ChatError::kOk) return error;
    const uint32_t last = kind(in_.count - 1);
    if (last == kCall) return ChatError::kEndRefused;
    const uint16_t choice = format.choices()->Get(choice_ + (in_.tools.empty() ? 0 : kChoices));
    if (choice == kRefused) return ChatError::kSystemRefused;
    const fb::ToolLayout& layout = *format.layouts()->Get(choice);
    size_t last_user = 0, last_answer = 0;
    for (size_t i = 0; i < in_.count; ++i) {
      if (kind(i) == kUser) last_user = i;
      if (kind(i) == kAssistant || kind(i) == kCall) last_answer = i;
    }
    for (size_t i = 0; i < in_.count; ++i) {
      const bool says_the_same =
          format.same_text_is_last() && in_.messages[i] == in_.messages[last_user];
      const size_t user = i < last_user && !(kind(i) == kUser && says_the_same) ? 2 : 0;
      const size_t follows = i + 1 == in_.count ? 0 : 1 + (i < last_answer) + user;
      const size_t before = i == 0 ? 0 : kTransitions[kind(i - 1)][kind(i)];
      const size_t key = (before * 5 + follows) * 2 + thinks(i);
      const uint16_t sequence = layout.turns()->Get(static_cast<uint32_t>(key));
      if (sequence == kRefused) return ChatError::kBadOrder;
      if (!emit(sequence, i)) return ChatError::kTooSmall;
    }
    const uint32_t key = (last == kResult ? 2 : last) * 2 + in_.generation_prompt;
    return end(layout.endings()->Get(key));
  }

  ChatError end(uint16_t sequence) {
    if (sequence == kRefused) return ChatError::kEndRefused;
    return emit(sequence, in_.count) ? ChatError::kOk : ChatError::kTooSmall;
  }

  Kind kind(size_t i) const {
    if (in_.turns == nullptr) return i % 2 == 0 ? kUser : kAssistant;
    switch (in_.turns[i].role) {
      case ChatRole::kUser:
        return kUser;
      case ChatRole::kAssistant:
        return in_.turns[i].call_count > 0 ? kCall : kAssistant;
      case ChatRole::kTool:
        break;
    }
    return kResult;
  }

  bool thinks(size_t i) const { return in_.messages[i].find(kClose) != std::string_view::npos; }

  // Whether tools, calls and the order of messages are what the format can write.
  ChatError check_calls(const fb::ToolFormat& format) const {
    if (!in_.tools.empty() && !check_tools(format, in_.tools)) return ChatError::kBadTools;
    if (kind(0) != kUser) return ChatError::kBadOrder;
    for (size_t i = 0; i < in_.count && in_.turns != nullptr; ++i) {
      if (i > 0 && kTransitions[kind(i - 1)][kind(i)] == kNever) return ChatError::kBadOrder;
      const ChatTurn& turn = in_.turns[i];
      if (turn.call_count > 0 && kind(i) != kCall) return ChatError::kBadCall;
      if (turn.call_count > 1 && format.single_call()) return ChatError::kSeveralCalls;
      const size_t id_size = format.id_size();
      if (kind(i) == kResult && id_size != 0 && turn.call_id.size() != id_size) {
        return ChatError::kBadCallId;
      }
      for (size_t c = 0; c < turn.call_count; ++c) {
        if (!check_arguments(turn.calls[c].arguments)) return ChatError::kBadCall;
        if (id_size != 0 && turn.calls[c].id.size() != id_size) return ChatError::kBadCallId;
      }
    }
    return ChatError::kOk;
  }

  // The system text without switches and what is stripped.
  bool take_system(Thinking* thinking) {
    system_ = in_.system;
    const auto* switches = format_.switches();
    if (switches != nullptr && switches->size() == 2) {
      if (in_.system.find(view(switches->Get(0))) != std::string_view::npos) {
        *thinking = Thinking::kOff;
      } else if (in_.system.find(view(switches->Get(1))) != std::string_view::npos) {
        *thinking = Thinking::kOn;
      }
      char* copy = out_->take_room(in_.system.size());
      if (copy != nullptr) {
        std::copy(in_.system.begin(), in_.system.end(), copy);
        size_t size = in_.system.size();
        for (const auto* word : *switches) size = remove(copy, size, view(word));
        system_ = {copy, size};
      } else if (!out_->counts()) {
        return false;
      }
      if (!keeps_system_) system_ = {};
    }
    system_ = stripped(system_, format_.system_strip_left(), format_.system_strip_right());
    return true;
  }

  // `text` without every `word` in it, in place; its new size.
  static size_t remove(char* text, size_t size, std::string_view word) {
    size_t to = 0;
    for (size_t from = 0; from < size;) {
      if (size - from >= word.size() && std::memcmp(text + from, word.data(), word.size()) == 0) {
        from += word.size();
      } else {
        text[to++] = text[from++];
      }
    }
    return to;
  }

  // `i`: the message, in_.count behind the last one.
  bool emit(uint16_t sequence, size_t i) {
    wrote_text_ = false;
    for (const fb::Part* part : *format_.sequences()->Get(sequence)->parts()) {
      if (!emit(*part, i)) return false;
    }
    return true;
  }

  bool emit(const fb::Part& part, size_t i) {
    const std::string_view message = i < in_.count ? in_.messages[i] : std::string_view();
    const ChatTurn turn = in_.turns != nullptr && i < in_.count ? in_.turns[i] : ChatTurn();
    switch (part.kind()) {
      case fb::PartKind::Literal:
        return (part.if_text() && !wrote_text_) || out_->append_trusted(view(part.text()));
      case fb::PartKind::Date: {
        char date[kMaxDateBytes];
        return out_->append_trusted(
            {date, std::strftime(date, sizeof date, part.text()->c_str(), &in_.date)});
      }
      case fb::PartKind::System:
        return out_->append(system_);
      case fb::PartKind::Content:
        return emit_text(part, message);
      case fb::PartKind::Answer:
        return emit_text(part, answer(message));
      case fb::PartKind::Reasoning:
        return emit_text(part, reasoning(message));
      case fb::PartKind::Tools:
        return in_.tools.empty() || print_tools(*format_.tools(), in_.tools, out_);
      case fb::PartKind::Calls:
        return emit_calls(turn);
      case fb::PartKind::CallId:
        return emit_field(part, turn.call_id);
      case fb::PartKind::CallName:
      case fb::PartKind::CallArguments:
        break;
    }
    return true;  // what belongs into a call has nothing to say elsewhere
  }

  bool emit_text(const fb::Part& part, std::string_view text) {
    text = stripped(text, part.strip_left(), part.strip_right());
    wrote_text_ = !text.empty();
    return emit_field(part, text);
  }

  bool emit_field(const fb::Part& part, std::string_view text) {
    return part.escape() ? print_escaped(text, out_) : out_->append(text);
  }

  bool emit_calls(const ChatTurn& turn) {
    const fb::ToolFormat& format = *format_.tools();
    const auto& parts = *format_.sequences()->Get(format.call())->parts();
    for (size_t c = 0; c < turn.call_count; ++c) {
      if (c > 0 && !out_->append_trusted(view(format.between_calls()))) return false;
      for (const fb::Part* part : parts) {
        if (!emit_in_call(*part, turn.calls[c])) return false;
      }
    }
    return true;
  }

  bool emit_in_call(const fb::Part& part, const ChatCall& call) {
    switch (part.kind()) {
      case fb::PartKind::Literal:
        return out_->append_trusted(view(part.text()));
      case fb::PartKind::CallName:
        return emit_field(part, call.name);
      case fb::PartKind::CallArguments:
        return print_arguments(call.arguments, out_);
      case fb::PartKind::CallId:
        return emit_field(part, call.id);
      default:
        return true;
    }
  }

  const fb::ChatFormat& format_;
  const Conversation& in_;
  ChatSink* out_;
  std::string_view system_;
  uint32_t choice_ = 0;
  bool keeps_system_ = true;
  bool wrote_text_ = false;  // the last text of the sequence was not empty
};

bool all_within(const flatbuffers::Vector<uint16_t>* indices, uint32_t count, uint32_t end,
                bool may_refuse) {
  if (indices->size() != count) return false;
  return std::all_of(indices->begin(), indices->end(), [&](uint16_t index) {
    return index < end || (may_refuse && index == kRefused);
  });
}

// False where an index or a choice of the tools' tables is out of range.
bool check_tool_format(const fb::ToolFormat& format, uint32_t sequences) {
  for (const fb::ToolLayout* layout : *format.layouts()) {
    if (!all_within(layout->turns(), kToolTurns, sequences, true)) return false;
    if (!all_within(layout->endings(), kToolEndings, sequences, true)) return false;
  }
  return all_within(format.choices(), 2 * kChoices, format.layouts()->size(), true) &&
         format.call() < sequences && format.tool_text() <= fb::ToolText::MAX &&
         format.notation() <= fb::CallNotation::MAX;
}

}  // namespace

const char* chat_error_text(ChatError error) {
  switch (error) {
    case ChatError::kOk:
      return "done";
    case ChatError::kTooSmall:
      return "no room for the rendered conversation";
    case ChatError::kNoMessages:
      return "a conversation needs a message";
    case ChatError::kSystemRefused:
      return "the model's chat template takes no system text: put it into the first message";
    case ChatError::kEndRefused:
      return "the model's chat template refuses a conversation that ends with this role";
    case ChatError::kToolsRefused:
      return "the model's chat format covers no tools";
    case ChatError::kBadOrder:
      return "roles out of order: user and assistant take turns, and behind an assistant's calls "
             "come their results and the assistant again";
    case ChatError::kBadTools:
      return "tools must be a JSON array of {\"type\": \"function\", \"function\": {...}}";
    case ChatError::kBadCall:
      return "a call's arguments must be a JSON object, and only the assistant calls";
    case ChatError::kSeveralCalls:
      return "the model's chat template takes one call at a time";
    case ChatError::kBadCallId:
      return "the id of a call has not the length that the model's chat template asks for";
  }
  return "unknown";
}

void chat_room(const fb::ChatFormat& format, const Conversation& conversation, size_t* bytes,
               size_t* ranges) {
  *bytes = *ranges = 0;
  // Counting edits no system text: it may be all there, or all switches.
  for (bool empties_system : {false, true}) {
    ChatSink counts;
    Renderer renderer(format, conversation, &counts);
    if (empties_system) renderer.empty_system();
    renderer.run();
    *bytes = std::max(*bytes, counts.size() + conversation.system.size());
    *ranges = std::max(*ranges, counts.ranges());
  }
}

const fb::ChatFormat* open_chat_format(const uint8_t* segment, size_t size, const char** why) {
  *why = "not a chat format";
  if (size < 8 || !fb::ChatFormatBufferHasIdentifier(segment)) return nullptr;
  flatbuffers::Verifier verifier(segment, size);
  if (!fb::VerifyChatFormatBuffer(verifier)) return nullptr;
  const fb::ChatFormat* format = fb::GetChatFormat(segment);
  *why = "an index is out of range";
  const uint32_t sequences = format->sequences()->size();
  if (!all_within(format->choices(), kChoices, format->layouts()->size(), true)) return nullptr;
  for (const fb::ChatLayout* layout : *format->layouts()) {
    if (!all_within(layout->turns(), kTurns, sequences, false)) return nullptr;
    if (!all_within(layout->endings(), kEndings, sequences, true)) return nullptr;
  }
  const fb::ToolFormat* tools = format->tools();
  if (tools != nullptr && !check_tool_format(*tools, sequences)) return nullptr;
  *why = "a part is unknown or has no text";
  for (const fb::Sequence* sequence : *format->sequences()) {
    for (const fb::Part* part : *sequence->parts()) {
      if (part->kind() > fb::PartKind::MAX || part->strip_left() > fb::Strip::MAX ||
          part->strip_right() > fb::Strip::MAX) {
        return nullptr;
      }
      if (part->kind() <= fb::PartKind::Date && part->text() == nullptr) return nullptr;
      if (part->kind() >= fb::PartKind::Tools && tools == nullptr) return nullptr;
    }
  }
  if (format->system_strip_left() > fb::Strip::MAX || format->system_strip_right() > fb::Strip::MAX)
    return nullptr;
  *why = "switches must be none or two";
  if (format->switches() != nullptr) {
    if (format->switches()->size() != 0 && format->switches()->size() != 2) return nullptr;
    for (const auto* word : *format->switches()) {
      if (word->size() == 0) return nullptr;
    }
  }
  *why = "";
  return format;
}

ChatError render_chat(const fb::ChatFormat& format, const Conversation& conversation,
                      ChatText* text) {
  ChatSink out(text);
  return Renderer(format, conversation, &out).run();
}

}  // namespace jllm

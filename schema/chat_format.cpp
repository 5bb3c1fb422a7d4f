// See chat_format.h. Everything is a view of the caller's texts but a system text with switches in
// it: that is edited at the far end of the output's room.
#include "schema/chat_format.h"

#include <algorithm>
#include <cstring>

#include "schema/chat_generated.h"

namespace jllm {
namespace {

constexpr uint32_t kTurns = 24;
constexpr uint32_t kEndings = 8;
constexpr uint32_t kChoices = 9;
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

class Renderer {
 public:
  Renderer(const fb::ChatFormat& format, const Conversation& conversation, ChatText* out)
      : format_(format), in_(conversation), out_(out), room_(out->capacity) {}

  ChatError run() {
    out_->size = out_->trusted_count = 0;
    if (in_.count == 0) return ChatError::kNoMessages;
    Thinking thinking = in_.thinking;
    if (in_.has_system && !take_system(&thinking)) return ChatError::kTooSmall;
    const uint32_t system = !in_.has_system ? 0 : system_.empty() ? 1 : 2;
    const uint16_t choice = format_.choices()->Get(static_cast<uint32_t>(thinking) * 3 + system);
    if (choice == kRefused) return ChatError::kSystemRefused;
    const fb::ChatLayout& layout = *format_.layouts()->Get(choice);
    for (size_t i = 0; i < in_.count; ++i) {
      const bool thinks = in_.messages[i].find(kClose) != std::string_view::npos;
      const size_t from_end = std::min<size_t>(in_.count - 1 - i, 2);
      const size_t key = ((i % 2 * 2 + is_later(i)) * 3 + from_end) * 2 + thinks;
      if (!emit(layout.turns()->Get(static_cast<uint32_t>(key)), in_.messages[i])) {
        return ChatError::kTooSmall;
      }
    }
    const size_t last = in_.count - 1;
    const size_t key = (last % 2 * 2 + is_later(last)) * 2 + in_.generation_prompt;
    const uint16_t ending = layout.endings()->Get(static_cast<uint32_t>(key));
    if (ending == kRefused) return ChatError::kEndRefused;
    return emit(ending, {}) ? ChatError::kOk : ChatError::kTooSmall;
  }

 private:
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
      if (in_.system.size() > room_) return false;
      room_ -= in_.system.size();
      char* copy = out_->text + room_;
      std::copy(in_.system.begin(), in_.system.end(), copy);
      size_t size = in_.system.size();
      for (const auto* word : *switches) size = remove(copy, size, view(word));
      system_ = {copy, size};
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

  bool emit(uint16_t sequence, std::string_view message) {
    for (const fb::Part* part : *format_.sequences()->Get(sequence)->parts()) {
      if (!emit(*part, message)) return false;
    }
    return true;
  }

  bool emit(const fb::Part& part, std::string_view message) {
    const fb::Strip left = part.strip_left();
    const fb::Strip right = part.strip_right();
    switch (part.kind()) {
      case fb::PartKind::Literal:
        return append_trusted(view(part.text()));
      case fb::PartKind::Date: {
        char date[kMaxDateBytes];
        return append_trusted(
            {date, std::strftime(date, sizeof date, part.text()->c_str(), &in_.date)});
      }
      case fb::PartKind::System:
        return append(system_);
      case fb::PartKind::Content:
        return append(stripped(message, left, right));
      case fb::PartKind::Answer:
        return append(stripped(answer(message), left, right));
      case fb::PartKind::Reasoning:
        return append(stripped(reasoning(message), left, right));
    }
    return false;
  }

  bool append(std::string_view text) {
    if (text.size() > room_ - out_->size) return false;
    std::copy(text.begin(), text.end(), out_->text + out_->size);
    out_->size += text.size();
    return true;
  }

  bool append_trusted(std::string_view text) {
    const size_t begin = out_->size;
    if (text.empty()) return true;
    if (!append(text)) return false;
    if (out_->trusted_count > 0 && out_->trusted[out_->trusted_count - 1].end == begin) {
      out_->trusted[out_->trusted_count - 1].end = out_->size;
      return true;
    }
    if (out_->trusted_count == out_->trusted_capacity) return false;
    out_->trusted[out_->trusted_count++] = {begin, out_->size};
    return true;
  }

  const fb::ChatFormat& format_;
  const Conversation& in_;
  ChatText* out_;
  size_t room_;  // bytes of out_->text that are not taken by the edited system text
  std::string_view system_;
};

struct Room {
  size_t bytes = 0;  // of literals and dates
  size_t literals = 0;
  size_t slots = 0;  // of texts
};

// The most that any sequence takes.
Room largest_sequence(const fb::ChatFormat& format) {
  Room most;
  for (const fb::Sequence* sequence : *format.sequences()) {
    Room room;
    for (const fb::Part* part : *sequence->parts()) {
      const bool is_literal = part->kind() == fb::PartKind::Literal;
      const bool is_date = part->kind() == fb::PartKind::Date;
      room.bytes += is_literal ? view(part->text()).size() : is_date ? kMaxDateBytes : 0;
      ++(is_literal || is_date ? room.literals : room.slots);
    }
    most.bytes = std::max(most.bytes, room.bytes);
    most.literals = std::max(most.literals, room.literals);
    most.slots = std::max(most.slots, room.slots);
  }
  return most;
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
  }
  return "unknown";
}

void chat_room(const fb::ChatFormat& format, const Conversation& conversation, size_t* bytes,
               size_t* ranges) {
  const Room most = largest_sequence(format);
  size_t text = conversation.system.size();
  // A sequence may hold the system text and the message's once for each of its slots.
  for (size_t i = 0; i < conversation.count; ++i) {
    text += most.slots * (conversation.messages[i].size() + conversation.system.size());
  }
  *bytes = text + (conversation.count + 1) * most.bytes + most.slots * conversation.system.size();
  *ranges = (conversation.count + 1) * most.literals;
}

const fb::ChatFormat* open_chat_format(const uint8_t* segment, size_t size, const char** why) {
  *why = "not a chat format";
  if (size < 8 || !fb::ChatFormatBufferHasIdentifier(segment)) return nullptr;
  flatbuffers::Verifier verifier(segment, size);
  if (!fb::VerifyChatFormatBuffer(verifier)) return nullptr;
  const fb::ChatFormat* format = fb::GetChatFormat(segment);
  const auto within = [](const flatbuffers::Vector<uint16_t>* indices, uint32_t count, uint32_t end,
                         bool may_refuse) {
    if (indices->size() != count) return false;
    return std::all_of(indices->begin(), indices->end(), [&](uint16_t index) {
      return index < end || (may_refuse && index == kRefused);
    });
  };
  *why = "an index is out of range";
  const uint32_t sequences = format->sequences()->size();
  if (!within(format->choices(), kChoices, format->layouts()->size(), true)) return nullptr;
  for (const fb::ChatLayout* layout : *format->layouts()) {
    if (!within(layout->turns(), kTurns, sequences, false)) return nullptr;
    if (!within(layout->endings(), kEndings, sequences, true)) return nullptr;
  }
  *why = "a part is unknown or has no text";
  for (const fb::Sequence* sequence : *format->sequences()) {
    for (const fb::Part* part : *sequence->parts()) {
      if (part->kind() > fb::PartKind::MAX || part->strip_left() > fb::Strip::MAX ||
          part->strip_right() > fb::Strip::MAX) {
        return nullptr;
      }
      if (part->kind() <= fb::PartKind::Date && part->text() == nullptr) return nullptr;
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
  return Renderer(format, conversation, text).run();
}

}  // namespace jllm

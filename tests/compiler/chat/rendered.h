// A conversation rendered through a grammar, with the room that chat_room() asks for and no more.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "compiler/chat/grammar.h"
#include "schema/chat_format.h"

namespace jllm::test {

struct Rendered {
  ChatError error;
  std::string text;
  std::string trusted;  // the template's own stretches, each in brackets
};

inline Rendered render(const std::vector<uint8_t>& segment, const Conversation& conversation) {
  const char* why = nullptr;
  const fb::ChatFormat* format = open_chat_format(segment.data(), segment.size(), &why);
  if (format == nullptr) {
    ADD_FAILURE() << why;
    return {};
  }
  size_t bytes = 0, ranges = 0;
  chat_room(*format, conversation, &bytes, &ranges);
  std::vector<char> room(bytes);
  std::vector<TextRange> trusted(ranges);
  ChatText text;
  text.text = room.data();
  text.capacity = bytes;
  text.trusted = trusted.data();
  text.trusted_capacity = ranges;
  Rendered result;
  result.error = render_chat(*format, conversation, &text);
  result.text.assign(text.text, text.size);
  for (size_t i = 0; i < text.trusted_count; ++i) {
    result.trusted +=
        "[" + result.text.substr(trusted[i].begin, trusted[i].end - trusted[i].begin) + "]";
  }
  return result;
}

inline Conversation conversation(const std::vector<std::string_view>& messages) {
  Conversation c;
  c.messages = messages.data();
  c.count = messages.size();
  return c;
}

inline Conversation with_system(Conversation c, std::string_view system) {
  c.has_system = true;
  c.system = system;
  return c;
}

}  // namespace jllm::test

// The turn grammar that a chat template is reduced to (schema/chat.fbs), as the compiler builds it.
#pragma once

#include <llvm/Support/Error.h>
#include <llvm/Support/JSON.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "schema/chat_generated.h"

namespace jllm::chat {

inline constexpr uint16_t kRefused = 0xffff;

struct Part {
  fb::PartKind kind;
  std::string text;  // of literals and dates
  fb::Strip left = fb::Strip::None;
  fb::Strip right = fb::Strip::None;
  bool escape = false;
  bool if_text = false;
};

// The tables' meaning and sizes are schema/chat.fbs's.
struct Layout {
  std::array<uint16_t, 24> turns = {};
  std::array<uint16_t, 8> endings = {};
};

struct ToolLayout {
  std::array<uint16_t, 80> turns = {};
  std::array<uint16_t, 6> endings = {};
};

struct ToolGrammar {
  size_t first_sequence = 0;  // from here on the grammar's sequences are for tools alone
  std::vector<ToolLayout> layouts;
  std::array<uint16_t, 18> choices = {};
  uint16_t call = 0;
  std::string between_calls;
  std::string between_tools;
  fb::ToolText tool_text = fb::ToolText::Tool;
  int8_t indent = -1;
  bool compact = false;
  fb::CallNotation notation = fb::CallNotation::Unknown;
  bool single_call = false;
  uint8_t id_size = 0;
  bool same_text_is_last = false;
  uint32_t proven = 0;
};

struct Grammar {
  std::string name;
  std::vector<std::vector<Part>> sequences;
  std::vector<Layout> layouts;
  std::array<uint16_t, 9> choices = {};
  fb::Strip system_left = fb::Strip::None;
  fb::Strip system_right = fb::Strip::None;
  std::vector<std::string> switches;
  std::string system_refusal;
  uint32_t proven = 0;
  std::optional<ToolGrammar> tools;
  std::string tools_refusal;  // why there are none
};

// What llvm::json gives for text that may be absent (the type's name differs between LLVM's
// versions).
using MaybeText = decltype(std::declval<llvm::json::Value>().getAsString());
std::string text_or_empty(const MaybeText& text);

// From what reduce.py prints.
llvm::Expected<Grammar> parse_grammar(const llvm::json::Object& json);
// The same for its tables for tools; `sequences`: how many the grammar has.
llvm::Expected<ToolGrammar> parse_tools(const llvm::json::Object& json, size_t sequences);

// The plan's segment.
std::vector<uint8_t> to_segment(const Grammar& grammar);

}  // namespace jllm::chat

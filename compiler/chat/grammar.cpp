#include "compiler/chat/grammar.h"

#include <algorithm>
#include <initializer_list>

#include "compiler/support/error.h"

namespace jllm::chat {
namespace {

llvm::Error bad(const char* what) {
  return fail(ExitCode::kFailed, "internal error: the chat template's reduction has a bad {0}",
              what);
}

// The enumerator in the place where `name` stands among `names`.
template <class Enum>
bool parse_name(llvm::StringRef name, std::initializer_list<const char*> names, Enum* value) {
  const auto* found = std::find(names.begin(), names.end(), name);
  *value = static_cast<Enum>(found - names.begin());
  return found != names.end();
}

bool parse_strip(const MaybeText& name, fb::Strip* strip) {
  return name && parse_name(*name, {"none", "newlines", "spaces"}, strip);
}

bool parse_kind(llvm::StringRef name, fb::PartKind* kind) {
  return parse_name(name,
                    {"literal", "date", "system", "content", "answer", "reasoning", "tools",
                     "calls", "call_name", "call_arguments", "call_id"},
                    kind);
}

bool flag(const llvm::json::Object& json, llvm::StringRef name) {
  const auto value = json.getBoolean(name);
  return value && *value;
}

llvm::Expected<Part> parse_part(const llvm::json::Value& value) {
  const llvm::json::Object* json = value.getAsObject();
  Part part = {};
  if (json == nullptr || !parse_kind(text_or_empty(json->getString("kind")), &part.kind)) {
    return bad("part");
  }
  part.escape = flag(*json, "escape");
  part.if_text = flag(*json, "if_text");
  if (part.kind <= fb::PartKind::Date) {
    part.text = text_or_empty(json->getString("text"));
  } else if (!parse_strip(json->getString("left"), &part.left) ||
             !parse_strip(json->getString("right"), &part.right)) {
    return bad("trimming rule");
  }
  return part;
}

// Indices, -1 for what the template refuses; false unless there are exactly `to.size()`.
template <size_t kCount>
bool parse_indices(const llvm::json::Array* from, size_t end, std::array<uint16_t, kCount>* to) {
  if (from == nullptr || from->size() != kCount) return false;
  for (size_t i = 0; i < kCount; ++i) {
    const auto number = (*from)[i].getAsInteger();
    const int64_t index = number ? *number : -2;
    if (index < -1 || index >= static_cast<int64_t>(end)) return false;
    (*to)[i] = static_cast<uint16_t>(index);  // -1 is kRefused
  }
  return true;
}

}  // namespace

std::string text_or_empty(const MaybeText& text) { return text ? text->str() : ""; }

llvm::Expected<Grammar> parse_grammar(const llvm::json::Object& json) {
  Grammar grammar;
  grammar.name = "template";
  const llvm::json::Array* sequences = json.getArray("sequences");
  const llvm::json::Array* layouts = json.getArray("layouts");
  const llvm::json::Array* strip = json.getArray("system_strip");
  const llvm::json::Array* switches = json.getArray("switches");
  if (!sequences || !layouts || !strip || strip->size() != 2 || !switches) return bad("form");
  if (sequences->size() >= kRefused || layouts->size() >= kRefused) return bad("size");
  for (const llvm::json::Value& sequence : *sequences) {
    grammar.sequences.emplace_back();
    if (sequence.getAsArray() == nullptr) return bad("sequence");
    for (const llvm::json::Value& value : *sequence.getAsArray()) {
      llvm::Expected<Part> part = parse_part(value);
      if (!part) return part.takeError();
      grammar.sequences.back().push_back(std::move(*part));
    }
  }
  for (const llvm::json::Value& value : *layouts) {
    const llvm::json::Object* layout = value.getAsObject();
    grammar.layouts.emplace_back();
    if (layout == nullptr ||
        !parse_indices(layout->getArray("turns"), sequences->size(),
                       &grammar.layouts.back().turns) ||
        !parse_indices(layout->getArray("endings"), sequences->size(),
                       &grammar.layouts.back().endings)) {
      return bad("layout");
    }
  }
  if (!parse_indices(json.getArray("choices"), layouts->size(), &grammar.choices)) {
    return bad("list of layouts");
  }
  if (!parse_strip((*strip)[0].getAsString(), &grammar.system_left) ||
      !parse_strip((*strip)[1].getAsString(), &grammar.system_right)) {
    return bad("trimming rule");
  }
  for (const llvm::json::Value& word : *switches) {
    grammar.switches.push_back(text_or_empty(word.getAsString()));
  }
  grammar.system_refusal = text_or_empty(json.getString("system_refusal"));
  if (const llvm::json::Object* tools = json.getObject("tools")) {
    llvm::Expected<ToolGrammar> parsed = parse_tools(*tools, sequences->size());
    if (!parsed) return parsed.takeError();
    grammar.tools = std::move(*parsed);
  }
  grammar.tools_refusal = text_or_empty(json.getString("tools_refusal"));
  return grammar;
}

llvm::Expected<ToolGrammar> parse_tools(const llvm::json::Object& json, size_t sequences) {
  ToolGrammar tools;
  const llvm::json::Array* layouts = json.getArray("layouts");
  const auto first = json.getInteger("first_sequence");
  const auto call = json.getInteger("call");
  const auto indent = json.getInteger("indent");
  const auto id_size = json.getInteger("id_size");
  if (layouts == nullptr || layouts->size() >= kRefused || !first || !call || !indent || !id_size) {
    return bad("form of tools");
  }
  for (const llvm::json::Value& value : *layouts) {
    const llvm::json::Object* layout = value.getAsObject();
    tools.layouts.emplace_back();
    if (layout == nullptr ||
        !parse_indices(layout->getArray("turns"), sequences, &tools.layouts.back().turns) ||
        !parse_indices(layout->getArray("endings"), sequences, &tools.layouts.back().endings)) {
      return bad("layout of tools");
    }
  }
  if (!parse_indices(json.getArray("choices"), layouts->size(), &tools.choices) ||
      !parse_name(text_or_empty(json.getString("tool_text")),
                  {"tool", "function", "members", "list"}, &tools.tool_text) ||
      !parse_name(text_or_empty(json.getString("notation")),
                  {"unknown", "hermes", "llama3", "mistral"}, &tools.notation)) {
    return bad("form of tools");
  }
  tools.first_sequence = static_cast<size_t>(*first);
  tools.call = static_cast<uint16_t>(*call);
  tools.indent = static_cast<int8_t>(*indent);
  tools.id_size = static_cast<uint8_t>(*id_size);
  tools.between_calls = text_or_empty(json.getString("between_calls"));
  tools.between_tools = text_or_empty(json.getString("between_tools"));
  tools.compact = flag(json, "compact");
  tools.single_call = flag(json, "single_call");
  tools.same_text_is_last = flag(json, "same_text_is_last");
  return tools;
}

namespace {

template <class Table, class Layouts>
flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<Table>>> write_layouts(
    flatbuffers::FlatBufferBuilder* b, const Layouts& layouts) {
  std::vector<flatbuffers::Offset<Table>> offsets;
  for (const auto& layout : layouts) {
    const auto turns = b->CreateVector(layout.turns.data(), layout.turns.size());
    const auto endings = b->CreateVector(layout.endings.data(), layout.endings.size());
    typename Table::Builder table(*b);
    table.add_turns(turns);
    table.add_endings(endings);
    offsets.push_back(table.Finish());
  }
  return b->CreateVector(offsets);
}

flatbuffers::Offset<fb::ToolFormat> write_tools(flatbuffers::FlatBufferBuilder* b,
                                                const ToolGrammar& tools) {
  const auto layouts = write_layouts<fb::ToolLayout>(b, tools.layouts);
  const auto choices = b->CreateVector(tools.choices.data(), tools.choices.size());
  const auto between_calls = b->CreateString(tools.between_calls);
  const auto between_tools = b->CreateString(tools.between_tools);
  return fb::CreateToolFormat(*b, layouts, choices, tools.call, between_calls, between_tools,
                              tools.tool_text, tools.indent, tools.compact, tools.notation,
                              tools.single_call, tools.id_size, tools.same_text_is_last,
                              tools.proven);
}

}  // namespace

std::vector<uint8_t> to_segment(const Grammar& grammar) {
  flatbuffers::FlatBufferBuilder b;
  std::vector<flatbuffers::Offset<fb::Sequence>> sequences;
  for (const std::vector<Part>& sequence : grammar.sequences) {
    std::vector<flatbuffers::Offset<fb::Part>> parts;
    for (const Part& part : sequence) {
      const bool has_text = part.kind <= fb::PartKind::Date;
      parts.push_back(fb::CreatePart(b, part.kind, has_text ? b.CreateString(part.text) : 0,
                                     part.left, part.right, part.escape, part.if_text));
    }
    sequences.push_back(fb::CreateSequence(b, b.CreateVector(parts)));
  }
  const auto name = b.CreateString(grammar.name);
  const auto sequence_vector = b.CreateVector(sequences);
  const auto layout_vector = write_layouts<fb::ChatLayout>(&b, grammar.layouts);
  const auto choices = b.CreateVector(grammar.choices.data(), grammar.choices.size());
  const auto switches = b.CreateVectorOfStrings(grammar.switches);
  const auto refusal = b.CreateString(grammar.system_refusal);
  flatbuffers::Offset<fb::ToolFormat> tools;
  if (grammar.tools) tools = write_tools(&b, *grammar.tools);
  flatbuffers::Offset<flatbuffers::String> no_tools;
  if (!grammar.tools_refusal.empty()) no_tools = b.CreateString(grammar.tools_refusal);
  fb::FinishChatFormatBuffer(
      b, fb::CreateChatFormat(b, name, sequence_vector, layout_vector, choices, grammar.system_left,
                              grammar.system_right, switches, refusal, grammar.proven, tools,
                              no_tools));
  return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
}

}  // namespace jllm::chat

#include "compiler/chat/grammar.h"

#include "compiler/support/error.h"

namespace jllm::chat {
namespace {

llvm::Error bad(const char* what) {
  return fail(ExitCode::kFailed, "internal error: the chat template's reduction has a bad {0}",
              what);
}

bool parse_strip(const MaybeText& name, fb::Strip* strip) {
  if (!name) return false;
  if (*name == "none") {
    *strip = fb::Strip::None;
  } else if (*name == "newlines") {
    *strip = fb::Strip::Newlines;
  } else if (*name == "spaces") {
    *strip = fb::Strip::Spaces;
  } else {
    return false;
  }
  return true;
}

bool parse_kind(llvm::StringRef name, fb::PartKind* kind) {
  static constexpr const char* kNames[] = {"literal", "date",   "system",
                                           "content", "answer", "reasoning"};
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (name != kNames[i]) continue;
    *kind = static_cast<fb::PartKind>(i);
    return true;
  }
  return false;
}

llvm::Expected<Part> parse_part(const llvm::json::Value& value) {
  const llvm::json::Object* json = value.getAsObject();
  Part part = {};
  if (json == nullptr || !parse_kind(text_or_empty(json->getString("kind")), &part.kind)) {
    return bad("part");
  }
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
  return grammar;
}

std::vector<uint8_t> to_segment(const Grammar& grammar) {
  flatbuffers::FlatBufferBuilder b;
  std::vector<flatbuffers::Offset<fb::Sequence>> sequences;
  for (const std::vector<Part>& sequence : grammar.sequences) {
    std::vector<flatbuffers::Offset<fb::Part>> parts;
    for (const Part& part : sequence) {
      const bool has_text = part.kind <= fb::PartKind::Date;
      parts.push_back(fb::CreatePart(b, part.kind, has_text ? b.CreateString(part.text) : 0,
                                     part.left, part.right));
    }
    sequences.push_back(fb::CreateSequence(b, b.CreateVector(parts)));
  }
  std::vector<flatbuffers::Offset<fb::ChatLayout>> layouts;
  for (const Layout& layout : grammar.layouts) {
    const auto turns = b.CreateVector(layout.turns.data(), layout.turns.size());
    const auto endings = b.CreateVector(layout.endings.data(), layout.endings.size());
    layouts.push_back(fb::CreateChatLayout(b, turns, endings));
  }
  const auto name = b.CreateString(grammar.name);
  const auto sequence_vector = b.CreateVector(sequences);
  const auto layout_vector = b.CreateVector(layouts);
  const auto choices = b.CreateVector(grammar.choices.data(), grammar.choices.size());
  const auto switches = b.CreateVectorOfStrings(grammar.switches);
  const auto refusal = b.CreateString(grammar.system_refusal);
  fb::FinishChatFormatBuffer(
      b, fb::CreateChatFormat(b, name, sequence_vector, layout_vector, choices, grammar.system_left,
                              grammar.system_right, switches, refusal, grammar.proven));
  return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
}

}  // namespace jllm::chat

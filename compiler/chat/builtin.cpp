#include "compiler/chat/builtin.h"

#include <llvm/ADT/STLExtras.h>

namespace jllm::chat {
namespace {

// How a family writes a conversation: BOS where it has one, then each turn between its marks.
struct Family {
  const char* name;
  const char* mark;  // stands in the family's templates, and in no other's
  bool bos;
  const char* open[3];  // system, user, assistant; a null system is written into the first message
  const char* close[3];
  bool eos_closes;  // an answer ends with the EOS token
  fb::Strip strip;
};

constexpr Family kFamilies[] = {
    {"chatml",
     "<|im_start|>",
     false,
     {"<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n"},
     {"<|im_end|>\n", "<|im_end|>\n", "<|im_end|>\n"},
     false,
     fb::Strip::None},
    {"gemma",
     "<start_of_turn>",
     true,
     {nullptr, "<start_of_turn>user\n", "<start_of_turn>model\n"},
     {"\n\n", "<end_of_turn>\n", "<end_of_turn>\n"},
     false,
     fb::Strip::Spaces},
    {"llama3",
     "<|start_header_id|>",
     true,
     {"<|start_header_id|>system<|end_header_id|>\n\n",
      "<|start_header_id|>user<|end_header_id|>\n\n",
      "<|start_header_id|>assistant<|end_header_id|>\n\n"},
     {"<|eot_id|>", "<|eot_id|>", "<|eot_id|>"},
     false,
     fb::Strip::Spaces},
    {"mistral",
     "[INST]",
     true,
     {nullptr, "[INST] ", ""},
     {"\n\n", " [/INST]", ""},
     true,
     fb::Strip::None},
    {"phi3",
     "<|end|>",
     false,
     {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"},
     {"<|end|>\n", "<|end|>\n", "<|end|>\n"},
     false,
     fb::Strip::None},
    {"zephyr",
     "<|endoftext|>",
     false,
     {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"},
     {"<|endoftext|>\n", "<|endoftext|>\n", "<|endoftext|>\n"},
     false,
     fb::Strip::None},
};

class Composer {
 public:
  Composer(const Family& family, llvm::StringRef bos, llvm::StringRef eos)
      : family_(family), bos_(family.bos ? bos.str() : ""), eos_(eos.str()) {}

  Grammar compose() {
    grammar_.name = family_.name;
    grammar_.tools_refusal = "built-in formats have none";
    grammar_.system_left = grammar_.system_right = family_.strip;
    const Layout without = layout(false);
    const Layout with = layout(true);
    grammar_.layouts = {without, with};
    grammar_.choices = {0, 0, 1, 0, 0, 1, 0, 0, 1};
    return std::move(grammar_);
  }

 private:
  static Part literal(std::string text) { return {fb::PartKind::Literal, std::move(text)}; }

  uint16_t add(std::vector<Part> parts) {
    grammar_.sequences.push_back(std::move(parts));
    return static_cast<uint16_t>(grammar_.sequences.size() - 1);
  }

  std::string close(int role) const {
    return std::string(family_.close[role]) + (role == 2 && family_.eos_closes ? eos_ : "");
  }

  // A message's sequence begins with the end of the one before it.
  std::vector<Part> turn(int role, bool first, bool system) const {
    std::vector<Part> parts;
    const bool merged = family_.open[0] == nullptr;
    if (!first) {
      parts.push_back(literal(close(3 - role)));
    } else {
      parts.push_back(literal(bos_));
      if (system && !merged) {
        parts.push_back(literal(family_.open[0]));
        parts.push_back({fb::PartKind::System, ""});
        parts.push_back(literal(close(0)));
      }
    }
    parts.push_back(literal(family_.open[role]));
    if (first && system && merged) {
      parts.push_back({fb::PartKind::System, ""});
      parts.push_back(literal(close(0)));
    }
    parts.push_back({fb::PartKind::Content, "", family_.strip, family_.strip});
    return parts;
  }

  Layout layout(bool system) {
    Layout layout;
    for (int role = 1; role <= 2; ++role) {
      for (int later = 0; later < 2; ++later) {
        const uint16_t sequence = add(turn(role, role == 1 && later == 0, system));
        const int at = (role - 1) * 2 + later;
        for (int i = 0; i < 6; ++i) layout.turns[at * 6 + i] = sequence;
        layout.endings[at * 2] = add({literal(close(role))});
        layout.endings[at * 2 + 1] = add({literal(close(role) + family_.open[2])});
      }
    }
    return layout;
  }

  const Family& family_;
  std::string bos_;
  std::string eos_;
  Grammar grammar_;
};

}  // namespace

std::optional<Grammar> builtin(llvm::StringRef name, llvm::StringRef bos, llvm::StringRef eos) {
  for (const Family& family : kFamilies) {
    if (name == family.name) return Composer(family, bos, eos).compose();
  }
  return std::nullopt;
}

std::string builtin_names() {
  std::string names;
  for (const Family& family : kFamilies) {
    if (!names.empty()) names += ", ";
    names += family.name;
  }
  return names;
}

std::string recognise(llvm::StringRef jinja) {
  for (const Family& family : kFamilies) {
    if (jinja.contains(family.mark)) return family.name;
  }
  return "";
}

}  // namespace jllm::chat

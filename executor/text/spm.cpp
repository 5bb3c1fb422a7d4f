// SPM sees a text as characters, with U+2581 in the place of every space.
#include "executor/text/spm.h"

#include <utility>

#include "executor/text/utf8.h"

namespace jllm::text {
namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581
constexpr uint32_t kSpaceMarkCodePoint = 0x2581;

}  // namespace

SpmTokenizer::SpmTokenizer(std::unique_ptr<const Vocabulary> vocabulary)
    : Tokenizer(std::move(vocabulary)) {}

// Encodes a stretch of text that is merged as a whole.
void SpmTokenizer::encode_stretch(std::string_view text, bool with_prefix, Merger* merger,
                                  std::vector<uint32_t>* ids) const {
  std::string escaped;
  merger->clear();
  const auto add = [&](std::string_view character, uint32_t code_point) {
    escaped += character;
    merger->add(vocabulary().code_point_symbol(code_point),
                static_cast<uint32_t>(character.size()));
  };
  if (with_prefix) add(kSpaceMark, kSpaceMarkCodePoint);
  while (!text.empty()) {
    const Utf8Character character = first_character(text);
    if (character.code_point == ' ') {
      add(kSpaceMark, kSpaceMarkCodePoint);
    } else {
      add(text.substr(0, character.size), character.code_point);
    }
    text.remove_prefix(character.size);
  }
  merger->run(escaped, ids);
}

void SpmTokenizer::encode_lines(std::string_view text, Merger* merger,
                                std::vector<uint32_t>* ids) const {
  while (!text.empty()) {
    const bool breaks = text[0] == '\n';
    const size_t end = breaks ? text.find_first_not_of('\n') : text.find('\n');
    const std::string_view run = text.substr(0, end);
    const uint32_t whole = breaks ? vocabulary().find_word(run) : kNone;
    if (whole != kNone) {
      ids->push_back(whole);
    } else {
      encode_stretch(run, false, merger, ids);
    }
    text.remove_prefix(run.size());
  }
}

void SpmTokenizer::encode_fragments(const std::vector<Fragment>& fragments,
                                    std::vector<uint32_t>* ids) const {
  Merger merger(vocabulary());
  const bool by_lines = vocabulary().data().pre_tokenizer() == fb::PreTokenizer::Lines;
  for (const Fragment& fragment : fragments) {
    if (fragment.token != kNone) {
      ids->push_back(fragment.token);
    } else if (by_lines) {
      encode_lines(fragment.text, &merger, ids);
    } else {
      encode_stretch(fragment.text,
                     fragment.behind_special && vocabulary().data().add_space_prefix(), &merger,
                     ids);
    }
  }
}

}  // namespace jllm::text

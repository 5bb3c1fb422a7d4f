// SPM sees a text as characters, with U+2581 in the place of every space.
#include "executor/text/spm.h"

#include <utility>

#include "executor/text/merger.h"
#include "executor/text/utf8.h"

namespace jllm::text {
namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581
constexpr uint32_t kSpaceMarkCodePoint = 0x2581;

}  // namespace

SpmTokenizer::SpmTokenizer(std::unique_ptr<const Vocabulary> vocabulary)
    : Tokenizer(std::move(vocabulary)) {}

void SpmTokenizer::encode_fragments(const std::vector<Fragment>& fragments,
                                    std::vector<uint32_t>* ids) const {
  Merger merger(vocabulary());
  std::string escaped;
  for (const Fragment& fragment : fragments) {
    if (fragment.token != kNone) {
      ids->push_back(fragment.token);
      continue;
    }
    merger.clear();
    escaped.clear();
    const auto add = [&](std::string_view character, uint32_t code_point) {
      escaped += character;
      merger.add(vocabulary().code_point_symbol(code_point), character.size());
    };
    if (fragment.behind_special && vocabulary().data().add_space_prefix()) {
      add(kSpaceMark, kSpaceMarkCodePoint);
    }
    std::string_view rest = fragment.text;
    while (!rest.empty()) {
      const Utf8Character character = first_character(rest);
      if (character.code_point == ' ') {
        add(kSpaceMark, kSpaceMarkCodePoint);
      } else {
        add(rest.substr(0, character.size), character.code_point);
      }
      rest.remove_prefix(character.size);
    }
    merger.run(escaped, ids);
  }
}

}  // namespace jllm::text

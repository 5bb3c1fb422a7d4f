// Building vocabularies from syllables. A syllable is a consonant and a vowel, a word two
// syllables. No merge joins a vowel to a consonant, so the syllables of a text are found in one way
// only, and a word's two syllables have no neighbours to merge with instead: that is why every
// token is reachable. A leading space joins last, after the word is whole.
#include "compiler/synth/vocabulary.h"

#include <llvm/Support/FormatVariadic.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace jllm::synth {
namespace {

constexpr std::string_view kConsonants = "tnshrdlcmwfgpbvkxjqzTNSHRDLCMWFGPBVKXJQZ";
constexpr std::string_view kVowels = "eaoiuyEAOIUY";

enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kByte = 6 };

struct Merge {
  std::string left;
  std::string right;
};

// The first `count` merges: syllables, words, spaced syllables, spaced words. The order is the
// priority.
std::vector<Merge> make_merges(size_t count, const std::string& space) {
  std::vector<Merge> merges;
  std::vector<std::string> syllables;
  for (size_t diagonal = 0; diagonal < kConsonants.size() + kVowels.size(); ++diagonal) {
    // Along diagonals, so that the common letters come first whatever the count.
    for (size_t v = 0; v < std::min(diagonal + 1, kVowels.size()); ++v) {
      if (diagonal - v >= kConsonants.size() || syllables.size() == count) continue;
      merges.push_back({std::string(1, kConsonants[diagonal - v]), std::string(1, kVowels[v])});
      syllables.push_back(merges.back().left + merges.back().right);
    }
  }
  const size_t spaced_syllables = std::min(count - syllables.size(), syllables.size());
  const size_t rest = count - syllables.size() - spaced_syllables;
  const size_t words = rest - rest / 2;
  const size_t first_word = merges.size();
  for (size_t last = 0; last < syllables.size() && merges.size() < first_word + words; ++last) {
    for (size_t i = 0; i <= last; ++i) {
      merges.push_back({syllables[i], syllables[last]});
      if (i != last) merges.push_back({syllables[last], syllables[i]});
    }
  }
  merges.resize(first_word + words);
  for (size_t i = 0; i < spaced_syllables; ++i) merges.push_back({space, syllables[i]});
  for (size_t i = 0; i < rest / 2; ++i) {
    merges.push_back({space, merges[first_word + i].left + merges[first_word + i].right});
  }
  return merges;
}

std::string utf8(uint32_t code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xc0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 63))};
}

// The printable character that stands for each byte in byte-level BPE: itself where it is printable
// in Latin-1, the characters from U+0100 on for the others.
std::array<std::string, 256> byte_characters() {
  std::array<std::string, 256> characters;
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
    characters[byte] = utf8(printable ? byte : next++);
  }
  return characters;
}

}  // namespace

Vocabulary make_bpe_vocabulary(uint32_t size, const std::vector<std::string>& control_names,
                               uint32_t bos, uint32_t eos) {
  Vocabulary vocabulary;
  const std::array<std::string, 256> characters = byte_characters();
  vocabulary.tokens.assign(characters.begin(), characters.end());
  const size_t merge_count = size - vocabulary.tokens.size() - control_names.size();
  for (const Merge& merge : make_merges(merge_count, characters[' '])) {
    vocabulary.tokens.push_back(merge.left + merge.right);
    vocabulary.merges.push_back(merge.left + " " + merge.right);
  }
  vocabulary.types.assign(vocabulary.tokens.size(), kNormal);
  const auto first_control = static_cast<uint32_t>(vocabulary.tokens.size());
  vocabulary.bos = first_control + bos;
  vocabulary.eos = first_control + eos;
  vocabulary.tokens.insert(vocabulary.tokens.end(), control_names.begin(), control_names.end());
  vocabulary.types.resize(size, kControl);
  return vocabulary;
}

Vocabulary make_spm_vocabulary(uint32_t size, const std::vector<std::string>& control_names) {
  Vocabulary vocabulary;
  const auto add = [&](std::string token, TokenType type, float score) {
    vocabulary.tokens.push_back(std::move(token));
    vocabulary.types.push_back(type);
    vocabulary.scores.push_back(score);
  };
  add("<unk>", kUnknown, 0);
  add("<s>", kControl, 0);
  add("</s>", kControl, 0);
  vocabulary.bos = 1;
  vocabulary.eos = 2;
  for (unsigned byte = 0; byte < 256; ++byte) {
    add(llvm::formatv("<0x{0:X-2}>", byte).str(), kByte, 0);
  }
  const std::string space = "\xe2\x96\x81";  // U+2581, a space in SentencePiece
  std::vector<std::string> characters = {space};
  for (char c = '!'; c <= '~'; ++c) characters.emplace_back(1, c);
  // The higher score merges first.
  float score = 0;
  const size_t merge_count =
      size - vocabulary.tokens.size() - characters.size() - control_names.size();
  for (const Merge& merge : make_merges(merge_count, space)) {
    add(merge.left + merge.right, kNormal, score--);
  }
  for (std::string& character : characters) add(std::move(character), kNormal, score--);
  for (const std::string& name : control_names) add(name, kControl, 0);
  return vocabulary;
}

}  // namespace jllm::synth
